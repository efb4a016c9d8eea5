"""What the rows near a query say of the leading ones, for many queries at once.

The numbers are those of :mod:`percert.search.rivals`, which takes one query at a time and is for
rows and queries without a direction as well; here all is ordinary, and a batch is a few products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from percert.certify.distance import distance_of_features
from percert.certify.features import ROUNDING, PixelFeatures
from percert.certify.nearest import least_radius
from percert.certify.turning import angle
from percert.certify.twoafc import plane_radius
from percert.metrics.embedding import SHORTEST
from percert.search.batches import stack, take
from percert.search.neighbours import Neighbours
from percert.search.rivals import (
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

Places = npt.NDArray[np.int64]
#: Values of rows that are held at once.
VALUES = 1 << 21


@dataclass(frozen=True)
class Look:
    """Of one query: ``leading`` ``(k,)``, the first row of each of its nearest images, how far the
    query may move until one of the ``m`` rows is nearer than they, ``radii`` ``(k, m)``, a radius
    that no other row can be below, ``ends`` ``(k,)``, and their distance, lower and upper bound.
    """

    leading: Places
    radii: npt.NDArray[np.float64]
    ends: list[float]
    bounds: tuple[list[float], list[float], list[float]]


def look_at(
    features: Sequence[PixelFeatures],
    near: Sequence[Neighbours],
    k: int,
    eps: float,
    stored: Stored,
) -> list[Look]:
    """A look at the ``k`` leading images of each query, one row of ``features`` each."""
    found: dict[int, Look] = {}
    together = stack(features)
    if len(together) == 1:
        plain = has_direction(together[0])
        at = [i for i in plain.nonzero()[:, 0].tolist() if _is_plain(near[i], stored)]
        step = max(1, VALUES // max([1, *(near[i].h.numel() for i in at)]))
        for start in range(0, len(at), step):
            some = at[start : start + step]
            batch = take(together[0], torch.tensor(some))
            looks = _looks(batch, [near[i] for i in some], k, eps, stored)
            found.update(zip(some, looks, strict=True))
    return [
        found[i] if i in found else _slowly(query, near[i], k, eps, stored)
        for i, query in enumerate(features)
    ]


def pair_radii(query: PixelFeatures, first: PixelFeatures, rival: PixelFeatures) -> Vector:
    """How far each query may move until the rival is as near as the first, ``(p,)``: all three
    have ``p`` rows, and a direction each.
    """
    u = first.directions - rival.directions
    margin = (query.vectors * u).sum(1)
    u_k = (u[:, : query.h.shape[1]].square().sum(1) + GRAM).sqrt()
    return plane_radius(query, margin, u_k, u_k.new_tensor(2 * tilt(rival)))


def leading_rows(near: Neighbours, k: int) -> Places:
    """The first row of each of the ``k`` nearest images."""
    return np.sort(np.unique(near.image, return_index=True)[1])[:k]


def _is_plain(near: Neighbours, stored: Stored) -> bool:
    if not len(near) or near.flat:
        return False
    return stored.constant >= SHORTEST or bool((near.h.norm(dim=1) >= 2 * SHORTEST).all())


def _looks(
    query: PixelFeatures, near: Sequence[Neighbours], k: int, eps: float, stored: Stored
) -> list[Look]:
    """Looks of queries that have a direction, as do all their rows."""
    count, width = query.h.shape
    h = torch.nn.utils.rnn.pad_sequence([one.h for one in near], batch_first=True)
    rows = stored_features(h.flatten(0, 1), stored.constant, stored.feature_error)
    g, xi = rows.directions.view(count, h.shape[1], -1), 2 * tilt(rows)
    leading = [leading_rows(one, k) for one in near]
    most = max(map(len, leading))
    lead = torch.from_numpy(np.stack([np.pad(rows, (0, most - len(rows))) for rows in leading]))
    each = torch.arange(count)[:, None]
    g_lead = g[each, lead]

    # One row a pair where rows are many would be too much: the formula of rivals.rival_radii.
    n, error = query.norm[:, None, None], query.error[:, None, None]
    s = (g @ query.vectors[:, :, None])[:, :, 0]
    margin = s[each, lead][:, :, None] - s[:, None, :]
    a, b = g_lead[:, :, :width], g[:, :, :width]
    square = a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None] - 2 * a @ b.mT
    length = (margin - n * xi).clamp_min(0) / ((square.clamp_min(0) + GRAM).sqrt() + xi)
    radii = ((length - 2 * error) / (1 + query.relative)).clamp_min(0).numpy()

    repeated = take(query, torch.arange(count).repeat_interleave(most))
    flat = (torch.arange(count)[:, None] * h.shape[1] + lead).flatten()
    interval = distance_of_features(repeated, take(rows, flat), eps, perturbed="reference")
    last = torch.tensor([len(one) - 1 for one in near])
    theta_last = angle(query.directions, g[each[:, 0], last])
    theta = angle(repeated.directions, g_lead.flatten(0, 1))
    gap = theta_last.repeat_interleave(most) - theta - ROUNDING
    ends = least_radius(repeated, gap, xi).view(count, most).tolist()
    bounds = [
        one.view(count, most).tolist()
        for one in (interval.distance, interval.lower, interval.upper)
    ]
    return [
        Look(
            of_one,
            radii[i, : len(of_one), : len(near[i])],
            [np.inf] * len(of_one) if near[i].complete else ends[i][: len(of_one)],
            (*(values[i][: len(of_one)] for values in bounds),),
        )
        for i, of_one in enumerate(leading)
    ]


def _slowly(query: PixelFeatures, near: Neighbours, k: int, eps: float, stored: Stored) -> Look:
    """A look that allows for rows, and a query, without a direction."""
    leading = leading_rows(near, k)
    rows = stored_features(near.h, stored.constant, stored.feature_error)
    if not len(near):
        return Look(leading, np.zeros((0, 0)), [], ([], [], []))
    these = take(rows, torch.from_numpy(leading))
    distance, lower, upper = stays_within(query, these, eps)
    ends = torch.full((len(leading),), torch.inf, dtype=torch.float64)
    if not near.complete:
        # No row beyond the nearest lies at a smaller angle than the last.
        last = float(angle(query.directions, take(rows, torch.tensor([len(near) - 1])).directions))
        ends = least_beyond(query, these, last)
        if near.flat:
            ends = torch.minimum(ends, flat_radius(query, these))
    radii = rival_radii(query, these, rows).numpy()
    bounds = distance.tolist(), lower.tolist(), upper.tolist()
    return Look(leading, radii, ends.tolist(), bounds)
