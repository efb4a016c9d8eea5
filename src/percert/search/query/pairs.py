"""The self-join: all pairs of stored images that are copies, with radii for both moving."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, arithmetic
from percert.certify.own_threshold import OwnThreshold, own_copies_of_features
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.certified.embedding import SHORTEST
from percert.search.query.distances import PLAIN_SPEC, EmbeddingSpec, Queries, row_norms
from percert.search.query.levels import own_levels
from percert.search.query.overtaking import STORED_ROUNDING
from percert.search.query.within import rows_within
from percert.search.tables.location import Tables
from percert.search.tables.scan import Block, scan_rows
from percert.search.tables.schema import in_parts
from percert.tensors import Embeddings, Vector

#: So many images at a time are compared with all others, and have their embeddings in memory.
AT_ONCE = 1024
#: Opens the collection anew, in blocks of at most so many rows, or as queries look through it.
Opener = Callable[..., Iterable[Block]]


@dataclass(frozen=True)
class Pair:
    """Two images that are copies: ``first`` lies within ``threshold``, that of ``second``.

    ``view`` is the stored view of ``second`` that is compared; ``first`` is seen in the view of a
    query that belongs to it. ``radius`` is how far both may move at once, each in its own pixels,
    and stay copies; the threshold moves along.
    """

    first: str
    second: str
    view: int
    distance: float
    threshold: float
    radius: float


def pairs_within(
    collection: Opener,
    rule: OwnThreshold,
    stored: EmbeddingSpec = PLAIN_SPEC,
    *,
    skip: Callable[[int], bool] = lambda part: False,
    searched: Opener | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, list[Pair]]]:
    """All pairs of images of which one is a copy of the other, yielded part by part, in order.

    Part p compares the p-th :data:`AT_ONCE` images with all. A pair is reported once, by the view
    with the larger radius; if each of the two is a copy of the other, the parts of both report it.
    The callback ``skip(p)`` says that part p is done already (a checkpoint). Both images may move.
    Memory holds two blocks and the pairs of one part. ``searched`` opens the same images in the
    form that queries look through, by default as ``collection`` does.
    """
    place, others = 0, searched or collection
    for part, block in enumerate(collection(AT_ONCE * stored.views)):
        if not skip(part):
            best = pairs_of_part(others(), block, place, rule, stored, device=device)
            yield part, in_order(best)
        place += len(block.ids)


#: Pairs by the place of the first in its block, and of the second among all.
Best = dict[tuple[int, int], Pair]


def in_order(best: Best) -> list[Pair]:
    """The pairs of a part, by the places of their images."""
    return [best[key] for key in sorted(best)]


def pairs_of_part(
    blocks: Iterable[Block],
    block: Block,
    place: int,
    rule: OwnThreshold,
    stored: EmbeddingSpec,
    start: int = 0,
    *,
    device: torch.device | str = "cpu",
) -> Best:
    """The pairs between the images of ``block`` and those of ``blocks``.

    The first image of ``block`` has the place ``place`` in the collection, that of ``blocks`` the
    place ``start``.
    """
    asking = {name: block.of_view(places[0]) for name, places in stored.by_asked.items()}
    queries = {
        name: _directions(one.embeddings.double(), stored.constant) for name, one in asking.items()
    }
    still = torch.zeros(len(block.ids), dtype=torch.float64)
    # One threshold for all is the same both ways: a pair in one view is found by the first of two.
    mutual = rule.weight == 0
    best: Best = {}
    for whole in blocks:
        end = start + len(whole.ids)
        for name, places in stored.by_asked.items():
            if mutual and stored.views == 1 and end <= place:
                continue
            alone = len(places) == 1
            other = whole.of_view(places[0]) if alone else whole
            levels = own_levels(other, rule, None if alone else places)
            limits = levels.thresholds
            for found in rows_within(other, levels, queries[name], still, device=device):
                image = start + found.place // other.views
                column = found.place % other.views
                new = image != place + found.query
                if mutual:
                    new &= (image > place + found.query) | (column > 0)
                within = found.distance <= limits[found.place]
                new &= within
                if not bool(new.any()):
                    continue
                query, row = found.query[new], found.place[new]
                radii = radii_of_both(
                    moving_rows(asking[name], query), moving_rows(other, row), rule, stored
                )
                pairs = zip(
                    query.tolist(),
                    image[new].tolist(),
                    column[new].tolist(),
                    [found.ids[at] for at in new.nonzero()[:, 0].tolist()],
                    found.distance[new].tolist(),
                    limits[row].tolist(),
                    radii.tolist(),
                    strict=True,
                )
                for at, seen, through, id, distance, limit, radius in pairs:
                    view = places[0] if alone else through
                    pair = Pair(block.ids[at], id, view, distance, limit, radius)
                    old = best.get((at, seen))
                    if old is None or (radius, -distance) > (old.radius, -old.distance):
                        best[at, seen] = pair
        start = end
    return best


@dataclass(frozen=True)
class MovingRows:
    """Stored rows that may move: embeddings ``h`` ``(p, k)``, and ``(p,)`` numbers of each.

    These are its Lipschitz ``bound``, its rounding ``error`` and its ``likeness`` to the
    background.
    """

    h: Embeddings
    bound: Vector
    error: Vector
    likeness: Vector


def moving_rows(block: Block, rows: Tensor) -> MovingRows:
    """The ``rows`` of a block, which move."""
    like = torch.zeros_like(block.bounds) if block.likeness is None else block.likeness
    return MovingRows(
        block.embeddings[rows], block.bounds[rows], block.pixel_errors[rows], like[rows]
    )


def radii_of_both(
    first: MovingRows, second: MovingRows, rule: OwnThreshold, stored: EmbeddingSpec
) -> Vector:
    """How far both images of each pair may move at once and stay copies, by the second's threshold.

    0 where one has no direction, and where they are not certain to be copies.
    """
    radii = torch.zeros(len(first.h), dtype=torch.float64)
    groups = [torch.arange(len(first.h))]
    if stored.constant:
        # The constant in pixel units is c / L: the pairs of each two bounds together.
        bounds = torch.stack([first.bound, second.bound], 1)
        groups = [(bounds == one).all(1).nonzero()[:, 0] for one in torch.unique(bounds, dim=0)]
    for index in groups:
        one, other = _features(first, index, stored), _features(second, index, stored)
        certificate = own_copies_of_features(
            one, other, rule, second.likeness[index].double(), perturbed="both"
        )
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
    tables: Tables, ids: Sequence[str], rule: OwnThreshold, stored: EmbeddingSpec
) -> list[Pair]:
    """Images that several files hold, each as a pair with itself, at distance 0.

    The radius is how far both of two such files may move and stay copies.
    """
    found: list[Pair] = []
    names = ["id", "h", "bound", "pixel_error"]
    names += ["likeness"] if tables.header.layout > 1 else []
    for some in in_parts(ids, AT_ONCE):
        rows = scan_rows(tables, names, some)
        h, bound, error, *like = (
            torch.tensor(rows[name].combine_chunks().flatten().to_numpy()).view(
                len(rows), stored.views, -1
            )
            for name in names[1:]
        )
        resembles = like[0][:, 0, 0] if like else torch.zeros_like(bound[:, 0, 0])
        whole = MovingRows(h[:, 0].float(), bound[:, 0, 0], error[:, 0, 0], resembles)
        radii = radii_of_both(whole, whole, rule, stored)
        limits = rule.distances(resembles)
        found += [
            Pair(id, id, 0, 0.0, limit, radius)
            for id, limit, radius in zip(
                rows["id"].to_pylist(), limits.tolist(), radii.tolist(), strict=True
            )
        ]
    return found
