"""What proves an SLL layer: t against |K K^T| for the scale that forward uses, in float64.

With S the scale (2/t), the Jacobian is I - K^T S D K, where D is the slope of every ReLU, between 0
and 1. K^T S D K lies between 0 and K^T S K, so the norm over all activation patterns is exactly
max(1, lambda - 1), lambda the largest eigenvalue of S^1/2 K K^T S^1/2: no pattern is missed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.lipschitz.operator_bounds import convolution_norm, dense_norm
from percert.lipschitz.sll import SLLConv, SLLDense


def sll_upper(
    layer: SLLDense | SLLConv, exact: SLLDense | SLLConv, shape: tuple[int, ...]
) -> tuple[float, str]:
    """The upper bound over all activation patterns, and what it rests on.

    ``layer`` as it is used, ``exact`` its copy in float64; ``shape`` of one input, without batch.
    The bound is infinite where a scale is above 2/t of Eq. 12.
    """
    kernel = exact.weight.detach()
    q = exact.log_q.detach().exp()
    if isinstance(exact, SLLDense):
        gram = (kernel @ kernel.T).abs()
    else:
        reach = kernel.shape[-1] - 1
        gram = F.conv2d(kernel, kernel, padding=reach).abs().sum((2, 3))
    t = gram @ q / q
    excess, largest = 0.0, torch.zeros_like(t)
    for used in (layer, exact):
        scale = used.scale().detach().double()
        # Rows of zeros have t = 0 and do nothing, whatever their scale.
        product = torch.where(t > 0, scale * t / 2, 0.0)
        excess = max(excess, float(product.max()))
        if not bool(torch.isfinite(product).all() & (scale >= 0).all()):
            return float("inf"), "the scale 2/t is not a finite number of at least 0"
        if isinstance(used, SLLConv) and not _carries(used, scale):
            return float("inf"), "the transposed convolution does not carry the scale 2/t"
        largest = torch.maximum(largest, scale)
    note = f"scale * t / 2 <= {excess:.7f}, t of |K K^T|"
    if excess > 1 + 1e-6:
        return float("inf"), f"{note}: above 1"
    # Monotone in the scale: the larger of the two covers both.
    return max(1.0, _norm(kernel, largest, shape) - 1), note


def _norm(kernel: Tensor, scale: Tensor, shape: tuple[int, ...]) -> float:
    """lambda: the squared norm of S^1/2 K."""
    root = scale.clamp_max(1e300).sqrt()
    if kernel.ndim == 2:
        return dense_norm(kernel * root[:, None]) ** 2
    return convolution_norm(kernel * root[:, None, None, None], (shape[1], shape[2])) ** 2


def _carries(layer: SLLConv, scale: Tensor) -> bool:
    """Whether the second kernel of forward is -K^T S, up to rounding."""
    expected = -(layer.weight.double() * scale[:, None, None, None]).flip(2, 3).transpose(0, 1)
    return bool(torch.allclose(layer.back().double(), expected, rtol=1e-5, atol=1e-9))
