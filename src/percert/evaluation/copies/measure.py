"""Distances of edited pictures from the whole collection, with checkpoints on the disk.

Edited pictures are the queries, the originals the collection, in several views where wanted. Query
and original are copies; all other pairs are negatives (see ``docs/how-to/evaluate-copies.md``).
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from percert.certify.features import PixelFeatures
from percert.data.copy_edits import Edit
from percert.evaluation.copies.attack import AttackedPairs
from percert.evaluation.copies.detector import Described, Detector, features_of
from percert.evaluation.copies.gallery import (
    Gallery,
    describe_views,
    join_galleries,
    least_distances,
    view_radii,
)
from percert.evaluation.copies.pictures import (
    Chunk,
    batches_of_one_size,
    describe_all,
    edited_batches,
)
from percert.evaluation.copies.rates import SIDE, Distances, scaled
from percert.files import write_whole
from percert.lipschitz.bound import LipschitzBound
from percert.runs.engine import Progress, silent
from percert.search.ingest.views import asked_views


@dataclass(frozen=True)
class ResultsFolder:
    """Results by name in ``folder``, each a file that is whole or not there; none is kept where
    ``folder`` is ``None``. Names with the same settings must mean the same result.
    """

    folder: Path | None = None

    def load(self, name: str) -> Any:
        """What was kept as ``name``: plain values and tensors. Ask :meth:`has` before."""
        return torch.load(self._path(name), weights_only=True)

    def save(self, name: str, packed: Any) -> None:
        """Keep plain values and tensors as ``name``, where there is a folder for them."""
        if self.folder is not None:
            buffer = io.BytesIO()
            torch.save(packed, buffer)
            write_whole(self._path(name), buffer.getvalue())

    def has(self, name: str) -> bool:
        """Whether ``name`` is kept."""
        return self.folder is not None and self._path(name).exists()

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise ValueError("parts: expected a folder that keeps them, found none")
        # A detector's name may hold anything, a file's path among it.
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.pt"


def pack_chunks(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """Plain values and tensors of described pictures."""
    return [
        {
            "places": list(chunk.places),
            "size": list(chunk.size),
            "described": {
                name: {"vectors": one.vectors, "features": _pack_features(one.features)}
                for name, one in chunk.described.items()
            },
        }
        for chunk in chunks
    ]


def unpack_chunks(kept: list[dict[str, Any]]) -> list[Chunk]:
    """The inverse of :func:`pack_chunks`."""
    return [
        Chunk(
            tuple(one["places"]),
            (one["size"][0], one["size"][1]),
            {
                name: Described(seen["vectors"], _unpack_features(seen["features"]))
                for name, seen in one["described"].items()
            },
        )
        for one in kept
    ]


def pack_pairs(pairs: AttackedPairs) -> dict[str, Any]:
    """Tensors of attacked pairs, by the names of the arrays."""
    found = vars(pairs).items()
    return {name: None if value is None else torch.from_numpy(value) for name, value in found}


def unpack_pairs(kept: dict[str, Any]) -> AttackedPairs:
    """The inverse of :func:`pack_pairs`."""
    arrays: dict[str, Any] = {
        name: None if value is None else np.asarray(value.numpy()) for name, value in kept.items()
    }
    return AttackedPairs(**arrays)


def _pack_features(features: PixelFeatures | None) -> dict[str, Any] | None:
    if features is None:
        return None
    bound = features.bound
    return {
        "h": features.h,
        "constant": features.constant,
        "error": features.error,
        "content": features.content,
        "relative": features.relative,
        "bound": bound.value,
        "proof": bound.proof,
        "resolution": None if bound.resolution is None else list(bound.resolution),
    }


def _unpack_features(kept: dict[str, Any] | None) -> PixelFeatures | None:
    if kept is None:
        return None
    resolution = kept["resolution"]
    bound = LipschitzBound(
        kept["bound"], kept["proof"], None if resolution is None else tuple(resolution)
    )
    return PixelFeatures(
        kept["h"], kept["constant"], kept["error"], kept["relative"], bound, kept["content"]
    )


#: Pictures of the collection whose descriptions are kept together.
BLOCK = 64
#: At most so many distances are held: 3.2 GB.
MOST_PAIRS = 400_000_000


@dataclass
class Measured:
    """The distances of one detector, by edit, and its gallery."""

    gallery: Gallery
    own: Sequence[int]
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)
    distances: dict[str, Distances] = field(default_factory=dict)
    seconds: float = 0.0


class Chosen(Sequence[Image.Image]):
    """The pictures at some places, read when they are asked for."""

    def __init__(self, pictures: Sequence[Image.Image], places: Sequence[int]) -> None:
        self.pictures, self.places = pictures, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # a slice gives a choice again
        if isinstance(index, slice):
            return Chosen(self.pictures, self.places[index])
        return self.pictures[self.places[index]]


def measure(
    detectors: Sequence[Detector],
    pictures: Sequence[Image.Image],
    queries: Sequence[int],
    edits: Sequence[Edit],
    *,
    views: Sequence[str] = ("whole",),
    seed: int = 0,
    parts: ResultsFolder | None = None,
    progress: Progress = silent,
) -> dict[str, Measured]:
    """Distances of the edited pictures at ``queries`` from the whole collection of ``pictures``.

    Pictures are RGB and may have any sizes; each is held only while it is described. Raises
    ``ValueError`` for fewer than two pictures, no queries, and more pairs than memory should hold.
    """
    if len(pictures) < 2 or not queries:
        raise ValueError(
            f"pictures: expected at least 2 and one of them to edit, found {len(pictures)} and "
            f"{len(queries)}"
        )
    wanted = len(queries) * len(pictures) * len(edits)
    if wanted > MOST_PAIRS:
        raise ValueError(
            f"pairs: {len(queries)} queries x {len(edits)} edits x {len(pictures)} images are "
            f"{wanted}, more than {MOST_PAIRS}; take fewer queries or edits"
        )
    parts = parts or ResultsFolder()
    measured = _galleries(detectors, pictures, views, parts, queries, progress)
    edited, asked = Chosen(pictures, queries), tuple(asked_views(views))
    for number, edit in enumerate(edits):
        progress("edits", number, len(edits))
        what = f"{','.join(asked)}/{seed}/{edit.name}"
        names = {one.name: f"asked/{one.name}/{what}" for one in detectors}
        missing = [one for one in detectors if not parts.has(names[one.name])]
        found, seconds = (
            describe_all(missing, edited_batches(edited, edit, seed), asked)
            if missing
            else ({}, {})
        )
        for name, chunks in found.items():
            parts.save(names[name], pack_chunks(chunks))
        for one in detectors:
            mine = measured[one.name]
            chunks = found.get(one.name) or unpack_chunks(parts.load(names[one.name]))
            start = perf_counter()
            vectors = {
                name: torch.cat([chunk.described[name].vectors for chunk in chunks])
                for name in asked
            }
            mine.distances[edit.name] = least_distances(one, vectors, mine.gallery)
            mine.seconds += seconds.get(one.name, 0.0) + perf_counter() - start
            if features_of(chunks[0].described) is not None:
                mine.chunks[edit.name] = chunks
    progress("edits", len(edits), len(edits))
    return measured


def copy_radii(
    measured: Measured, edit: Edit, threshold: float, side: int = SIDE
) -> Distances | None:
    """How far each edited picture may move and stay a copy of its original, ``(n,)``.

    In the pixels of a ``side`` x ``side`` image at the same PSNR; 0 where it is no copy. ``None``
    for a detector without certificates.
    """
    if edit.name not in measured.chunks:
        return None
    found = []
    for chunk in measured.chunks[edit.name]:
        features = features_of(chunk.described)
        assert features is not None
        places = [measured.own[place] for place in chunk.places]
        copy, radius = view_radii(measured.gallery, places, features, threshold)
        radius = torch.where(copy, radius, 0.0)
        found.append(np.asarray(radius) / scaled(1.0, chunk.size, side))
    return np.concatenate(found)


def spread(count: int, wanted: int) -> list[int]:
    """``wanted`` indices spread evenly over ``count``.

    >>> spread(10, 4), spread(2, 5)
    ([0, 3, 6, 9], [0, 1])
    """
    places = np.linspace(0, count - 1, min(wanted, count)).round()
    return [int(place) for place in np.unique(places)]


def _galleries(
    detectors: Sequence[Detector],
    pictures: Sequence[Image.Image],
    views: Sequence[str],
    parts: ResultsFolder,
    own: Sequence[int],
    progress: Progress,
) -> dict[str, Measured]:
    blocks: dict[str, list[Gallery]] = {one.name: [] for one in detectors}
    spent = dict.fromkeys(blocks, 0.0)
    for begin in range(0, len(pictures), BLOCK):
        progress("collection", begin, len(pictures))
        end = min(begin + BLOCK, len(pictures))
        where = f"{','.join(views)}/{begin}-{end}"
        names = {one.name: f"stored/{one.name}/{where}" for one in detectors}
        missing = [one for one in detectors if not parts.has(names[one.name])]
        found: dict[str, Gallery] = {}
        if missing:
            numbered = _numbered(pictures, begin, end)
            found, seconds = describe_views(missing, batches_of_one_size(numbered), views)
            for name, gallery in found.items():
                spent[name] += seconds[name]
                parts.save(names[name], dict(vars(gallery)))
        for name, part in names.items():
            kept = found.get(name)
            blocks[name].append(Gallery(**parts.load(part)) if kept is None else kept)
    progress("collection", len(pictures), len(pictures))
    return {
        name: Measured(join_galleries(found), own, seconds=spent[name])
        for name, found in blocks.items()
    }


def _numbered(
    pictures: Sequence[Image.Image], begin: int, end: int
) -> Iterator[tuple[int, Image.Image]]:
    for place in range(begin, end):
        yield place, pictures[place]
