"""Which of a gallery is nearest, and how far the query may be perturbed without changing it."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from percert.certify.angles import angle
from percert.certify.certificate import NearestCertificate
from percert.certify.features import PixelFeatures, certifiable, embed, features_of, pixel_features
from percert.certify.lipsim_bounds import equation_8, reported
from percert.certify.twoafc import all_radius, plane_radius, stray
from percert.check import check_choice
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.metric import Metric
from percert.tensors import Embeddings, Images

#: Rows of the gallery whose radii are computed at once.
CHUNK = 64


def nearest(
    metric: Metric,
    query: Images,
    gallery: Embeddings,
    k: int = 1,
    *,
    ids: Sequence[str] | None = None,
    gallery_size: tuple[int, int] | None = None,
) -> NearestCertificate:
    """The row of ``gallery`` nearest to each query, and how far the query may move.

    ``query`` is ``(n, 3, h, w)``; ``gallery`` ``(m, k')`` holds ``metric.embed`` of the images to
    search, of whatever sizes; ``ids`` names its rows. Only the query moves; where ``gallery_size``
    (height, width) is given, that of all images of the gallery, they move as well, each by less
    than the radius in its own pixels. ``k`` is the depth of ``radius_top_k``. Raises ``ValueError``
    for a metric without a proven bound, a gallery that is empty, of another width or not finite,
    and a ``k`` below 1.

    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> found = nearest(metric, photo, metric.embed(torch.cat([1 - photo, photo])), ids=["b", "a"])
    >>> found.ids, found.index.item(), round(found.radius.item(), 2)
    (('a',), 1, 4.58)
    """
    features = embed(metric, query)
    if gallery_size is not None:
        own = certifiable(metric)
        moving = features_of(own, gallery.to(features.h), own.bound(gallery_size), gallery_size)
        return nearest_of_features(features, moving, k, ids=ids, perturbed="all")
    stored = pixel_features(
        gallery.to(features.h.device),
        # Only directions of the gallery matter, and they do not depend on a bound.
        LipschitzBound(1.0, "not used: the gallery does not move"),
        constant=certifiable(metric).constant,
        feature_error=certifiable(metric).feature_error,
    )
    return nearest_of_features(features, stored, k, ids=ids)


def nearest_of_features(
    query: PixelFeatures,
    gallery: PixelFeatures,
    k: int = 1,
    *,
    ids: Sequence[str] | None = None,
    perturbed: Literal["query", "all"] = "query",
) -> NearestCertificate:
    """:func:`nearest` of embeddings: ``(n, k')`` queries and the ``(m, k')`` gallery.

    Rival j overtakes the nearest at r_j = n (s_1 - s_j) / |(g_1 - g_j)_k|, as in 2AFC. The smallest
    r_j bounds the first place (exact), the k-th smallest the first k places. Rivals are scanned by
    falling similarity, and no further than r_j >= n sin((theta_j - theta_1) / 2) leaves in doubt.
    Where the ``gallery``, in pixels of its own images, moves too (``perturbed`` "all"), r_j is the
    radius of 2AFC with all three moving, and four turns must make up theta_j - theta_1.
    """
    check_choice(perturbed, ("query", "all"), "perturbed")
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    if query.h.shape[1] != gallery.h.shape[1]:
        raise ValueError(
            f"gallery: expected embeddings of width {query.h.shape[1]}, found {gallery.h.shape[1]}"
        )
    if len(gallery.h) == 0:
        raise ValueError("gallery: expected at least 1 embedding, found none")
    if not gallery.norm.isfinite().all():
        row = int(gallery.norm.isfinite().logical_not().nonzero()[0, 0])
        raise ValueError(f"gallery: row {row} holds NaN or infinite values")
    if ids is not None and len(ids) != len(gallery.h):
        raise ValueError(f"ids: expected {len(gallery.h)}, one per embedding, found {len(ids)}")
    directions, xi = gallery.directions, stray(gallery)
    each = (query.rows(slice(row, row + 1)) for row in range(len(query.h)))
    if perturbed == "all":
        found = [_search_moving(one, gallery, k) for one in each]
    else:
        found = [_search(one, directions, xi, k) for one in each]
    index = torch.tensor([one[0] for one in found], dtype=torch.long, device=query.h.device)
    columns = query.h.new_tensor([one[1:5] for one in found]).reshape(-1, 4)
    return NearestCertificate(
        index=index,
        distance=columns[:, 0],
        radius=columns[:, 1],
        radius_top_k=columns[:, 2],
        radius_paper=columns[:, 3],
        k=k,
        ids=None if ids is None else tuple(ids[row] for row in index.tolist()),
        scanned=torch.tensor([one[5] for one in found], dtype=torch.long, device=query.h.device),
        bound=query.bound,
    )


def _search(
    query: PixelFeatures, gallery: Tensor, xi: Tensor, k: int
) -> tuple[int, float, float, float, float, int]:
    """Index, distance, radius, top-k radius, paper's radius and rows scanned, of one query."""
    g = query.directions
    half_squares = (gallery - g).square().sum(dim=1) / 2
    order = half_squares.argsort(stable=True)
    first = int(order[0])
    distance = float(half_squares[first])
    if not bool(query.valid):
        return first, distance, 0.0, 0.0, math.nan, 0
    best = gallery[first : first + 1]
    theta = float(angle(g, best))
    worst_xi = float(xi.max()) + float(xi[first])
    radii, papers = [], []
    scanned = 0
    for start in range(1, len(order), CHUNK):
        rivals = order[start : start + CHUNK]
        u = best - gallery[rivals]
        margin = (query.vectors * u).sum(dim=1)
        u_k = u[:, : query.h.shape[1]].norm(dim=1)
        radii.append(plane_radius(query, margin, u_k, xi[rivals] + xi[first]))
        papers.append(equation_8(margin / query.norm, u.norm(dim=1), query))
        scanned += len(rivals)
        if scanned >= k:
            kth = torch.cat(radii).kthvalue(k).values
            farthest = gallery[rivals[-1:]]
            if least_radius(query, angle(g, farthest) - theta, worst_xi) > kth:
                break
    if not radii:
        return first, distance, math.inf, math.inf, math.inf, 0
    r, paper = torch.cat(radii), torch.cat(papers).amin()
    top_k = float(r.kthvalue(k).values) if len(r) >= k else math.inf
    return first, distance, float(r.amin()), top_k, float(reported(paper, r.amin())), scanned


def _search_moving(
    query: PixelFeatures, gallery: PixelFeatures, k: int
) -> tuple[int, float, float, float, float, int]:
    """The same where all images move; there is no radius of the paper's."""
    g = query.directions
    half_squares = (gallery.directions - g).square().sum(dim=1) / 2
    order = half_squares.argsort(stable=True)
    first = int(order[0])
    distance = float(half_squares[first])
    best = gallery.rows(slice(first, first + 1))
    if not bool(query.valid & best.valid):
        return first, distance, 0.0, 0.0, math.nan, 0
    theta = angle(g, best.directions)
    shortest = torch.minimum(query.norm, gallery.norm.amin())
    radii: list[Tensor] = []
    scanned = 0
    for start in range(1, len(order), CHUNK):
        rivals = gallery.rows(order[start : start + CHUNK])
        found = all_radius(query, best, rivals)
        radii.append(torch.where(rivals.valid, found, 0.0))
        scanned += len(rivals.h)
        if scanned >= k:
            kth = torch.cat(radii).kthvalue(k).values
            # None turns by more than asin(e / shortest), and the four of them by less than the gap.
            gap = angle(g, rivals.directions[-1:]) - theta
            length = shortest * ((gap - 4 * query.rounding).clamp(0, math.pi) / 4).sin()
            if bool(torch.minimum(query.budget(length), gallery.budget(length).amin()) > kth):
                break
    if not radii:
        return first, distance, math.inf, math.inf, math.nan, 0
    r = torch.cat(radii)
    top_k = float(r.kthvalue(k).values) if len(r) >= k else math.inf
    return first, distance, float(r.amin()), top_k, math.nan, scanned


def least_radius(query: PixelFeatures, gap: Tensor, xi: float) -> Tensor:
    """A radius that no rival whose angle is at least ``gap`` larger can be below, slack included.

    With S = sin(gap / 2): <v, u> >= n S |u| and |u| >= 2 S, and (n S |u| - n xi) / (|u| + xi) rises
    with |u|.
    """
    s = (gap.clamp(0, math.pi) / 2).sin()
    return query.budget(query.norm * (2 * s * s - xi).clamp_min(0) / (2 * s + xi))
