"""The edited pictures of an evaluation, described by every detector in one pass."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from PIL import Image

from percert.data.copy_edits import Edit, apply_edit
from percert.evaluation.copies_detector import Described, Detector
from percert.evaluation.copies_pictures import as_tensor, batches_of_one_size

#: One batch: the places of its pictures among all, and the pictures, which have one size.
Batch = tuple[list[int], list[Image.Image]]


@dataclass(frozen=True)
class Chunk:
    """Described pictures of one ``size`` (height, width): ``places`` are theirs among all."""

    places: tuple[int, ...]
    size: tuple[int, int]
    described: Described


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
    detectors: Sequence[Detector], images: Iterable[Batch]
) -> tuple[dict[str, list[Chunk]], dict[str, float]]:
    """Each detector's descriptions of all pictures, and its seconds."""
    chunks: dict[str, list[Chunk]] = {detector.name: [] for detector in detectors}
    seconds = dict.fromkeys(chunks, 0.0)
    for places, batch in images:
        pixels = as_tensor(batch)
        size = (pixels.shape[2], pixels.shape[3])
        for detector in detectors:
            start = perf_counter()
            described = detector.describe(pixels)
            chunks[detector.name].append(Chunk(tuple(places), size, described))
            seconds[detector.name] += perf_counter() - start
    return chunks, seconds


def _edited(pictures: Sequence[Image.Image], edit: Edit, seed: int, index: int) -> Image.Image:
    other = pictures[background_of(index, len(pictures))] if edit.needs_other else None
    return apply_edit(edit, pictures[index], seed, index, other)
