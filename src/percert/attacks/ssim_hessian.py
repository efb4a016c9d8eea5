"""The Hessian of 1 - SSIM at an image, up to its border and past it: products, and the whole."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.ssim import WINDOW, blur
from percert.metrics.ssim_curvature import LARGEST_DENSE, ssim_curvature
from percert.tensors import Images

#: ``"valid"``: windows that fit into the image, as in the metric; ``"reflect"``: one around each
#: pixel, over the image reflected at its border (a linear map P, so the Hessian is P^T H P).
Border: TypeAlias = Literal["reflect", "valid"]


def hessian(images: Images, border: Border) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The Hessian at ``images`` as a function of a change, and its diagonal; both ``(n, c, h, w)``.

    With ``"reflect"`` the diagonal is P^T of the larger image's, which is enough to precondition.
    """
    curvature = ssim_curvature(extended(images.detach(), border))

    def product(change: Tensor) -> Tensor:
        return folded(curvature(extended(change, border)), border)

    return product, folded(curvature.diagonal(), border)


def dense_hessian(channel: Tensor, border: Border) -> Tensor:
    """The Hessian of 1 - SSIM of one channel ``(h, w)`` as a matrix, ``(h w, h w)``.

    2 / N (G^T diag(1/A - 1/B) G + diag(G^T 1/B)), with the matrix G of the windows' averages.
    Raises ``ValueError`` for more than 4096 pixels.

    >>> values = torch.linalg.eigvalsh(dense_hessian(torch.rand(12, 12).double(), "reflect"))
    >>> bool(values.min() > 0)
    True
    """
    height, width = channel.shape
    if height * width > LARGEST_DENSE:
        raise ValueError(
            f"solver 'dense': expected at most {LARGEST_DENSE} pixels, found {height} x {width}; "
            "take 'cg'"
        )
    curvature = ssim_curvature(extended(channel[None, None], border))
    averages = _windows(height, width, border, channel.dtype, channel.device)
    whole = averages.mT @ (curvature.windows[0].view(-1, 1) * averages)
    return whole + folded(curvature.local, border).flatten().diag()


def extended(images: Tensor, border: Border) -> Tensor:
    """The image, reflected past its border by half a window where ``border`` says so."""
    return F.pad(images, (WINDOW // 2,) * 4, mode="reflect") if border == "reflect" else images


def folded(images: Tensor, border: Border) -> Tensor:
    """The transpose of :func:`extended`: what lies past the border is added inside."""
    if border == "valid":
        return images
    half = WINDOW // 2
    with torch.enable_grad():
        start = torch.zeros_like(images[..., half:-half, half:-half]).requires_grad_(True)
        (back,) = torch.autograd.grad(extended(start, border), start, images)
    return back


@lru_cache(maxsize=2)
def _windows(
    height: int, width: int, border: Border, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The matrix G P, ``(windows, h w)``: each window's average, of each pixel alone."""
    pixels = torch.eye(height * width, dtype=dtype, device=device).view(-1, 1, height, width)
    return blur(extended(pixels, border)).flatten(1).mT.contiguous()
