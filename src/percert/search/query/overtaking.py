"""Overtaking radii: how far a query must move for another stored image to become the nearer one.

Stored images do not move. Row j overtakes row 1 at r_j = n <g, g_1 - g_j> / |(g_1 - g_j)_k|, the
distance of the query from the plane between the two (``docs/concepts/certificates.md``, "Nearest of
a gallery"). The rows that the first pass keeps for a query bound how long its first images keep
their places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from percert.certify.angles import angle, reach, turn
from percert.certify.features import PixelFeatures, arithmetic, pixel_features
from percert.certify.nearest import least_radius
from percert.certify.pairs import FeaturePairs
from percert.certify.twoafc import plane_radius
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.search.query.distances import EmbeddingSpec, stack
from percert.search.query.top_k import Numbers, TopRows
from percert.tensors import Embeddings, Vector

#: Stored embeddings are float32, whatever the metric computes in.
STORED_ROUNDING = 2.0**-24
_FIXED = LipschitzBound(1.0, "not used: what is stored does not move")
#: At this angle, distance 1/2, lies every row that has no direction.
FLAT_ANGLE = math.pi / 3
#: What |g - g'|^2 = 2 - 2 <g, g'> of some thousand values may be off in float64.
GRAM = 1e-12
#: Values of rows that are held at once in float64, so that they stay in cache.
VALUES = 1 << 20


def stored_features(
    h: Embeddings, constant: float, feature_error: float, content: Content | None = None
) -> PixelFeatures:
    """Stored rows in the form in which the certificates take embeddings; they do not move."""
    return pixel_features(
        h,
        _FIXED,
        constant=constant,
        feature_error=feature_error + STORED_ROUNDING,
        content=content,
    )


def rival_radii(query: PixelFeatures, rows: PixelFeatures, rivals: PixelFeatures) -> Tensor:
    """How far the single ``query`` must move for each rival to be as near as each of ``rows``.

    ``rows`` ``(p, k)`` and ``rivals`` ``(m, k)`` are stored; the result is ``(p, m)``. 0 where the
    rival is as near already, and where the query has no direction. A stored row without a direction
    stays at distance 1/2, so the other one has to cross the angle of 60 degrees.
    """
    shape = len(rows.h), len(rivals.h)
    if not bool(query.upright):
        return torch.zeros(shape, dtype=torch.float64)
    g, others = rows.directions, rivals.directions
    width, xi = query.h.shape[1], 2 * tilt(rows)
    v = query.vectors[0]
    margin = (g @ v)[:, None] - others @ v
    square = (
        g[:, :width].square().sum(1)[:, None]
        + others[:, :width].square().sum(1)
        - 2 * g[:, :width] @ others[:, :width].T
    )
    u_k = (square.clamp_min(0) + max(GRAM, 4 * query.rounding)).sqrt()
    between = plane_radius(query, margin.flatten(), u_k.flatten(), u_k.new_tensor(xi)).view(shape)
    upright, rival_upright = rows.upright[:, None], rivals.upright
    if bool(upright.all()) and bool(rival_upright.all()):
        return between
    slack = xi + query.rounding
    nearer = query.budget(reach(query, FLAT_ANGLE - angle(query.directions, g) - slack))
    farther = query.budget(reach(query, angle(query.directions, others) - FLAT_ANGLE - slack))
    against_flat = torch.where(upright, nearer[:, None], 0.0)
    return torch.where(
        rival_upright, torch.where(upright, between, farther.expand(shape)), against_flat
    )


def flat_radius(query: PixelFeatures, rows: PixelFeatures) -> Vector:
    """The radii ``(p,)`` of ``rows`` against a stored row that has no direction."""
    flat = replace(
        rows, h=torch.zeros_like(rows.h[:1]), error=torch.zeros_like(rows.error[:1]), content=None
    )
    return rival_radii(query, rows, flat)[:, 0]


def least_beyond(query: PixelFeatures, rows: PixelFeatures, theta: float) -> Vector:
    """The radii ``(p,)`` within which no row at an angle of ``theta`` or more overtakes ``rows``.

    Of rows that have a direction; ``theta`` is the angle from the query, in radians.
    """
    if not bool(query.upright):
        return torch.zeros(len(rows.h), dtype=torch.float64)
    xi = 2 * tilt(rows)
    gap = theta - angle(query.directions, rows.directions)
    apart = least_radius(query, gap - query.rounding, xi)
    upright = rows.upright
    if bool(upright.all()):
        return apart
    from_flat = torch.full_like(gap, theta - FLAT_ANGLE - xi - query.rounding)
    return torch.where(upright, apart, query.budget(reach(query, from_flat)))


def stays_within(pairs: FeaturePairs, eps: float) -> tuple[Vector, Vector, Vector]:
    """Distance, lower and upper bound ``(m,)`` of a query's stored rows while it moves by eps."""
    query, rows = pairs.reference, pairs.candidate
    lower, upper = pairs.bounds(eps, "reference")
    upright, turned = rows.upright, bool(query.upright)
    if turned and bool(upright.all()):
        return pairs.distance, lower, upper
    stays = turned and bool(query.moved(eps) < query.norm_h)
    flat = 0.5 if turned else 0.0
    distance = torch.where(upright, pairs.distance if turned else 0.5, flat)
    lower = torch.where(upright, lower if turned else 0.0, 0.5 if stays else 0.0)
    upper = torch.where(upright, upper if turned else 2.0, 0.5 if stays or turned else 2.0)
    return distance, lower, upper


def tilt(rows: PixelFeatures) -> float:
    """A bound of how far a stored unit vector is from the exact one, for float rounding."""
    return _tilt(rows.relative)


def stored_tilt(width: int, stored: EmbeddingSpec) -> float:
    """:func:`tilt` of stored rows of ``width`` values."""
    return _tilt(stored.feature_error + STORED_ROUNDING + arithmetic(width))


def _tilt(relative: float) -> float:
    x = 2 * relative
    # asin(x), and the chord of that angle, are less than x (1 + x^2) while x <= 1/2.
    return x * (1 + x * x) * (1 + 1e-6)


@dataclass(frozen=True, eq=False)
class LeaderRadii:
    """Radii of the first k images of q queries, from the m rows that the first pass kept of each.

    ``lower`` and ``upper`` ``(q, m)`` bound the distance of each row after a move of eps.
    ``rivals`` ``(q, i)`` are the radii at which each of the i images is as near as the first one
    (infinite for that one), nearest first. Below ``ends`` ``(q,)`` no row that was left out
    overtakes the first. ``stays`` ``(q, k)`` are the radii within which each of the first k images
    stays among them.
    """

    lower: Numbers
    upper: Numbers
    rivals: Numbers
    ends: Numbers
    stays: Numbers


@dataclass(frozen=True, eq=False)
class _Rows:
    """The same, row by row.

    ``radii`` ``(q, k, m)`` are those at which each row is as near as each of the first k images;
    below ``ends`` ``(q, k)`` no row that was left out is.
    """

    lower: Numbers
    upper: Numbers
    radii: Numbers
    ends: Numbers


def leader_radii(
    features: Sequence[PixelFeatures], near: TopRows, k: int, eps: float, stored: EmbeddingSpec
) -> LeaderRadii:
    """The radii of the ``k`` nearest images of each query, one row of ``features`` each."""
    together = stack(features)
    lead = min(k, near.leads.shape[1])
    # All at once where there is nothing without a direction; such follow other rules.
    plain = len(together) == 1 and near.directed and bool(together[0].upright.all())
    step = max(1, VALUES // near.h[0].numel()) if plain else 1
    looks = []
    for start in range(0, len(near), step):
        some = slice(start, min(start + step, len(near)))
        if plain:
            query = together[0] if step >= len(near) else together[0].rows(some)
            rows = _together(query, near, some, lead, eps, stored)
        else:
            rows = _alone(features[start], near, start, lead, eps, stored)
        looks.append(_of_images(rows, near, some, k))
    if len(looks) == 1:
        return looks[0]
    return LeaderRadii(
        *(np.concatenate([getattr(one, f.name) for one in looks]) for f in fields(LeaderRadii))
    )


def pair_radii(query: PixelFeatures, first: PixelFeatures, rival: PixelFeatures) -> Vector:
    """How far each query must move for its rival to be as near as its first image, ``(p,)``.

    All three have ``p`` rows, and each row has a direction.
    """
    u = first.directions - rival.directions
    margin = (query.vectors * u).sum(1)
    u_k = (u[:, : query.h.shape[1]].square().sum(1) + max(GRAM, 4 * query.rounding)).sqrt()
    return plane_radius(query, margin, u_k, u_k.new_tensor(2 * tilt(rival)))


def _of_images(rows: _Rows, near: TopRows, some: slice, k: int) -> LeaderRadii:
    """From radii of rows to radii of images: the smallest of an image's rows counts.

    How long an image stays among the first k depends on how many others may pass it before.
    """
    radii, lead = rows.radii, rows.radii.shape[1]
    if near.views > 1:
        rank = torch.from_numpy(near.rank[some])[:, None].expand(radii.shape)
        images = torch.full((*rank.shape[:2], near.leads.shape[1] + 1), torch.inf).double()
        images = images.scatter_reduce(2, rank, torch.from_numpy(radii), "amin")
        radii = images[:, :, :-1].numpy()
    behind = np.arange(radii.shape[2]) > np.arange(lead)[:, None]
    radii = np.where(behind, radii, np.inf)
    # The leading image r may be overtaken by k - r - 1 others.
    short = np.full((len(radii), lead, k), np.inf)
    least = np.sort(np.concatenate([radii, short], 2), axis=2)
    allowed = k - 1 - np.arange(lead)
    stays = np.minimum(least[:, np.arange(lead), allowed], rows.ends)
    return LeaderRadii(rows.lower, rows.upper, radii[:, 0], rows.ends[:, 0], stays)


def _together(
    query: PixelFeatures, near: TopRows, some: slice, lead: int, eps: float, stored: EmbeddingSpec
) -> _Rows:
    """All queries at once, where every query and row has a direction; see :func:`rival_radii`.

    In NumPy, whose calls cost less: of one query there is little to be computed.
    """
    width = query.h.shape[1]
    rows = near.h[some].double().numpy()
    norm = np.sqrt(np.einsum("qmk,qmk->qm", rows, rows))
    last = np.zeros_like(norm)
    if stored.constant:
        norm = np.hypot(norm, stored.constant)
        last = stored.constant / norm
    rows *= (1 / norm)[:, :, None]
    g, own = query.directions.numpy(), query.norm.numpy()[:, None]
    g, g_last = g[:, :width], g[:, width:].sum(1)[:, None]
    distance, rounding = near.distance[some], query.rounding
    filled = np.isfinite(distance)
    chord = np.sqrt(2 * distance)
    # As certify.angles.angle, |g + g_j|^2 = 4 - |g - g_j|^2: but that cancels near pi.
    far = np.sqrt(np.maximum(4 - 2 * distance, 0))
    if bool((distance[filled] > 1.5).any()):
        far = np.hypot(np.linalg.norm(rows + g[:, None], axis=2), g_last + last)
    theta = 2 * np.arctan2(chord, far)
    slack = 2 * stored_tilt(width, stored)
    turned = turn(query, query.moved(eps)).numpy()[:, None] + (slack / 2 + rounding)
    # As certify.pairs has it.
    nearer = np.sin(np.maximum(theta - turned, 0) / 2) ** 2
    farther = np.sin(np.minimum(theta + turned, math.pi) / 2) ** 2
    lower = 2 * nearer * (1 - 4 * rounding)
    upper = np.minimum(2 * farther * (1 + 4 * rounding), 2)

    leads = near.leads[some, :lead]
    first = np.take_along_axis(rows, leads[:, :, None], 1)
    s = own * ((rows @ g[:, :, None])[:, :, 0] + g_last * last)
    margin = np.take_along_axis(s, leads, 1)[:, :, None] - s[:, None]
    length = 1 - last * last
    square = np.take_along_axis(length, leads, 1)[:, :, None] + length[:, None]
    square -= 2 * (first @ rows.transpose(0, 2, 1))
    u_k = np.sqrt(np.maximum(square, 0) + max(GRAM, 4 * rounding))
    # The queries come last where certificates take one radius for each.
    xi = torch.tensor(slack, dtype=torch.float64)
    radii = plane_radius(query, _queries_last(margin), _queries_last(u_k), xi)
    end = near.count[some, None] - 1
    gap = np.take_along_axis(theta, end, 1) - np.take_along_axis(theta, leads, 1) - rounding
    ends = least_radius(query, torch.from_numpy(gap.T), slack).numpy().T
    return _Rows(
        lower,
        upper,
        np.where(filled[:, None], np.moveaxis(radii.numpy(), 2, 0), np.inf),
        np.where(near.complete[some, None], np.inf, ends),
    )


def _queries_last(values: Numbers) -> Tensor:
    return torch.from_numpy(np.moveaxis(values, 0, 2))


def _alone(
    query: PixelFeatures, near: TopRows, at: int, lead: int, eps: float, stored: EmbeddingSpec
) -> _Rows:
    """One query, the general case: it or the rows may be without a direction."""
    used, rows_all = int(near.count[at]), near.place.shape[1]
    rows = stored_features(near.h[at, :used], stored.constant, stored.feature_error)
    leading = torch.from_numpy(near.leads[at, :lead])
    radii = torch.full((1, lead, rows_all), torch.inf, dtype=torch.float64)
    lower, upper = torch.zeros(2, 1, rows_all, dtype=torch.float64)
    ends = torch.full((1, lead), torch.inf, dtype=torch.float64)
    these = rows.rows(leading)
    _, lower[0, :used], upper[0, :used] = stays_within(FeaturePairs(query, rows), eps)
    radii[0, :, :used] = rival_radii(query, these, rows)
    if not near.complete[at]:
        # No row beyond the nearest lies at a smaller angle than the last.
        end = rows.rows(torch.tensor([used - 1]))
        upright = bool(end.upright)
        last = float(angle(query.directions, end.directions)) if upright else FLAT_ANGLE
        ends[0] = least_beyond(query, these, last)
        if near.flat[at]:
            ends[0] = torch.minimum(ends[0], flat_radius(query, these))
    return _Rows(lower.numpy(), upper.numpy(), radii.numpy(), ends.numpy())
