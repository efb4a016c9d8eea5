"""CIEDE2000 as a distance of images: the colour difference of the average pixel."""

from torch import Tensor, nn

from percert.color import ciede2000, srgb_to_lab
from percert.metrics.pair import check_pair
from percert.tensors import Images, Vector


def ciede2000_distance(reference: Images, candidate: Images) -> Vector:
    """The mean over all pixels of CIEDE2000, shape ``(n,)``: about 1 is just seen on flat patches.

    Both batches have shape ``(n, 3, h, w)``, sRGB in [0, 1]. Pixel by pixel, without any blur for
    the eye. Raises ``ValueError`` where the shapes differ (Sharma, Wu and Dalal 2005).

    >>> import torch
    >>> ciede2000_distance(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).round()
    tensor([100.])
    """
    reference, candidate = check_pair(reference, candidate)
    difference = ciede2000(srgb_to_lab(reference), srgb_to_lab(candidate))
    return difference.flatten(1).mean(1)


class CIEDE2000(nn.Module):
    """The mean CIEDE2000 over pixels: 0 at identity, 100 between black and white.

    Steepest at identity, where it has a kink as |d| has: its gradient is 0 there, finite elsewhere.
    See :func:`ciede2000_distance`.
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return ciede2000_distance(reference, candidate)
