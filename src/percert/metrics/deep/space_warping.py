"""LPIPS that forgives small shifts: each position is compared with the most alike near it."""

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.deep.backbones import BackboneName
from percert.metrics.deep.lpips import LPIPS
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Features, Images, Vector


class SpaceWarping(Metric):
    """Space-warping difference of LPIPS's features: 0 at identity (Gu and others, ECCV 2020).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape and gives ``(n,)``. Features at
    each position of the candidate are compared with those of the reference that are the most alike
    among the positions up to ``reach`` away, down and across, so that textures which are only
    displaced hardly count. Not symmetric: it is the reference in which is searched.

    The authors' network, trained for this, is not in it: trunk and heads are those of
    :class:`~percert.metrics.LPIPS`, whose ``net``, ``checkpoint`` and ``shift_tolerant`` (by
    default anti-aliased, as theirs is) it takes.

    >>> metric = SpaceWarping(checkpoint="random")
    >>> image = torch.rand(1, 3, 32, 32)
    >>> metric(image, image)
    tensor([0.])
    """

    def __init__(
        self,
        net: BackboneName = "alex",
        checkpoint: str | Path | None = None,
        *,
        shift_tolerant: bool = True,
        reach: int = 1,
    ) -> None:
        super().__init__()
        if reach < 0:
            raise ValueError(f"swd: reach: expected at least 0, found {reach}")
        self.name, self.reach = "swd", reach
        self.lpips = LPIPS(net, checkpoint, shift_tolerant=shift_tolerant)
        self.smallest_side = self.lpips.smallest_side
        self.eval().requires_grad_(False)

    def forward(self, reference: Images, candidate: Images) -> Vector:
        reference, candidate = check_pair(
            reference, candidate, smallest_side=self.smallest_side, name=self.name
        )
        both = zip(self.lpips.features(reference), self.lpips.features(candidate), strict=True)
        found = [
            _least(wanted, seen, head, self.reach).mean((1, 2))
            for (wanted, seen), head in zip(both, self.lpips.heads, strict=True)
        ]
        return torch.stack(found).sum(0)


def _least(wanted: Features, found: Features, head: Tensor, reach: int) -> Tensor:
    """By position ``(n, h, w)``: the weighted difference from the most alike position near it."""
    height, width = found.shape[2:]
    around = F.pad(wanted, [reach] * 4, mode="replicate")
    nearest, weighted = None, None
    for down, right in itertools.product(range(2 * reach + 1), repeat=2):
        squares = (around[..., down : down + height, right : right + width] - found) ** 2
        length, value = squares.sum(1), (squares * head).sum(1)
        if nearest is None or weighted is None:
            nearest, weighted = length, value
            continue
        closer = length < nearest
        nearest = torch.where(closer, length, nearest)
        weighted = torch.where(closer, value, weighted)
    assert weighted is not None  # reach is at least 0
    return weighted
