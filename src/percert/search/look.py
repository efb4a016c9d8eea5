"""What the rows near each query say of its leading images: how far they stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.nearest import least_radius
from percert.certify.turning import angle, cosine_distance, turn
from percert.certify.twoafc import plane_radius
from percert.search.batches import stack, take
from percert.search.neighbours import Neighbours
from percert.search.rivals import (
    FLAT_ANGLE,
    GRAM,
    flat_radius,
    has_direction,
    least_beyond,
    rival_radii,
    stays_within,
    stored_features,
    tilt,
)
from percert.search.stored import Stored
from percert.tensors import Vector

#: Values of rows that are held at once in float64, so that they stay in cache.
VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class Look:
    """Of q queries, m rows and i images near each, the nearest first.

    ``lower`` and ``upper`` ``(q, m)`` bound the distance of each row. ``rivals`` ``(q, i)`` says
    how far the query may move until each image is as near as the first, which itself has infinity,
    ``ends`` ``(q,)`` what no row that is not near can be below. ``stays`` ``(q, k)``: how far each
    of the leading images stays among the first k.
    """

    lower: Tensor
    upper: Tensor
    rivals: Tensor
    ends: Vector
    stays: Tensor


@dataclass(frozen=True, eq=False)
class _Rows:
    """As in :class:`Look`, but how far until each row ``(q, k, m)`` is as near as each leading one,
    and what no other row can be below, for each of these ``(q, k)``.
    """

    lower: Tensor
    upper: Tensor
    radii: Tensor
    ends: Tensor


def look_at(
    features: Sequence[PixelFeatures], near: Neighbours, k: int, eps: float, stored: Stored
) -> Look:
    """A look at the ``k`` leading images of each query, one row of ``features`` each."""
    together = stack(features)
    lead = min(k, near.leads.shape[1])
    # All at once where there is nothing without a direction; such follow other rules.
    plain = len(together) == 1 and near.directed and bool(has_direction(together[0]).all())
    step = max(1, VALUES // near.h[0].numel()) if plain else 1
    looks = []
    for start in range(0, len(near), step):
        some = torch.arange(start, min(start + step, len(near)))
        if plain:
            rows = _together(take(together[0], some), near, some, lead, eps, stored)
        else:
            rows = _alone(features[start], near, start, lead, eps, stored)
        looks.append(_of_images(rows, near, some, k))
    return Look(*(torch.cat([getattr(one, f.name) for one in looks]) for f in fields(Look)))


def pair_radii(query: PixelFeatures, first: PixelFeatures, rival: PixelFeatures) -> Vector:
    """How far each query may move until the rival is as near as the first, ``(p,)``: all three
    have ``p`` rows, and a direction each.
    """
    u = first.directions - rival.directions
    margin = (query.vectors * u).sum(1)
    u_k = (u[:, : query.h.shape[1]].square().sum(1) + max(GRAM, 4 * query.rounding)).sqrt()
    return plane_radius(query, margin, u_k, u_k.new_tensor(2 * tilt(rival)))


def _of_images(rows: _Rows, near: Neighbours, index: Tensor, k: int) -> Look:
    """The least radius of each image's rows, and how many of them allow each leading one to stay
    among the first k.
    """
    count, lead, _ = rows.radii.shape
    rank = torch.from_numpy(near.rank)[index][:, None].expand(rows.radii.shape)
    images = rows.radii.new_full((count, lead, near.leads.shape[1] + 1), torch.inf)
    images = images.scatter_reduce(2, rank, rows.radii, "amin")[:, :, :-1]
    behind = torch.arange(images.shape[2]) > torch.arange(lead)[:, None]
    images = torch.where(behind, images, torch.inf)
    # The leading image r may be overtaken by k - r - 1 others.
    short = images.new_full((count, lead, k), torch.inf)
    least = torch.cat([images, short], 2).topk(k, dim=2, largest=False).values
    allowed = (k - 1 - torch.arange(lead))[None, :, None].expand(count, lead, 1)
    stays = torch.minimum(least.gather(2, allowed)[:, :, 0], rows.ends)
    return Look(rows.lower, rows.upper, images[:, 0], rows.ends[:, 0], stays)


def _together(
    query: PixelFeatures, near: Neighbours, index: Tensor, lead: int, eps: float, stored: Stored
) -> _Rows:
    """Of queries that have a direction, as do all rows: the formula of ``rivals.rival_radii``."""
    width = query.h.shape[1]
    rows = near.h[index].double()
    norm: Tensor = rows.norm(dim=2)
    last = torch.zeros_like(norm)
    if stored.constant:
        norm = torch.hypot(norm, torch.full_like(norm, stored.constant))
        last = stored.constant / norm
    rows *= (1 / norm)[:, :, None]
    g, g_last = query.directions[:, :width], query.vectors[:, width:].sum(1) / query.norm
    distance = torch.from_numpy(near.distance)[index]
    filled = distance.isfinite()
    # As certify.turning.angle, |g + g_j|^2 = 4 - |g - g_j|^2: but that cancels near pi.
    far = (4 - 2 * distance).clamp_min(0).sqrt()
    if bool((distance[filled] > 1.5).any()):
        far = torch.hypot((rows + g[:, None]).norm(dim=2), g_last[:, None] + last)
    theta = 2 * torch.atan2((2 * distance).sqrt(), far)
    slack = 2 * tilt(stored_features(near.h[0, :1], stored.constant, stored.feature_error))
    turned = (turn(query, query.moved(eps)) + slack / 2 + query.rounding)[:, None]
    # As certify.distance has it.
    lower = cosine_distance((theta - turned).clamp_min(0)) * (1 - 4 * query.rounding)
    upper = cosine_distance((theta + turned).clamp_max(torch.pi)) * (1 + 4 * query.rounding)
    upper = upper.clamp_max(2)

    leads = torch.from_numpy(near.leads)[index, :lead]
    first = rows.gather(1, leads[:, :, None].expand(-1, -1, width))
    s = query.norm[:, None] * ((rows @ g[:, :, None])[:, :, 0] + g_last[:, None] * last)
    margin = s.gather(1, leads)[:, :, None] - s[:, None]
    length = 1 - last.square()
    square = length.gather(1, leads)[:, :, None] + length[:, None] - 2 * first @ rows.mT
    u_k = (square.clamp_min(0) + max(GRAM, 4 * query.rounding)).sqrt()
    # The queries come last where certificates take one radius for each.
    xi = u_k.new_tensor(slack)
    radii = plane_radius(query, margin.movedim(0, 2), u_k.movedim(0, 2), xi).movedim(2, 0)
    end = torch.from_numpy(near.count)[index] - 1
    gap = theta.gather(1, end[:, None]) - theta.gather(1, leads) - query.rounding
    ends = least_radius(query, gap.T, slack).T
    complete = torch.from_numpy(near.complete)[index]
    return _Rows(
        lower,
        upper,
        torch.where(filled[:, None], radii, torch.inf),
        torch.where(complete[:, None], torch.inf, ends),
    )


def _alone(
    query: PixelFeatures, near: Neighbours, at: int, lead: int, eps: float, stored: Stored
) -> _Rows:
    """Of one query, allowing for rows, and a query, without a direction."""
    used, rows_all = int(near.count[at]), near.place.shape[1]
    rows = stored_features(near.h[at, :used], stored.constant, stored.feature_error)
    leading = torch.from_numpy(near.leads[at, :lead])
    radii = torch.full((1, lead, rows_all), torch.inf, dtype=torch.float64)
    lower, upper = torch.zeros(2, 1, rows_all, dtype=torch.float64)
    ends = torch.full((1, lead), torch.inf, dtype=torch.float64)
    these = take(rows, leading)
    _, lower[0, :used], upper[0, :used] = stays_within(query, rows, eps)
    radii[0, :, :used] = rival_radii(query, these, rows)
    if not near.complete[at]:
        # No row beyond the nearest lies at a smaller angle than the last.
        end = take(rows, torch.tensor([used - 1]))
        upright = bool(has_direction(end))
        last = float(angle(query.directions, end.directions)) if upright else FLAT_ANGLE
        ends[0] = least_beyond(query, these, last)
        if near.flat[at]:
            ends[0] = torch.minimum(ends[0], flat_radius(query, these))
    return _Rows(lower, upper, radii, ends)
