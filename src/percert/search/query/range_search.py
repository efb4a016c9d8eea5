"""All images within a threshold: of a query, and of each other, complete by proof."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.angles import cosine_distance, threshold_angle, turn
from percert.certify.features import PixelFeatures, arithmetic
from percert.certify.pairs import copies_of_features
from percert.check import check_budget
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.certified.embedding import SHORTEST
from percert.search.query.distances import (
    PLAIN_SPEC,
    EmbeddingSpec,
    Queries,
    make_queries,
    row_norms,
)
from percert.search.query.nearest import Collection, Neighbour
from percert.search.query.overtaking import (
    STORED_ROUNDING,
    has_direction,
    stays_within,
    stored_features,
    tilt,
)
from percert.search.query.prefilter import rows_within
from percert.search.tables.location import Tables
from percert.search.tables.scan import Block, scan_rows
from percert.search.tables.schema import in_parts
from percert.tensors import Embeddings, Vector

#: Images that are compared with all others at once, or whose embeddings are held at once.
AT_ONCE = 1024
#: Opens the collection anew, in blocks of at most so many rows, or of its own choice.
Opener = Callable[..., Iterable[Block]]


@dataclass(frozen=True)
class CopyVerdict:
    """A stored image, its verdict now, and whether that is a copy for every move of eps."""

    item: Neighbour
    copy: bool
    certain: bool


def copies_within(
    collection: Collection,
    features: Sequence[PixelFeatures],
    threshold: float,
    eps: float = 0.0,
    stored: EmbeddingSpec = PLAIN_SPEC,
    *,
    device: torch.device | str = "cpu",
) -> list[list[CopyVerdict]]:
    """Of each query every image that could be within ``threshold`` after a move of ``eps``.

    Nearest first. A query that moves by eps turns by at most phi(eps), so no row whose angle is
    larger than that of the threshold by more can come within it; all rows up to there are looked
    at (:func:`~percert.search.query.prefilter.rows_within` misses none). An image is a copy if any
    of its views is: it stays one within the largest of their radii, and a non-copy within the
    smallest. Raises ``ValueError`` for a threshold outside [0, 2] and for a negative eps.
    """
    check_threshold(threshold)
    eps = check_budget(eps)
    queries = make_queries(features, stored.constant)
    limit = torch.tensor(
        [_farthest(query, threshold, eps, stored) for query in features], dtype=torch.float64
    )
    found: list[dict[int, CopyVerdict]] = [{} for _ in features]
    for rows in rows_within(collection(), queries, limit, device=device) if features else ():
        for at in torch.unique(rows.query).tolist():
            mine = rows.of(at)
            of_rows = stored_features(mine.h, stored.constant, stored.feature_error, stored.content)
            copy, radius = verdicts(features[at], of_rows, threshold)
            bounds = [one.tolist() for one in stays_within(features[at], of_rows, eps)]
            for name, place, is_copy, r, d, low, up in zip(
                mine.ids, mine.place.tolist(), copy.tolist(), radius.tolist(), *bounds, strict=True
            ):
                if low > threshold:
                    continue
                image, view = divmod(place, stored.views)
                new = CopyVerdict(
                    Neighbour(name, image, view, d, low, up, r), is_copy, is_copy and r > eps
                )
                found[at][image] = _either(found[at].get(image), new)
    return [
        sorted(of_one.values(), key=lambda one: (one.item.distance, one.item.image))
        for of_one in found
    ]


def verdicts(query: PixelFeatures, rows: PixelFeatures, threshold: float) -> tuple[Tensor, Vector]:
    """Whether each stored row is within the threshold of the query, and the query's radius."""
    certificate = copies_of_features(query, rows, threshold, perturbed="reference")
    upright = has_direction(rows)
    if not bool(has_direction(query)):
        # Without a direction it is at 1/2 from what has one, and at 0 from what has none.
        now = torch.where(upright, 0.5, 0.0)
        return now <= threshold, torch.zeros_like(certificate.radius)
    # What has no direction stays at 1/2 for as long as the query has one; on the edge, float
    # rounding decides.
    until = query.budget(query.norm_h) * (abs(threshold - 0.5) > 1e-12)
    return (
        torch.where(upright, certificate.decision, threshold >= 0.5),
        torch.where(upright, certificate.radius, until),
    )


def check_threshold(threshold: float) -> float:
    """Return ``threshold`` if it is a cosine distance."""
    if not 0 <= threshold <= 2:
        raise ValueError(f"threshold: expected a cosine distance in [0, 2], found {threshold}")
    return float(threshold)


def _farthest(query: PixelFeatures, threshold: float, eps: float, stored: EmbeddingSpec) -> float:
    """The largest distance now from which a row could come within the threshold."""
    if not bool(has_direction(query)):
        return 2.0
    rows = stored_features(query.h[:1] * 0 + 1, stored.constant, stored.feature_error)
    turned = float(turn(query, query.moved(eps))) + 2 * tilt(rows) + 2 * query.rounding
    theta = float(threshold_angle(threshold)) + turned
    if theta >= math.pi:
        return 2.0
    return float(cosine_distance(torch.tensor(theta, dtype=torch.float64))) + 1e-12


def _either(old: CopyVerdict | None, new: CopyVerdict) -> CopyVerdict:
    """Two views of an image as one: the nearer, a copy if either is, with the radius of that."""
    if old is None:
        return new
    nearer, other = (old, new) if old.item.distance <= new.item.distance else (new, old)
    if old.copy == new.copy:
        radii = old.item.radius, new.item.radius
        radius = max(radii) if old.copy else min(radii)
    else:
        radius = (old if old.copy else new).item.radius
    item = Neighbour(
        nearer.item.id,
        nearer.item.image,
        nearer.item.view,
        nearer.item.distance,
        min(nearer.item.lower, other.item.lower),
        min(nearer.item.upper, other.item.upper),
        radius,
    )
    return CopyVerdict(item, old.copy or new.copy, old.certain or new.certain)


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


def pairs_within(
    collection: Opener,
    threshold: float,
    stored: EmbeddingSpec = PLAIN_SPEC,
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
    blocks: Iterable[Block],
    block: Block,
    place: int,
    threshold: float,
    stored: EmbeddingSpec,
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
            for found in rows_within([other], queries, limit, device=device):
                image = start + found.place // stored.views
                view = found.place % stored.views
                new = (image > place + found.query) | ((view > 0) & (image != place + found.query))
                if not bool(new.any()):
                    continue
                query, row = found.query[new], found.place[new]
                first = MovingRows(mine[0][query], mine[1][query], mine[2][query])
                second = MovingRows(
                    other.embeddings[row], other.bounds[row], other.pixel_errors[row]
                )
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
class MovingRows:
    """Rows that move: embeddings ``(p, k)``, and of each its bound and its rounding ``(p,)``."""

    h: Embeddings
    bound: Vector
    error: Vector


def radii_of_both(
    first: MovingRows, second: MovingRows, threshold: float, stored: EmbeddingSpec
) -> Vector:
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


def _features(moving: MovingRows, index: Tensor, stored: EmbeddingSpec) -> PixelFeatures:
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


def twin_pairs(
    tables: Tables, ids: Sequence[str], threshold: float, stored: EmbeddingSpec
) -> list[Pair]:
    """Images that several files hold, each as a pair with itself: distance 0, and how far both of
    two such files may move and stay within the threshold.
    """
    check_threshold(threshold)
    found: list[Pair] = []
    for some in in_parts(ids, AT_ONCE):
        rows = scan_rows(tables, ["id", "h", "bound", "pixel_error"], some)
        h, bound, error = (
            torch.tensor(rows[name].combine_chunks().flatten().to_numpy()).view(
                len(rows), stored.views, -1
            )
            for name in ("h", "bound", "pixel_error")
        )
        whole = MovingRows(h[:, 0], bound[:, 0, 0], error[:, 0, 0])
        radii = radii_of_both(whole, whole, threshold, stored)
        found += [
            Pair(id, id, 0, 0.0, radius)
            for id, radius in zip(rows["id"].to_pylist(), radii.tolist(), strict=True)
        ]
    return found
