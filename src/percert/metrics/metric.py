"""What a metric is, and what it asks of the two batches that it compares."""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from percert.check import check_images, check_same_shape
from percert.tensors import Images, Vector


class Metric(nn.Module):
    """A perceptual distance: ``metric(reference, candidate) -> (n,)``, one number per image pair.

    0 at identity, lower is closer. Both are float ``(n, 3, h, w)``, sRGB in [0, 1]; an 8-bit image
    is divided by 255 first. Differentiable in both arguments where its card says so; it never
    changes the caller's gradient mode. As any module it is moved by ``.to(device)`` and
    ``.double()``. One of your own is a subclass with a ``forward``; where an attack asks for a
    :class:`Distance`, a function will do.

    >>> class MeanDifference(Metric):
    ...     def forward(self, reference, candidate):
    ...         return (reference - candidate).abs().mean((1, 2, 3))
    >>> MeanDifference()(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    tensor([1., 1.])
    """

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, reference: Tensor, candidate: Tensor, /) -> Tensor: ...


class Distance(Protocol):
    """Anything that is called as a metric is: two batches of images, ``(n,)`` numbers."""

    def __call__(self, reference: Images, candidate: Images, /) -> Vector: ...


def check_pair(
    reference: Images, candidate: Images, *, smallest_side: int = 1, name: str = "image"
) -> tuple[Images, Images]:
    """Both batches in one precision, float32 or better, after checking that they can be compared.

    Raises ``ValueError`` unless both are images of one shape whose sides have at least
    ``smallest_side`` pixels; ``name`` is the metric, for the message.

    >>> check_pair(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
    Traceback (most recent call last):
    ValueError: candidate: expected the reference's shape (1, 3, 8, 8), found (1, 3, 8, 9)
    """
    check_same_shape(check_images(reference, "reference"), check_images(candidate, "candidate"))
    height, width = reference.shape[2:]
    if min(height, width) < smallest_side:
        raise ValueError(
            f"{name}: expected images of at least {smallest_side} x {smallest_side} pixels, "
            f"found {height} x {width}"
        )
    dtype = torch.promote_types(
        torch.promote_types(reference.dtype, candidate.dtype), torch.float32
    )
    return reference.to(dtype), candidate.to(dtype)
