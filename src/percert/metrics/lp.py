"""Plain lengths of the difference: l1, l2 and linf."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

from percert.check import check_choice
from percert.color.ciede2000 import safe_sqrt
from percert.metrics.pair import check_pair
from percert.tensors import Images, Vector

Norm: TypeAlias = Literal["l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")


def lp_distance(reference: Images, candidate: Images, norm: Norm) -> Vector:
    """The length of ``candidate - reference`` over all pixels and channels, shape ``(n,)``.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1]: l1 is a sum, not a mean, so l1 and l2 grow
    with the image's size. Where equal pixels make a kink its gradient is 0; that of linf is shared
    by all the pixels that are furthest. Raises ``ValueError`` where the shapes differ.

    >>> import torch
    >>> black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    >>> [round(lp_distance(black, grey, norm).item(), 4) for norm in ("l1", "l2", "linf")]
    [6.0, 1.7321, 0.5]
    """
    check_choice(norm, NORMS, "norm")
    reference, candidate = check_pair(reference, candidate)
    difference = (candidate - reference).flatten(1)
    if norm == "l1":
        return difference.abs().sum(1)
    if norm == "l2":
        return safe_sqrt(difference.square().sum(1))
    return difference.abs().amax(1)


class Lp(nn.Module):
    """:func:`lp_distance` with one norm."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm: Norm = norm

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return lp_distance(reference, candidate, self.norm)
