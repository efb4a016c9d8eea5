"""The page of a collection's duplicates: each group's pictures side by side, the kept one first."""

import io
from pathlib import Path

import torch.nn.functional as F

from percert.check import printable
from percert.images import ImageError, load_image, round_to_8bit
from percert.reports.page import Block, Paragraph, Picture, Section, SideBySide, write_page
from percert.reports.table import Column, Table
from percert.search.deduplicate.files import StoredFile, data_size, described
from percert.search.deduplicate.groups import FileCopy, FileGroup, FileGroups, evidence_of
from percert.search.query.results import Duplicates
from percert.search.query.rule import expected

#: The longer side of a picture on the page.
SIDE = 256
#: Groups and pictures of a group on the page: a file of some 40 MB at most.
MOST_GROUPS, MOST_PICTURES = 300, 12


def write_duplicates_page(path: Path, groups: FileGroups, found: Duplicates) -> None:
    """Write the page to ``path``, one file that needs no other. Needs jinja2."""
    files = sum(len(group.copies) for group in groups.groups)
    lead = (
        f"{files} files are copies of {len(groups.groups)} others, {data_size(groups.spare)} in "
        "all. Nothing has been changed."
    )
    blocks: list[Block] = [Paragraph(f"{expected(found.rule)} ({found.metric})", "note")]
    if found.partner is not None:
        blocks.append(Paragraph(f"Beside it {found.partner}, which proves nothing.", "note"))
    blocks.append(_counts(groups))
    pictures: list[Block] = [_row(*one) for one in enumerate(groups.groups[:MOST_GROUPS], 1)]
    if len(groups.groups) > MOST_GROUPS:
        more = len(groups.groups) - MOST_GROUPS
        pictures.append(Paragraph(f"And {more} more groups: those with least to spare."))
    sections = [Section("What was found", tuple(blocks)), Section("Groups", tuple(pictures))]
    if groups.left_out:
        columns: list[Column[tuple[str, str]]] = [
            Column("file", lambda one: printable(one[0])),
            Column("why", lambda one: printable(one[1])),
        ]
        listed = Table.of(groups.left_out, columns)
        sections.append(Section("Files that are left alone", (listed,)))
    write_page(path, "Duplicates", sections, lead=lead)


def _counts(groups: FileGroups) -> Table:
    names = {
        "identical": "the same bytes",
        "certified": "a copy, proven to stay one while both files change a little",
        "found": "found to be a copy, without proof",
    }
    copies = [copy for group in groups.groups for copy in group.copies]
    rows = [(said, [one for one in copies if one.evidence == kind]) for kind, said in names.items()]
    columns: list[Column[tuple[str, list[FileCopy]]]] = [
        Column("copies by", lambda row: row[0]),
        Column("files", lambda row: len(row[1]), "d"),
        Column("size", lambda row: data_size(sum(one.file.bytes for one in row[1])), side="right"),
    ]
    return Table.of(rows, columns)


def _row(number: int, group: FileGroup) -> SideBySide:
    copies = group.copies[: MOST_PICTURES - 1]
    rest = len(group.copies) - len(copies)
    more = f", {rest} of them not shown" if rest else ""
    pictures = [_picture(group.keep, "keep", ())]
    pictures += [_picture(one.file, one.evidence, (evidence_of(one),)) for one in copies]
    return SideBySide(
        f"{number}. {len(group.copies)} copies{more}, {data_size(group.spare)}", tuple(pictures)
    )


def _picture(file: StoredFile, what: str, more: tuple[str, ...]) -> Picture:
    name = printable(file.path)
    facts, _, date = described(file).rpartition(", ")
    lines = (what, name, facts, date, *more)
    return Picture(_thumbnail(file.place), lines, f"{what}: {name}")


def _thumbnail(path: Path) -> bytes | None:
    from PIL import Image

    try:
        image = load_image(path)
    except ImageError:
        return None
    scale = min(1.0, SIDE / max(image.shape[1:]))
    if scale < 1:
        size = [max(1, round(scale * side)) for side in image.shape[1:]]
        image = F.interpolate(image[None], size, mode="area")[0]
    pixels = (255 * round_to_8bit(image[None])[0]).round().byte().permute(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(stream, "JPEG", quality=80)
    return stream.getvalue()
