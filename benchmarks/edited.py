"""The edited photographs, described by every detector in one pass."""

from collections.abc import Iterator, Sequence
from time import perf_counter

from PIL import Image

from benchmarks.detectors import Described, Detector, join
from benchmarks.photographs import as_tensor
from percert.data.copy_edits import Edit, apply_edit

#: How many images are described together. With more, buffers outgrow what the allocator keeps, and
#: half of the time goes into fresh pages.
BATCH = 8


def background_of(index: int, count: int) -> int:
    """Which photograph an edit pastes photograph ``index`` onto: the next one."""
    return (index + 1) % count


def edited(
    photographs: Sequence[Image.Image], edit: Edit, seed: int, indices: Sequence[int]
) -> list[Image.Image]:
    """``edit`` of the photographs at ``indices``."""
    count = len(photographs)
    return [
        apply_edit(edit, photographs[i], seed, i, photographs[background_of(i, count)])
        for i in indices
    ]


def describe_all(
    detectors: Sequence[Detector], images: Iterator[list[Image.Image]]
) -> tuple[dict[str, Described], dict[str, float]]:
    """Each detector's descriptions of all images, and its seconds. Images all have one size."""
    parts: dict[str, list[Described]] = {detector.name: [] for detector in detectors}
    seconds = dict.fromkeys(parts, 0.0)
    for batch in images:
        pixels = as_tensor(batch)
        for detector in detectors:
            start = perf_counter()
            parts[detector.name].append(detector.describe(pixels))
            seconds[detector.name] += perf_counter() - start
    return {name: join(described) for name, described in parts.items()}, seconds


def edited_batches(
    photographs: Sequence[Image.Image], edit: Edit, seed: int
) -> Iterator[list[Image.Image]]:
    """``edit`` of every photograph, in batches."""
    for begin in range(0, len(photographs), BATCH):
        yield edited(photographs, edit, seed, range(begin, min(begin + BATCH, len(photographs))))


def batches(images: Sequence[Image.Image]) -> Iterator[list[Image.Image]]:
    """The images as they are, in batches."""
    for begin in range(0, len(images), BATCH):
        yield list(images[begin : begin + BATCH])
