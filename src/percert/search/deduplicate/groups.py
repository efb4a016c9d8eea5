"""Duplicates as groups of files: one to keep, its copies, and what says that they are copies."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from percert.reports.budgets import rounded_down
from percert.search.deduplicate.choices import Keep
from percert.search.deduplicate.files import (
    StoredFile,
    is_below,
    preference,
    stored_files,
)
from percert.search.query.results import Duplicates
from percert.search.tables.location import Tables
from percert.search.tables.scan import scan_rows
from percert.search.tables.schema import is_one_of

#: Why a file counts as a copy: its bytes are the same; the certified metric says so, and both files
#: may change a little; or a metric says so, without proof.
Evidence: TypeAlias = Literal["identical", "certified", "found"]
_STRENGTH: dict[Evidence, int] = {"identical": 0, "certified": 1, "found": 2}


@dataclass(frozen=True)
class FileCopy:
    """A copy of the file that its group keeps.

    ``distance`` is that of the metric by which it was found, ``radius`` how far both files' images
    may move at once and stay copies, in their pixels; ``None`` where nothing is proven.
    """

    file: StoredFile
    evidence: Evidence
    distance: float
    radius: float | None


def evidence_of(copy: FileCopy) -> str:
    """What says that it is a copy, in words."""
    if copy.evidence == "identical":
        return "the same bytes"
    if copy.radius is None:
        return f"distance {copy.distance:.4f}, without proof"
    within = "any l2" if math.isinf(copy.radius) else f"l2 below {rounded_down(copy.radius, 3)}"
    return f"distance {copy.distance:.4f}, proven for {within}"


@dataclass(frozen=True)
class FileGroup:
    """A file to ``keep``, and all that are copies of this very file, the surest first."""

    keep: StoredFile
    copies: tuple[FileCopy, ...]

    @property
    def spare(self) -> int:
        """The bytes of the copies."""
        return sum(one.file.bytes for one in self.copies)

    def to_json(self) -> dict[str, Any]:
        """The group as JSON has it, each file with its facts."""
        told = [
            {
                **vars(one.file),
                "evidence": one.evidence,
                "distance": one.distance,
                "radius": one.radius,
            }
            for one in self.copies
        ]
        return {"keep": vars(self.keep), "copies": told, "spare_bytes": self.spare}


@dataclass(frozen=True)
class FileGroups:
    """Groups of files, those with most to spare first.

    ``left_out`` are files with duplicates that cannot be acted on, each with the reason.
    """

    groups: tuple[FileGroup, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def spare(self) -> int:
        """The bytes of all copies."""
        return sum(one.spare for one in self.groups)

    def to_json(self) -> dict[str, Any]:
        """``groups``, ``spare_bytes`` and ``left_out``."""
        return {
            "groups": [one.to_json() for one in self.groups],
            "spare_bytes": self.spare,
            "left_out": [{"path": path, "reason": why} for path, why in self.left_out],
        }


@dataclass(frozen=True)
class _Edge:
    evidence: Evidence
    distance: float
    radius: float | None


def group_files(
    tables: Tables,
    found: Duplicates,
    keep: Keep = "best",
    *,
    protected: Sequence[str | os.PathLike[str]] = (),
    with_found: bool = False,
) -> FileGroups:
    """The files of the store ``tables`` that are copies of each other, by ``found``.

    The file that ``keep`` prefers of all becomes the first to be kept, with every file that is
    linked to it as its copy; then the one preferred among the rest, and so on. So each copy is one
    of the very file that is kept, never of another copy alone. Files below ``protected`` folders
    are kept before all others, and are nobody's copies. What is found without proof counts only
    ``with_found``.
    """
    edges = _edges(found, with_found)
    ids = {id for pair in edges for id in pair}
    rows = [
        row
        for condition in is_one_of("id", sorted(ids))
        for row in tables.files.search()
        .where(condition)
        .select(["path", "id", "bytes", "mtime_ns"])
        .to_arrow()
        .to_pylist()
    ]
    facts = scan_rows(tables, ["id", "height", "width"], sorted(ids)).to_pylist()
    sizes = {row["id"]: (row["height"], row["width"]) for row in facts}
    files, left_out = stored_files(rows, sizes)
    groups = _stars(files, edges, keep, [Path(one) for one in protected])
    groups.sort(key=lambda one: (-one.spare, one.keep.path))
    return FileGroups(tuple(groups), tuple(left_out))


def _edges(found: Duplicates, with_found: bool) -> dict[tuple[str, str], _Edge]:
    """What links each two ids, in both directions: the surest of several."""
    edges: dict[tuple[str, str], _Edge] = {}
    links: list[tuple[str, str, _Edge]] = []
    for link in found.links:
        # A link that ends at once is true as computed, and not proven.
        proven: Evidence = "certified" if link.radius > 0 else "found"
        evidence: Evidence = "identical" if link.first == link.second else proven
        radius = None if evidence == "found" else link.radius
        links.append((link.first, link.second, _Edge(evidence, link.distance, radius)))
    for pair in found.partner_links:
        links.append((pair.first, pair.second, _Edge("found", pair.distance, None)))
    for first, second, edge in links:
        if edge.evidence == "found" and not with_found:
            continue
        for ends in ((first, second), (second, first)):
            if ends not in edges or _STRENGTH[edge.evidence] < _STRENGTH[edges[ends].evidence]:
                edges[ends] = edge
    return edges


def _stars(
    files: Iterable[StoredFile],
    edges: dict[tuple[str, str], _Edge],
    keep: Keep,
    protected: Sequence[Path],
) -> list[FileGroup]:
    by_id: dict[str, list[StoredFile]] = {}
    for one in files:
        by_id.setdefault(one.id, []).append(one)
    near: dict[str, list[str]] = {}
    for first, second in edges:
        near.setdefault(first, []).append(second)
    order = preference(keep, protected)
    taken: set[str] = set()
    groups = []
    for kept in sorted((one for held in by_id.values() for one in held), key=order):
        if kept.path in taken:
            continue
        taken.add(kept.path)
        copies = [
            FileCopy(one, edge.evidence, edge.distance, edge.radius)
            for other in near.get(kept.id, ())
            for one in by_id.get(other, ())
            if one.path not in taken and not is_below(one.place, protected)
            for edge in (edges[kept.id, other],)
        ]
        taken.update(copy.file.path for copy in copies)
        if copies:
            copies.sort(key=lambda one: (_STRENGTH[one.evidence], one.distance, one.file.path))
            groups.append(FileGroup(kept, tuple(copies)))
    return groups
