"""The gallery that copies are looked for in: every image in several views, with certificates.

A query is compared with every view of an image as an index does it, bands with the same band of the
query and all others with the whole of it, and is a copy where any view is near. It stays a copy
within the largest radius of the views that match, and a non-copy within the smallest radius of all.
What is stored does not move (CERTIFICATES, "Several views"). The threshold is a given one, or that
of a false-positive rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.pairs import copies_of_features
from percert.evaluation.copies.detector import Asked, Described, Detector
from percert.evaluation.copies.pictures import Batch, as_tensor
from percert.evaluation.copies.rates import Distances, threshold_at
from percert.search.ingest.views import asked_views, find_view
from percert.search.query.overtaking import stored_features
from percert.search.query.threshold import (
    ALL_PAIRS_OF,
    AutoThreshold,
    auto_threshold,
    disjoint_pairs,
)
from percert.tensors import Vector

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gallery:
    """``m`` images in ``v`` views by one detector.

    ``vectors`` is ``(m, v, ...)``. Where the detector has certificates, ``h`` ``(m, v, k)`` are the
    raw embeddings as an index stores them (float32), ``constant`` the metric's c,
    ``feature_error`` its float error, and ``content`` ``(m, v)``, where it has a rule, by how much
    each holds more than it must (:class:`~percert.lipschitz.centre.Content`). ``own`` ``(m, v)``,
    where images have thresholds of their own, is by how much each is stricter. ``asked`` says which
    views of a query are compared with which of these.
    """

    vectors: Tensor
    asked: Asked
    h: Tensor | None = None
    constant: float = 0.0
    feature_error: float = 0.0
    content: Tensor | None = None
    own: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def limit(self, places: Sequence[int], view: int, threshold: float) -> Vector:
        """The threshold of one view of the images at ``places``, ``(n,)`` in [0, 2]."""
        if self.own is None:
            return torch.full((len(places),), threshold, dtype=torch.float64)
        return (threshold - self.own[list(places), view]).clamp(0, 2)

    def asking(self, places: Sequence[int] | Tensor) -> dict[str, Tensor]:
        """The vectors of the images at ``places`` as queries, by the view that is asked."""
        where = torch.as_tensor(places)
        return {name: self.vectors[where, stored[0]] for name, stored in self.asked.items()}

    def stored(self, places: Sequence[int], view: int) -> PixelFeatures:
        """One view of the images at ``places``, as certificates take what does not move."""
        if self.h is None:
            raise ValueError("gallery: expected embeddings with a proven bound, found none")
        rows = self.h[list(places), view].double()
        features = stored_features(rows, self.constant, self.feature_error)
        if self.content is None:
            return features
        return replace(features, content=self.content[list(places), view])


def describe_views(
    detectors: Sequence[Detector], images: Iterable[Batch], views: Sequence[str]
) -> tuple[dict[str, Gallery], dict[str, float]]:
    """Each detector's gallery of all pictures in all ``views``, and its seconds."""
    parts: dict[str, list[Gallery]] = {detector.name: [] for detector in detectors}
    seconds = dict.fromkeys(parts, 0.0)
    for _, batch in images:
        pixels = as_tensor(batch)
        cut = [find_view(name)(pixels) for name in views]
        for detector in detectors:
            start = perf_counter()
            described = [detector.describe(part) for part in cut]
            parts[detector.name].append(gallery_of(described, views))
            seconds[detector.name] += perf_counter() - start
    return {name: join_galleries(found) for name, found in parts.items()}, seconds


def join_galleries(parts: Sequence[Gallery]) -> Gallery:
    """Galleries of the same views, one after the other."""
    if not parts:
        raise ValueError("gallery: expected at least one image, found none")
    h = [part.h for part in parts if part.h is not None]
    content = [part.content for part in parts if part.content is not None]
    own = [part.own for part in parts if part.own is not None]
    return Gallery(
        torch.cat([part.vectors for part in parts]),
        parts[0].asked,
        torch.cat(h) if h else None,
        parts[0].constant,
        max(part.feature_error for part in parts),
        torch.cat(content) if content else None,
        torch.cat(own) if own else None,
    )


def least_distances(detector: Detector, queries: Mapping[str, Tensor], gallery: Gallery) -> Numbers:
    """``(q, m)``: of each query, given by its views, the distance from each image's nearest."""
    views = [
        detector.distances(queries[name], gallery.vectors[:, view])
        for name, places in gallery.asked.items()
        for view in places
    ]
    return np.asarray(torch.stack(views).amin(0), dtype=np.float64)


def pair_distances(
    detector: Detector, queries: Mapping[str, Tensor], gallery: Gallery, places: Sequence[int]
) -> Vector:
    """``(n,)``: of each query the distance from the nearest view of the image at its place."""
    found = [
        torch.cat(
            [
                detector.distances(
                    queries[name][row : row + 1], gallery.vectors[place, list(views)]
                )
                for name, views in gallery.asked.items()
            ],
            1,
        ).amin()
        for row, place in enumerate(places)
    ]
    return torch.stack(found)


def view_radii(
    gallery: Gallery, places: Sequence[int], queries: Mapping[str, PixelFeatures], threshold: float
) -> tuple[Tensor, Vector]:
    """Whether each query is a copy of the image at its place, and how far it may move.

    ``queries``, the ``(n, k)`` features of each view that is asked, and ``places`` go together. A
    view of a query changes by no more than the query, so radii are in the query's own pixels. A
    radius of 0 abstains; below a threshold of 0 nothing is a copy, and nothing is proven.
    """
    count = len(places)
    copy = torch.zeros(count, dtype=torch.bool)
    if not 0 <= threshold <= (2 if gallery.own is None else 3):
        return copy, torch.zeros(count, dtype=torch.float64)
    inside = torch.zeros(count, dtype=torch.float64)
    outside = torch.full((count,), torch.inf, dtype=torch.float64)
    for name, view in [(name, view) for name, views in gallery.asked.items() for view in views]:
        limit = gallery.limit(places, view, threshold)
        one = copies_of_features(gallery.stored(places, view), queries[name], limit)
        copy |= one.decision
        inside = torch.where(one.decision, torch.maximum(inside, one.radius), inside)
        outside = torch.minimum(outside, torch.where(one.decision, torch.inf, one.radius))
    return copy, torch.where(copy, inside, outside)


def gallery_of(described: Sequence[Described], views: Sequence[str] = ("whole",)) -> Gallery:
    """The gallery of one batch, ``described`` in each of the ``views``."""
    features = [one.features for one in described if one.features is not None]
    vectors, asked = torch.stack([one.vectors for one in described], 1), asked_views(views)
    if not features:
        return Gallery(vectors, asked)
    # Back in the network's own units: of stored vectors only the directions count.
    h = torch.stack([(one.h * one.bound.value).float() for one in features], 1)
    first = features[0]
    held = [one.content * one.bound.value for one in features if one.content is not None]
    content = torch.stack(held, 1) if held else None
    own = [one.own for one in described if one.own is not None]
    stricter = torch.stack(own, 1) if own else None
    # ``relative`` is the metric's float error and a rounding of float64 besides.
    constant = first.constant * first.bound.value
    return Gallery(vectors, asked, h, constant, first.relative, content, stricter)


ThresholdKind = Literal["measured", "auto", "given"]


@dataclass(frozen=True)
class ThresholdChoice:
    """How the threshold is chosen, ``value`` being

    - ``"measured"``: the false-positive rate that the evaluation's own negatives keep;
    - ``"auto"``: the rate of unrelated images, with ``confidence`` (see
      :func:`percert.search.query.threshold.auto_threshold`);
    - ``"given"``: the threshold itself, of the first detector. The others get the one at which
      their own negatives have the rate that the first was found to have.
    """

    kind: ThresholdKind = "measured"
    value: float = 1e-3
    confidence: float = 0.95


def parse_threshold(text: str | None) -> ThresholdChoice:
    """``T``, ``auto[:RATE]`` or ``fpr[:RATE]`` (the default, at 1e-3).

    >>> parse_threshold("auto:1e-4")
    ThresholdChoice(kind='auto', value=0.0001, confidence=0.95)
    >>> parse_threshold("0.3").kind
    'given'
    """
    word, _, rate = (text or "fpr").partition(":")
    kinds: dict[str, ThresholdKind] = {"fpr": "measured", "auto": "auto"}
    try:
        if word not in kinds:
            value = float(text or "")
            if not 0 <= value <= 2:
                raise ValueError
            return ThresholdChoice("given", value)
        value = float(rate) if rate else 1e-3
        if not 0 < value < 1:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"threshold: expected a distance in [0, 2], auto[:RATE] or fpr[:RATE], found {text!r}"
        ) from None
    return ThresholdChoice(kinds[word], value)


def choose(
    choice: ThresholdChoice,
    detector: Detector,
    gallery: Gallery,
    negatives: Distances,
    first_rate: float | None,
    seed: int,
) -> tuple[float, AutoThreshold | None]:
    """The threshold of a detector, and how sure it is where images chose it.

    ``negatives`` are distances of its non-copies, ``first_rate`` the false-positive rate found of
    the first detector, ``None`` for the first itself.
    """
    if choice.kind == "auto":
        chosen = unrelated_threshold(detector, gallery, choice.value, choice.confidence, seed)
        return chosen.threshold, chosen
    if choice.kind == "given" and first_rate is None:
        return choice.value, None
    rate = choice.value if first_rate is None or choice.kind == "measured" else first_rate
    return threshold_at(negatives, min(rate, 1 - 1e-12)), None


def unrelated_threshold(
    detector: Detector, gallery: Gallery, fpr: float, confidence: float = 0.95, seed: int = 0
) -> AutoThreshold:
    """A threshold by the gallery's own images, taken to be no copies of each other.

    Of two images one is the query, and is compared with every view of the other.
    """
    if len(gallery) < 2:
        raise ValueError(f"threshold: expected at least 2 images, found {len(gallery)}")
    pairs = disjoint_pairs(len(gallery), seed)
    some = pairs.flatten()[:ALL_PAIRS_OF]
    among = Gallery(gallery.vectors[some], gallery.asked)
    every = torch.from_numpy(least_distances(detector, gallery.asking(some), among))
    above = torch.ones_like(every, dtype=torch.bool).triu(1)
    ones, others = pairs.unbind(1)
    independent = pair_distances(detector, gallery.asking(ones), gallery, others.tolist())
    return auto_threshold(independent, every[above], fpr, confidence=confidence)
