"""The pictures of an evaluation: 8-bit RGB, read when asked for, edited and described in batches.

Twins among them, pictures with equal pixels, are found: an evaluation counts them as strangers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from percert.data.copy_edits import Edit, apply_edit
from percert.evaluation.copies.detector import Described, Detector, describe_asked
from percert.images import round_to_8bit
from percert.reports.page import Paragraph, Section
from percert.reports.table import Column, Table
from percert.runs.engine import Step, batches
from percert.runs.items import ImageItem, read_sample

Bytes = npt.NDArray[np.uint8]

#: How many images are described together. With more, buffers outgrow what the allocator keeps, and
#: half of the time goes into fresh pages.
BATCH = 8


class PictureFiles(Sequence[Image.Image]):
    """Items as RGB pillow images; each is read whenever it is asked for, and kept nowhere.

    Read by :func:`percert.runs.read_sample`, whose :class:`~percert.images.ImageError` says what
    is wrong with a file; 16-bit files are rounded to 8 bits.
    """

    def __init__(self, items: Iterable[ImageItem]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # a slice gives files again
        if isinstance(index, slice):
            return PictureFiles(self.items[index])
        pixels = round_to_8bit(read_sample(self.items[index]).image)
        return as_pictures(pixels[None])[0]


def as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pillow images of one size as ``(n, 3, h, w)`` float32 in [0, 1].

    >>> as_tensor([Image.new("RGB", (2, 1), (255, 0, 51))])[0, :, 0, 0].tolist()
    [1.0, 0.0, 0.20000000298023224]
    """
    pixels = np.stack([np.asarray(image) for image in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def as_arrays(images: Tensor) -> list[Bytes]:
    """``(n, 3, h, w)`` in [0, 1] as 8-bit ``(h, w, 3)`` arrays, rounded to nearest."""
    # One by one: buffers of a whole batch would come fresh from the system every time.
    return [
        np.ascontiguousarray((255 * image).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0))
        for image in images.detach().cpu()
    ]


def as_pictures(images: Tensor) -> list[Image.Image]:
    """``(n, 3, h, w)`` in [0, 1] as RGB pillow images, rounded to nearest."""
    return [Image.fromarray(array) for array in as_arrays(images)]


def batches_of_one_size(
    pictures: Iterable[tuple[int, Image.Image]], batch: int = BATCH
) -> Iterator[tuple[list[int], list[Image.Image]]]:
    """Numbered pictures in batches of neighbours of one size, in their order.

    >>> wide, tall = Image.new("RGB", (2, 1)), Image.new("RGB", (1, 2))
    >>> [places for places, _ in batches_of_one_size(enumerate([wide, wide, tall, wide]))]
    [[0, 1], [2], [3]]
    """
    for some in batches(pictures, lambda one: one[1].size, batch, in_order=True):
        if not isinstance(some, Step):  # pictures are read before they come here
            yield [place for place, _ in some], [picture for _, picture in some]


#: One batch: the places of its pictures among all, and the pictures, which have one size.
Batch = tuple[list[int], list[Image.Image]]


@dataclass(frozen=True)
class Chunk:
    """Pictures of one ``size`` (height, width), described in each view that they are asked in.

    ``places`` are theirs among all.
    """

    places: tuple[int, ...]
    size: tuple[int, int]
    described: Mapping[str, Described]


def background_of(index: int, count: int) -> int:
    """Which picture an edit pastes picture ``index`` onto: the next one."""
    return (index + 1) % count


def edited(
    pictures: Sequence[Image.Image], edit: Edit, seed: int, indices: Iterable[int]
) -> list[Image.Image]:
    """``edit`` of the pictures at ``indices``."""
    return [_edited(pictures, edit, seed, index) for index in indices]


def edited_batches(pictures: Sequence[Image.Image], edit: Edit, seed: int) -> Iterator[Batch]:
    """``edit`` of every picture, in batches of one size."""
    places = range(len(pictures))
    return batches_of_one_size((place, _edited(pictures, edit, seed, place)) for place in places)


def describe_all(
    detectors: Sequence[Detector], images: Iterable[Batch], asked: Sequence[str] = ("whole",)
) -> tuple[dict[str, list[Chunk]], dict[str, float]]:
    """Each detector's descriptions of all pictures in the views ``asked``, and its seconds."""
    chunks: dict[str, list[Chunk]] = {detector.name: [] for detector in detectors}
    seconds = dict.fromkeys(chunks, 0.0)
    for places, batch in images:
        pixels = as_tensor(batch)
        size = (pixels.shape[2], pixels.shape[3])
        for detector in detectors:
            start = perf_counter()
            described = describe_asked(detector, pixels, asked)
            chunks[detector.name].append(Chunk(tuple(places), size, described))
            seconds[detector.name] += perf_counter() - start
    return chunks, seconds


def _edited(pictures: Sequence[Image.Image], edit: Edit, seed: int, index: int) -> Image.Image:
    other = pictures[background_of(index, len(pictures))] if edit.needs_other else None
    return apply_edit(edit, pictures[index], seed, index, other)


def pixels_hash(image: Tensor) -> str:
    """A hash of the size and the 8-bit pixels of ``(3, h, w)``: what detectors are shown.

    >>> import torch
    >>> white = torch.ones(3, 2, 3)
    >>> pixels_hash(white) == pixels_hash(white - 1e-4), pixels_hash(white) == pixels_hash(white.mT)
    (True, False)
    """
    (array,) = as_arrays(image[None])
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def find_twins(hashes: Mapping[ImageItem, str]) -> list[list[str]]:
    """The names of the groups of several items whose hash is one, in the order of ``hashes``.

    >>> from pathlib import Path
    >>> items = [ImageItem(name, Path(name)) for name in "abc"]
    >>> find_twins(dict(zip(items, "121", strict=True)))
    [['a', 'c']]
    """
    groups: dict[str, list[str]] = {}
    for item, digest in hashes.items():
        groups.setdefault(digest, []).append(item.name)
    return [group for group in groups.values() if len(group) > 1]


def twins_words(twins: Sequence[Sequence[str]]) -> str:
    """What twins mean for the rates, in a sentence."""
    files = sum(map(len, twins))
    return (
        f"{files} pictures are twins of others, with the same pixels. Their copies count as "
        "strangers of each other, which no detector can tell apart: rates and thresholds are "
        "those of a harder task than the pictures pose. Keep one of each"
    )


def twins_sections(twins: Sequence[Sequence[str]]) -> list[Section]:
    """The warning on the page; nothing where there are no twins."""
    if not twins:
        return []
    table = Table.of(
        [(at, name) for at, group in enumerate(twins, 1) for name in group],
        [Column("group", lambda row: row[0], "d"), Column("picture", lambda row: row[1])],
        "Pictures with the same pixels.",
    )
    return [Section("Twins among the pictures", (Paragraph(f"{twins_words(twins)}."), table))]
