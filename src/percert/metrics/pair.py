"""What every metric that compares pixel by pixel asks of its two batches."""

import torch

from percert.check import check_images, check_same_shape
from percert.tensors import Images


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
