"""All pairs of a collection within a threshold, block against block, with the radius of each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from percert.certify.copies import copies_of_features
from percert.certify.features import PixelFeatures, arithmetic
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.embedding import SHORTEST
from percert.search.exact import Block, Queries, row_norms
from percert.search.hits import hits
from percert.search.rivals import STORED_ROUNDING
from percert.search.stored import PLAIN, Stored
from percert.search.within import check_threshold
from percert.tensors import Embeddings, Vector

#: Images that are compared with all others at once.
AT_ONCE = 1024


class BoundedBlock(Block, Protocol):
    """A block that also has each row's proven bound, and its rounding of the pixels."""

    @property
    def bounds(self) -> Vector: ...

    @property
    def pixel_errors(self) -> Vector: ...


@dataclass(frozen=True)
class Pair:
    """Two images within the threshold: ``first`` as a whole, ``second`` in its view ``view``.

    ``radius`` is how far both may move at once, each in its own pixels, and stay within it.
    """

    first: str
    second: str
    view: int
    distance: float
    radius: float


#: Opens the collection anew, in blocks of at most so many rows, or of its own choice.
Opener = Callable[..., Iterable[BoundedBlock]]


def linked_pairs(
    collection: Opener,
    threshold: float,
    stored: Stored = PLAIN,
    *,
    skip: Callable[[int], bool] = lambda part: False,
    rows: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, list[Pair]]]:
    """The pairs of images within ``threshold``, part by part, each part's in its order.

    Part p compares the p-th :data:`AT_ONCE` images, whole, with every view of the others; a pair is
    reported once, with the view that has the larger radius (but by both of its images' parts, where
    both see it in a cropped or mirrored view). ``skip(p)`` says that a part is done already. Both
    images may move. Memory holds the two blocks and the pairs of a part. Raises ``ValueError`` for
    a threshold outside [0, 2].
    """
    check_threshold(threshold)
    place = 0
    for part, block in enumerate(collection(AT_ONCE * stored.views)):
        if not skip(part):
            yield part, _part(collection(rows), block, place, threshold, stored, device)
        place += len(block.ids)


def _part(
    blocks: Iterable[BoundedBlock],
    block: BoundedBlock,
    place: int,
    threshold: float,
    stored: Stored,
    device: torch.device | str,
) -> list[Pair]:
    """The pairs of the whole images of ``block``, which starts at image ``place``, with all."""
    whole = slice(None, None, stored.views)
    mine = (block.embeddings[whole], block.bounds[whole], block.pixel_errors[whole])
    queries = _directions(mine[0].double(), stored.constant)
    limit = torch.full((len(queries),), threshold, dtype=torch.float64)
    best: dict[tuple[int, int], Pair] = {}
    start = 0
    for other in blocks:
        end = start + len(other.ids)
        # A pair of whole images is found by the first of the two; one in a view, by the whole one.
        if stored.views > 1 or end > place:
            for found in hits([other], queries, limit, device=device):
                image = start + found.place // stored.views
                view = found.place % stored.views
                new = (image > place + found.query) | ((view > 0) & (image != place + found.query))
                if not bool(new.any()):
                    continue
                query, row = found.query[new], found.place[new]
                first = Moving(mine[0][query], mine[1][query], mine[2][query])
                second = Moving(other.embeddings[row], other.bounds[row], other.pixel_errors[row])
                pairs = zip(
                    query.tolist(),
                    image[new].tolist(),
                    view[new].tolist(),
                    [found.ids[at] for at in new.nonzero()[:, 0].tolist()],
                    found.distance[new].tolist(),
                    radii_of_both(first, second, threshold, stored).tolist(),
                    strict=True,
                )
                for at, seen, through, name, distance, radius in pairs:
                    pair = Pair(block.ids[at], name, through, distance, radius)
                    old = best.get((at, seen))
                    if old is None or (radius, -distance) > (old.radius, -old.distance):
                        best[at, seen] = pair
        start = end
    return [best[key] for key in sorted(best)]


@dataclass(frozen=True)
class Moving:
    """Rows that move: embeddings ``(p, k)``, and of each its bound and its rounding ``(p,)``."""

    h: Embeddings
    bound: Vector
    error: Vector


def radii_of_both(first: Moving, second: Moving, threshold: float, stored: Stored) -> Vector:
    """How far both of each pair may move; 0 where one has no direction, or is no copy for sure."""
    radii = torch.zeros(len(first.h), dtype=torch.float64)
    groups = [torch.arange(len(first.h))]
    if stored.constant:
        # The constant in pixel units is c / L: the pairs of each two bounds together.
        bounds = torch.stack([first.bound, second.bound], 1)
        groups = [(bounds == one).all(1).nonzero()[:, 0] for one in torch.unique(bounds, dim=0)]
    for index in groups:
        one, other = _features(first, index, stored), _features(second, index, stored)
        certificate = copies_of_features(one, other, threshold, perturbed="both")
        radii[index] = torch.where(certificate.decision, certificate.radius, 0.0)
    return radii


def _features(moving: Moving, index: Tensor, stored: Stored) -> PixelFeatures:
    """Rows in pixel units, each divided by its own bound (see ``certify.pixel_features``)."""
    bound = moving.bound[index].double()
    relative = stored.feature_error + STORED_ROUNDING + arithmetic(moving.h.shape[1])
    largest = float(bound.max())
    h = moving.h[index].double() / bound[:, None]
    constant = stored.constant / largest
    norm = torch.hypot(h.norm(dim=1), torch.full_like(bound, constant))
    error = relative * norm + moving.error[index].double()
    named = LipschitzBound(largest, "the largest of the rows', each divided by its own")
    content = stored.content
    held = None if content is None else content.margin(moving.h[index].double()) / bound
    return PixelFeatures(h, constant, error, relative, named, held)


def _directions(h: Embeddings, constant: float) -> Queries:
    norm = row_norms(h, constant)
    scale = torch.where(norm >= SHORTEST, 1 / norm, 0.0)
    return Queries(h * scale[:, None], constant * scale, constant)
