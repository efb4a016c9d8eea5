"""A threshold with a confidence bound on its rate of false positives, from unrelated images.

Distances of disjoint pairs of images are independent, and their order statistics bound the rate of
false positives without any assumption on how distances are distributed.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.binomial import at_least, chance_of_hits
from percert.search.query.distances import EmbeddingSpec, distances, make_queries
from percert.search.query.overtaking import stored_features
from percert.search.tables.scan import Block
from percert.tensors import Vector

#: At most so many stored images choose a threshold.
SAMPLE = 20_000

#: Images of which all pairs are looked at, where disjoint pairs are too few.
ALL_PAIRS_OF = 500


@dataclass(frozen=True)
class AutoThreshold:
    """A ``threshold`` for a rate ``fpr`` of false positives a pair of unrelated images.

    The rate is at most ``fpr`` with probability ``confidence`` over the choice of the images, by
    ``pairs`` independent pairs; with probability ``wanted`` it is at most ``fpr_bound``.
    ``observed`` is the share of all ``all_pairs`` pairs (which are not independent) within the
    threshold.
    """

    threshold: float
    fpr: float
    wanted: float
    confidence: float
    fpr_bound: float
    observed: float
    pairs: int
    all_pairs: int

    @property
    def proven(self) -> bool:
        """Whether there were enough images for the wanted confidence."""
        return self.confidence >= self.wanted


def auto_threshold(
    independent: Vector, every: Vector, fpr: float, *, confidence: float = 0.95
) -> AutoThreshold:
    """The largest threshold proven to keep the rate at ``fpr`` with ``confidence``.

    ``independent`` ``(m,)`` are the distances of disjoint pairs of unrelated images, ``every``
    those of all pairs. With U_(r) the chance of a distance below the r-th smallest of m,
    P(U_(r) <= p) = P(Bin(m, p) >= r): the threshold lies just below the largest such r-th. Where
    m is too small even for r = 1, it lies below the smallest, and below where ``every`` has its
    share ``fpr``; the confidence is then the 1 - (1 - p)^m that is left. Raises ``ValueError``
    without pairs.

    >>> found = auto_threshold(torch.linspace(0.5, 1, 4000), torch.linspace(0.5, 1, 9), 1e-3)
    >>> found.proven, round(found.threshold, 4)
    (True, 0.5)
    >>> few = torch.linspace(0.5, 1, 100)
    >>> round(auto_threshold(few, few, 1e-3).confidence, 3)
    0.095
    """
    for name, rate in (("fpr", fpr), ("confidence", confidence)):
        if not 0 < rate < 1:
            raise ValueError(f"{name}: expected a rate between 0 and 1, found {rate}")
    count = len(independent)
    if count == 0 or len(every) == 0:
        raise ValueError("threshold: expected at least 2 images to choose one by, found fewer")
    if bool(independent.isnan().any()) or bool(every.isnan().any()):
        raise ValueError("threshold: found a distance that is not a number")
    ranked = independent.double().sort().values
    order = largest_order(count, fpr, confidence)
    threshold = _below(float(ranked[max(order, 1) - 1]))
    if order == 0:
        allowed = int(fpr * len(every) * (1 + 1e-12))
        threshold = min(threshold, _below(float(every.double().sort().values[allowed])))
    rank = max(order, 1)
    threshold = max(threshold, 0.0)
    return AutoThreshold(
        threshold=threshold,
        fpr=fpr,
        wanted=confidence,
        confidence=at_least(rank, count, fpr),
        fpr_bound=chance_of_hits(rank, count, confidence)[1],
        observed=float((every.double() <= threshold).double().mean()),
        pairs=count,
        all_pairs=len(every),
    )


def largest_order(count: int, fpr: float, confidence: float) -> int:
    """The largest r with P(Bin(count, fpr) >= r) >= confidence; 0 where there is none."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if at_least(middle, count, fpr) >= confidence:
            low = middle
        else:
            high = middle - 1
    return low


def disjoint_pairs(count: int, seed: int = 0) -> Tensor:
    """``(count // 2, 2)``: random pairs of ``count`` images in which each is at most once."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[: count // 2 * 2].view(-1, 2)


def _below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def choose_threshold(
    blocks: Callable[[], Iterable[Block]],
    images: int,
    spec: EmbeddingSpec,
    fpr: float = 1e-3,
    weight: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> AutoThreshold:
    """A threshold from a store's own ``images``, which are taken to be no copies of each other.

    Copies among them make it smaller than necessary, so remove duplicates first. Of two images, one
    is compared with every view of the other, as a query is, and ``weight`` times the likeness of
    that view is added to the distance. At most :data:`SAMPLE` images, evenly spread, are read.
    Raises ``ValueError`` for fewer than two.
    """
    step = max(1, -(-images // SAMPLE))
    parts, likes, place = [], [], 0
    for block in blocks():
        h = block.embeddings.view(len(block.ids), spec.views, -1)
        like = torch.zeros_like(block.norms) if block.likeness is None else block.likeness
        parts.append(h[(-place) % step :: step].clone())
        likes.append(like.view(len(block.ids), spec.views)[(-place) % step :: step].clone())
        place += len(block.ids)
    if sum(map(len, parts)) < 2:
        raise ValueError("threshold: expected at least 2 images to choose one by, found fewer")
    h, added = torch.cat(parts), weight * torch.cat(likes)
    pairs = disjoint_pairs(len(h), seed)
    every = torch.combinations(pairs.flatten()[:ALL_PAIRS_OF], 2)
    independent, all_pairs = (_least_distances(h, added, some, spec) for some in (pairs, every))
    return auto_threshold(independent, all_pairs, fpr, confidence=confidence)


def _least_distances(h: Tensor, added: Tensor, pairs: Tensor, spec: EmbeddingSpec) -> Tensor:
    """For each pair, the smallest distance of the first image from the views of the second.

    With what is ``added`` ``(n, v)`` to the distance of each view.
    """
    found = []
    for some in torch.split(pairs, 1024):
        least = torch.full((len(some),), torch.inf, dtype=torch.float64)
        for places in spec.by_asked.values():
            asked = stored_features(h[some[:, 0], places[0]], spec.constant, spec.feature_error)
            queries = make_queries([asked], spec.constant)
            for view in places:
                rows = h[some[:, 1], view].double()
                far = distances(queries.h, queries.last, rows, spec.constant)
                least = torch.minimum(least, far + added[some[:, 1], view])
        found.append(least)
    return torch.cat(found)
