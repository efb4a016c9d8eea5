"""The least change of an image, inside [0, 1], that reaches a hyperplane."""

import torch
from torch import Tensor

from percert.attacks.steps import BallNorm
from percert.norms import per_sample
from percert.tensors import Images, Vector

#: Newton steps at most. Each ends in another linear piece, and ten or so do for photographs.
NEWTON = 50


def to_hyperplane(images: Images, slope: Tensor, rise: Vector, norm: BallNorm) -> Tensor:
    """The change d of least ``norm`` with <slope, d> = rise and images + d in [0, 1], one a row.

    Where no image of [0, 1] gets there, the change to the corner that comes nearest to it. ``rise``
    (``(n,)``) may be negative. With s the signed slope and room_i how far pixel i can go along it,
    d_i = min(t s_i, room_i) for l2 and min(t, room_i) for linf, and t solves an equation whose left
    side is concave and piecewise linear: Newton's steps from t = 0 stay below the root and end on
    it. (Croce and Hein 2020, arXiv:1907.02044, Eq. 3, solved there by sorting.)

    >>> image, slope = torch.full((1, 3, 1, 1), 0.5), torch.tensor([4.0, 3.0, 0.0])
    >>> to_hyperplane(image, slope.view(1, 3, 1, 1), torch.tensor([2.5]), "l2").flatten()
    tensor([0.4000, 0.3000, 0.0000])
    """
    slope = slope.nan_to_num(0.0, 0.0, 0.0)
    slope = slope * per_sample(torch.where(rise < 0, -1.0, 1.0).to(slope), slope)
    towards = slope.sign()
    room = torch.where(slope > 0, 1 - images, images).clamp_min(0) * (slope != 0)
    # In double: the sum runs over all pixels of an image.
    gain = slope.abs().double()
    scale = gain.flatten(1).amax(1).clamp_min(1e-300)
    gain = gain / per_sample(scale, gain)
    need = rise.abs().double() / scale
    pace = gain if norm == "l2" else (gain > 0).double()
    room = room.double()
    t = torch.zeros_like(need)
    for _ in range(NEWTON):
        wanted = per_sample(t, pace) * pace
        missing = need - (gain * torch.minimum(wanted, room)).flatten(1).sum(1)
        grows = (gain * pace * (wanted < room)).flatten(1).sum(1)
        short = (missing > 1e-12 * need) & (grows > 0)
        if not short.any():
            break
        t = torch.where(short, t + missing / grows.clamp_min(1e-300), t)
    return towards * torch.minimum(per_sample(t, pace) * pace, room).to(images)
