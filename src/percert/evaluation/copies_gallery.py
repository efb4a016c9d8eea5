"""The collection that copies are looked for in: every image in several views, and its certificates.

A query is compared with every view of an image, and is a copy of it where any view is near. It
stays a copy within the largest radius of the views that match, and a non-copy within the smallest
radius of all. What is stored does not move (CERTIFICATES, "Several views").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.certify.copies import copies_of_features
from percert.certify.features import PixelFeatures
from percert.evaluation.copies_detector import Described, Detector
from percert.evaluation.copies_edited import Batch
from percert.evaluation.copies_pictures import as_tensor
from percert.search.rivals import stored_features
from percert.search.views import find_view
from percert.tensors import Vector

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gallery:
    """``m`` images in ``v`` views by one detector.

    ``vectors`` is ``(m, v, ...)``. Where the detector has certificates, ``h`` ``(m, v, k)`` are the
    raw embeddings as an index stores them (float32), ``constant`` the metric's c,
    ``feature_error`` its float error, and ``content`` ``(m, v)``, where it has a rule, by how much
    each holds more than it must (:class:`~percert.lipschitz.centre.Content`).
    """

    vectors: Tensor
    h: Tensor | None = None
    constant: float = 0.0
    feature_error: float = 0.0
    content: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)

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
            parts[detector.name].append(gallery_of([detector.describe(part) for part in cut]))
            seconds[detector.name] += perf_counter() - start
    return {name: join_galleries(found) for name, found in parts.items()}, seconds


def join_galleries(parts: Sequence[Gallery]) -> Gallery:
    """Galleries of the same views, one after the other."""
    if not parts:
        raise ValueError("gallery: expected at least one image, found none")
    h = [part.h for part in parts if part.h is not None]
    content = [part.content for part in parts if part.content is not None]
    return Gallery(
        torch.cat([part.vectors for part in parts]),
        torch.cat(h) if h else None,
        parts[0].constant,
        max(part.feature_error for part in parts),
        torch.cat(content) if content else None,
    )


def least_distances(detector: Detector, queries: Tensor, gallery: Gallery) -> Numbers:
    """``(q, m)``: of each query the distance from the nearest view of each image."""
    views = [
        detector.distances(queries, gallery.vectors[:, view])
        for view in range(gallery.vectors.shape[1])
    ]
    return np.asarray(torch.stack(views).amin(0), dtype=np.float64)


def view_radii(
    gallery: Gallery, places: Sequence[int], queries: PixelFeatures, threshold: float
) -> tuple[Tensor, Vector]:
    """Whether each query is a copy of the image at its place, and how far it may move.

    ``queries`` ``(n, k)`` and ``places`` go together. A radius of 0 abstains; below a threshold of
    0 nothing is a copy, and nothing is proven.
    """
    count = len(queries.h)
    copy = torch.zeros(count, dtype=torch.bool)
    if not 0 <= threshold <= 2:
        return copy, torch.zeros(count, dtype=torch.float64)
    inside = torch.zeros(count, dtype=torch.float64)
    outside = torch.full((count,), torch.inf, dtype=torch.float64)
    for view in range(gallery.vectors.shape[1]):
        one = copies_of_features(gallery.stored(places, view), queries, threshold)
        copy |= one.decision
        inside = torch.where(one.decision, torch.maximum(inside, one.radius), inside)
        outside = torch.minimum(outside, torch.where(one.decision, torch.inf, one.radius))
    return copy, torch.where(copy, inside, outside)


def gallery_of(views: Sequence[Described]) -> Gallery:
    """The gallery of one batch, described in each view."""
    features = [one.features for one in views if one.features is not None]
    vectors = torch.stack([one.vectors for one in views], 1)
    if not features:
        return Gallery(vectors)
    # Back in the network's own units: of stored vectors only the directions count.
    h = torch.stack([(one.h * one.bound.value).float() for one in features], 1)
    first = features[0]
    held = [one.content * one.bound.value for one in features if one.content is not None]
    content = torch.stack(held, 1) if held else None
    # ``relative`` is the metric's float error and a rounding of float64 besides.
    return Gallery(vectors, h, first.constant * first.bound.value, first.relative, content)
