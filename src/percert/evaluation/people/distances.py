"""Distances by every metric of the pairs that people judged, measured once each; resumable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from percert.images import load_image
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance
from percert.metrics.deep.dreamsim import DreamSim
from percert.metrics.deep.sscd import SSCD
from percert.metrics.metric import Metric
from percert.runs.engine import Done, Kept, Progress, RunFolder, Step, batches, read_all, silent
from percert.runs.items import resized
from percert.tensors import Embeddings, Images, Vector

COLUMNS: dict[str, type] = {
    "pair": str,
    "metric": str,
    "weights": str,
    "distance": float,
    "height": int,
    "width": int,
}
#: A metric of this name says whether both images are equal to the last bit: 0, or 1.
EQUAL = "(equal)"
Pair: TypeAlias = tuple[Path, Path]
#: A pair and its images, ``(3, h, w)``.
Read: TypeAlias = tuple[Pair, Tensor, Tensor]
#: So many embeddings are remembered, of pictures that many pairs have in common.
REMEMBERED = 4096


@dataclass(frozen=True, eq=False)
class NamedMetric:
    """A metric, what it is called, and the hash of its weights, which its rows are kept under."""

    name: str
    metric: Metric
    weights: str


def named_metrics(metrics: Mapping[str, str | Path | None], device: str) -> list[NamedMetric]:
    """The metrics by name, each with its weights or ``None``."""
    made = {name: create_metric(name, file, device) for name, file in metrics.items()}
    return [NamedMetric(name, metric, weights_hash(metric)) for name, metric in made.items()]


def pair_name(pair: Pair) -> str:
    """What a pair is called in records."""
    return f"{pair[0]} | {pair[1]}"


def keep_distances(
    folder: RunFolder,
    pairs: Sequence[Pair],
    metrics: Sequence[NamedMetric],
    *,
    size: tuple[int, int] | None = None,
    batch_size: int = 16,
    progress: Progress = silent,
) -> Kept:
    """Measure ``pairs`` by every metric into ``folder``, all but what is there already.

    ``size`` resizes all images first (height, width). What a metric cannot compare is bad.
    """
    everything = [NamedMetric(EQUAL, _Equal(), ""), *metrics]
    return folder.keep(
        COLUMNS,
        lambda done: _measured(done, pairs, everything, size, batch_size, folder.device),
        wanted=[(pair_name(pair), one.name, one.weights) for pair in pairs for one in everything],
        key=("pair", "metric", "weights"),
        what="measuring",
        progress=progress,
    )


class _Equal(Metric):
    """0 for images that are the same to the last bit, else 1."""

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        if reference.shape != candidate.shape:
            return reference.new_ones(len(reference))
        return (reference != candidate).flatten(1).any(1).double()


def _measured(
    done: Done,
    pairs: Sequence[Pair],
    metrics: Sequence[NamedMetric],
    size: tuple[int, int] | None,
    count: int,
    device: str,
) -> Iterator[Step]:
    # A set has few images beside its pairs: each is decoded once, or nearly so.
    read_one = lru_cache(maxsize=256)(lambda path: resized(load_image(path), size))
    unreadable: set[str | None] = set()  # told once, not by every metric
    for one in metrics:
        todo = [
            pair
            for pair in pairs
            if (name := pair_name(pair)) not in unreadable
            and (name, one.name, one.weights) not in done
        ]
        distances = _remembering(one.metric)
        found = read_all(todo, lambda pair: (pair, read_one(pair[0]), read_one(pair[1])), pair_name)
        for some in batches(found, lambda read: (read[1].shape, read[2].shape), count):
            if isinstance(some, Step):
                unreadable.add(some.bad)
                yield some
            else:
                yield from _compared(one, distances, some, device)


def _remembering(metric: Metric) -> Callable[[Sequence[Pair], Images, Images], Vector]:
    """The distances of pairs, for which a metric of embeddings embeds each picture once."""
    if not isinstance(metric, EmbeddingMetric | DreamSim | SSCD):
        return lambda pairs, reference, candidate: metric(reference, candidate)
    constant = metric.constant if isinstance(metric, EmbeddingMetric) else 0.0
    known: dict[Path, Tensor] = {}

    def embedded(paths: Sequence[Path], images: Images) -> Embeddings:
        new = {path: row for row, path in enumerate(paths) if path not in known}
        if new:
            known.update(zip(new, metric.embed(images[list(new.values())]), strict=True))
        found = torch.stack([known[path] for path in paths])
        for path in list(known)[: max(0, len(known) - REMEMBERED)]:
            del known[path]
        return found

    def distances(pairs: Sequence[Pair], reference: Images, candidate: Images) -> Vector:
        first = embedded([pair[0] for pair in pairs], reference)
        return cosine_distance(first, embedded([pair[1] for pair in pairs], candidate), constant)

    return distances


@torch.no_grad()
def _compared(
    one: NamedMetric,
    distances_of: Callable[[Sequence[Pair], Images, Images], Vector],
    some: Sequence[Read],
    device: str,
) -> Iterator[Step]:
    pairs = [pair for pair, _, _ in some]
    names = [pair_name(pair) for pair in pairs]
    reference = torch.stack([first for _, first, _ in some])
    candidate = torch.stack([second for _, _, second in some])
    if one.name != EQUAL and (why := _unfit(one.name, reference, candidate)):
        yield from (Step(bad=name, reason=why) for name in names)
        return
    found = distances_of(pairs, reference.to(device), candidate.to(device))
    distances = found.double().tolist()
    height, width = reference.shape[2:]
    yield Step(
        [
            dict(zip(COLUMNS, (name, one.name, one.weights, distance, height, width), strict=True))
            for name, distance in zip(names, distances, strict=True)
        ]
    )


def _unfit(name: str, reference: Tensor, candidate: Tensor) -> str | None:
    """Why a metric cannot compare images of these sizes; ``None`` where it can."""
    card = metric_card(name)
    if card.resolution is not None:
        return None
    if reference.shape != candidate.shape:
        shapes = " and ".join(f"{h} x {w}" for h, w in (reference.shape[2:], candidate.shape[2:]))
        return f"{name} compares images of one size, found {shapes}; resize them"
    if min(reference.shape[2:]) < card.smallest_side:
        return f"{name} needs a side of at least {card.smallest_side} pixels"
    return None
