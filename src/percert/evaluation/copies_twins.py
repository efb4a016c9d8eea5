"""Twins in a folder of pictures: equal pixels that an evaluation of copies counts as strangers."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from percert.evaluation.copies_pictures import as_arrays
from percert.reports.page import Paragraph, Section, Table


def pixels_hash(image: Tensor) -> str:
    """A hash of the size and the 8-bit pixels of ``(3, h, w)``: what detectors are shown.

    >>> import torch
    >>> white = torch.ones(3, 2, 3)
    >>> pixels_hash(white) == pixels_hash(white - 1e-4), pixels_hash(white) == pixels_hash(white.mT)
    (True, False)
    """
    (array,) = as_arrays(image[None])
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def find_twins(hashes: Mapping[Path, str]) -> list[list[Path]]:
    """The groups of several files whose hash is one, in the order of ``hashes``.

    >>> find_twins({Path("a"): "1", Path("b"): "2", Path("c"): "1"})
    [[...Path('a'), ...Path('c')]]
    """
    groups: dict[str, list[Path]] = {}
    for path, digest in hashes.items():
        groups.setdefault(digest, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def twins_words(twins: Sequence[Sequence[Path]]) -> str:
    """What twins mean for the rates, in a sentence."""
    files = sum(map(len, twins))
    return (
        f"{files} pictures are twins of others, with the same pixels. Their copies count as "
        "strangers of each other, which no detector can tell apart: rates and thresholds are "
        "those of a harder task than the pictures pose. Keep one of each"
    )


def twins_sections(twins: Sequence[Sequence[Path]]) -> list[Section]:
    """The warning on the page; nothing where there are no twins."""
    if not twins:
        return []
    rows = tuple((str(at + 1), str(path)) for at, group in enumerate(twins) for path in group)
    table = Table((("group", "right"), ("picture", "left")), rows, "Pictures with the same pixels.")
    return [Section("Twins among the pictures", (Paragraph(f"{twins_words(twins)}."), table))]
