"""Gradient magnitude similarity deviation (GMSD): already a distance."""

from torch import Tensor, nn

from percert.color.ciede2000 import safe_sqrt
from percert.metrics.pair import check_pair
from percert.metrics.similarity import PREWITT, dissimilarity, gradient_magnitude, halve, luma
from percert.tensors import Images, Vector

#: c of the paper, for pixels in [0, 1].
CONSTANT = 170 / 255**2
#: At half the size, one 3 x 3 gradient must fit.
SMALLEST_SIDE = 6


def gmsd(reference: Images, candidate: Images) -> Vector:
    """The standard deviation over pixels of how alike the gradients' lengths are, shape ``(n,)``.

    Both batches have shape ``(n, 3, h, w)``, in [0, 1], sides of at least 6 pixels. On luma at half
    the size, with Prewitt gradients. In [0, 1/2], 0 for equal images, and for such whose gradients
    differ everywhere alike. Raises ``ValueError`` where the shapes differ or a side is too short
    (Xue, Zhang, Mou and Bovik 2014, equations 4 to 6).

    >>> import torch
    >>> gmsd(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    tensor([0.])
    """
    reference, candidate = check_pair(
        reference, candidate, smallest_side=SMALLEST_SIDE, name="gmsd"
    )
    old, new = (gradient_magnitude(halve(luma(x)), PREWITT) for x in (reference, candidate))
    missing = dissimilarity(old, new, CONSTANT).flatten(1)
    return safe_sqrt((missing - missing.mean(1, keepdim=True)).square().mean(1))


class GMSD(nn.Module):
    """GMSD, 0 at identity, at most 1/2. Its gradient is 0 at identity. See :func:`gmsd`."""

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return gmsd(reference, candidate)
