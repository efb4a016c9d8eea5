"""How far a query may move until one stored image is nearer to it than another.

What is stored does not move. Row j overtakes row 1 at r_j = n <g, g_1 - g_j> / |(g_1 - g_j)_k|,
the distance to the plane between the two (CERTIFICATES, "Nearest of a gallery").
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from percert.certify.distance import distance_of_features
from percert.certify.features import PixelFeatures, pixel_features
from percert.certify.nearest import least_radius
from percert.certify.turning import angle, reach
from percert.certify.twoafc import plane_radius
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.metrics.embedding import SHORTEST
from percert.tensors import Embeddings, Vector

#: Stored embeddings are float32, whatever the metric computes in.
STORED_ROUNDING = 2.0**-24
_FIXED = LipschitzBound(1.0, "not used: what is stored does not move")
#: At this angle, distance 1/2, lies every row that has no direction.
FLAT_ANGLE = math.pi / 3
#: What |g - g'|^2 = 2 - 2 <g, g'> of some thousand values may be off in float64.
GRAM = 1e-12


def stored_features(
    h: Embeddings, constant: float, feature_error: float, content: Content | None = None
) -> PixelFeatures:
    """Rows of a collection, which do not move, as the certificates take them."""
    return pixel_features(
        h,
        _FIXED,
        constant=constant,
        feature_error=feature_error + STORED_ROUNDING,
        content=content,
    )


def row_of(features: PixelFeatures, row: int) -> PixelFeatures:
    """The features of one image of a batch, as a batch of one."""
    return features.rows(slice(row, row + 1))


def has_direction(features: PixelFeatures) -> Tensor:
    """Whether each embedding is long enough to have a direction, ``(n,)``."""
    norm = features.norm
    return norm.isfinite() & (norm * features.bound.value >= SHORTEST)


def rival_radii(query: PixelFeatures, rows: PixelFeatures, rivals: PixelFeatures) -> Tensor:
    """``(p, m)``: how far ``query``, one row, may move until a rival is as near as one of ``rows``.

    ``rows`` ``(p, k)`` and ``rivals`` ``(m, k)`` are stored. 0 where the rival is as near now, and
    where the query has no direction. A stored row without a direction stays at 1/2, so that the
    other has to cross the angle of 60 degrees.
    """
    shape = len(rows.h), len(rivals.h)
    if not bool(has_direction(query)):
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
    upright, rival_upright = has_direction(rows)[:, None], has_direction(rivals)
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
    """The radius ``(p,)`` of ``rows`` against a stored row without a direction."""
    flat = replace(
        rows, h=torch.zeros_like(rows.h[:1]), error=torch.zeros_like(rows.error[:1]), content=None
    )
    return rival_radii(query, rows, flat)[:, 0]


def least_beyond(query: PixelFeatures, rows: PixelFeatures, theta: float) -> Vector:
    """Radii ``(p,)`` of ``rows`` that no rival can be below which has a direction, and lies at an
    angle of ``theta`` or more from the query.
    """
    if not bool(has_direction(query)):
        return torch.zeros(len(rows.h), dtype=torch.float64)
    xi = 2 * tilt(rows)
    gap = theta - angle(query.directions, rows.directions)
    apart = least_radius(query, gap - query.rounding, xi)
    upright = has_direction(rows)
    if bool(upright.all()):
        return apart
    from_flat = torch.full_like(gap, theta - FLAT_ANGLE - xi - query.rounding)
    return torch.where(upright, apart, query.budget(reach(query, from_flat)))


def stays_within(
    query: PixelFeatures, rows: PixelFeatures, eps: float
) -> tuple[Vector, Vector, Vector]:
    """Distance, lower and upper bound ``(m,)`` of stored ``rows`` while the query moves by eps."""
    interval = distance_of_features(query, rows, eps, perturbed="reference")
    upright = has_direction(rows)
    turned = bool(has_direction(query))
    stays = turned and bool(query.moved(eps) < query.norm_h)
    flat = 0.5 if turned else 0.0
    distance = torch.where(upright, interval.distance if turned else 0.5, flat)
    lower = torch.where(upright, interval.lower if turned else 0.0, 0.5 if stays else 0.0)
    upper = torch.where(upright, interval.upper if turned else 2.0, 0.5 if stays or turned else 2.0)
    return distance, lower, upper


def tilt(rows: PixelFeatures) -> float:
    """How far a stored unit vector may be off, a hair above (see :func:`certify.twoafc.stray`)."""
    x = 2 * rows.relative
    # asin(x), and the chord of that angle, are less than x (1 + x^2) while x <= 1/2.
    return x * (1 + x * x) * (1 + 1e-6)
