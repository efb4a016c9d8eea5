"""Folding 2 x 2 pixels into channels by their Haar transform, averages first."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound

#: Rows: the average, then the horizontal, vertical and diagonal difference of a 2 x 2 window
#: (0 0, 0 1, 1 0, 1 1). Orthonormal.
HAAR = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


class MirrorHaar(nn.Module):
    """Space to depth by 2 in the orthonormal Haar basis: ``(n, c, 2h, 2w) -> (n, 4c, h, w)``.

    A permutation and a rotation: every norm is kept. In each half of the channels the averages come
    first, so an :class:`~percert.lipschitz.orthogonal.OrthogonalMix` near the identity that drops
    the last channels starts as norm-1 pooling: natural images have most of their energy there. The
    second half sees its pixels mirrored (:mod:`percert.lipschitz.mirror`).

    >>> x = torch.rand(1, 4, 6, 8)
    >>> bool(MirrorHaar()(x).norm().isclose(x.norm()))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return torch.cat((_haar(first), _haar(second.flip(-1)).flip(-1)), 1)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a permutation and a rotation")


def _haar(x: Tensor) -> Tensor:
    """``(n, c, 2h, 2w) -> (n, 4c, h, w)``: all averages, then each kind of difference."""
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise ValueError(
            f"MirrorHaar: expected an even height and width, found {tuple(x.shape[2:])}"
        )
    basis = torch.tensor(HAAR, dtype=x.dtype, device=x.device) / 2
    pixels = torch.unflatten(F.pixel_unshuffle(x, 2), 1, (-1, 4))
    return torch.einsum("ncphw,qp->nqchw", pixels, basis).flatten(1, 2)
