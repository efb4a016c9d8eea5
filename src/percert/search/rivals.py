"""How far a query may move until one stored image is nearer to it than another.

What is stored does not move. Row j overtakes row 1 at r_j = n <g, g_1 - g_j> / |(g_1 - g_j)_k|,
the distance to the plane between the two (CERTIFICATES, "Nearest of a gallery").
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from percert.certify.distance import distance_of_features
from percert.certify.features import ROUNDING, PixelFeatures, pixel_features
from percert.certify.nearest import least_radius
from percert.certify.turning import angle, reach
from percert.certify.twoafc import plane_radius
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.embedding import SHORTEST
from percert.tensors import Embeddings, Vector

#: Stored embeddings are float32, whatever the metric computes in.
STORED_ROUNDING = 2.0**-24
_FIXED = LipschitzBound(1.0, "not used: what is stored does not move")
#: At this angle, distance 1/2, lies every row that has no direction.
FLAT_ANGLE = math.pi / 3
#: What |g - g'|^2 = 2 - 2 <g, g'> of some thousand values may be off in float64.
_GRAM = 1e-12


def stored_features(h: Embeddings, constant: float, feature_error: float) -> PixelFeatures:
    """Rows of a collection, which do not move, as the certificates take them."""
    return pixel_features(
        h, _FIXED, constant=constant, feature_error=feature_error + STORED_ROUNDING
    )


def row_of(features: PixelFeatures, row: int) -> PixelFeatures:
    """The features of one image of a batch, as a batch of one."""
    return replace(features, h=features.h[row : row + 1], error=features.error[row : row + 1])


def has_direction(features: PixelFeatures) -> Tensor:
    """Whether each embedding is long enough to have a direction, ``(n,)``."""
    return features.valid & (features.norm * features.bound.value >= SHORTEST)


def rival_radii(query: PixelFeatures, rows: PixelFeatures, rivals: PixelFeatures) -> Tensor:
    """``(p, m)``: how far ``query`` (one row) may move until each of ``rivals`` is as near as a row.

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
    u_k = (square.clamp_min(0) + _GRAM).sqrt()
    between = plane_radius(query, margin.flatten(), u_k.flatten(), xi).view(shape)
    upright, rival_upright = has_direction(rows)[:, None], has_direction(rivals)
    if bool(upright.all()) and bool(rival_upright.all()):
        return between
    slack = xi + ROUNDING
    nearer = query.budget(reach(query, FLAT_ANGLE - angle(query.directions, g) - slack))
    farther = query.budget(reach(query, angle(query.directions, others) - FLAT_ANGLE - slack))
    against_flat = torch.where(upright, nearer[:, None], 0.0)
    return torch.where(
        rival_upright, torch.where(upright, between, farther.expand(shape)), against_flat
    )


def flat_radius(query: PixelFeatures, row: PixelFeatures) -> float:
    """The radius of ``row`` against a stored row without a direction."""
    flat = replace(row, h=torch.zeros_like(row.h), error=torch.zeros_like(row.error))
    return float(rival_radii(query, row, flat)[0, 0])


def least_beyond(query: PixelFeatures, row: PixelFeatures, theta: float) -> float:
    """A radius that no rival of ``row`` can be below that has a direction, at ``theta`` or more."""
    if not bool(has_direction(query)):
        return 0.0
    xi = 2 * tilt(row)
    if not bool(has_direction(row)):
        gap = torch.tensor([theta - FLAT_ANGLE - xi - ROUNDING], dtype=torch.float64)
        return float(query.budget(reach(query, gap)))
    return float(least_radius(query, theta - float(angle(query.directions, row.directions)), xi))


def angle_that_clears(query: PixelFeatures, row: PixelFeatures, radius: float) -> float:
    """From which angle on every rival's radius is above ``radius``; infinite if from none.

    By bisection on :func:`least_beyond`, which rises with the angle.
    """
    low, high = 0.0, math.pi
    if least_beyond(query, row, high) <= radius:
        return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        if least_beyond(query, row, middle) > radius:
            high = middle
        else:
            low = middle
    return high


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
    return 2 * rows.relative * (1 + 1e-6)
