"""Convolutions of few channels in float64, for which CPUs have no kernel of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor


def same_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d`` with stride 1 and the zero padding that keeps the size, for odd kernels.

    In float64 torch lays the neighbourhood of every pixel out in memory, k x k times all input
    channels. Where there are fewer outputs it is the products that are laid out and added up
    instead: a matrix product in both cases, of the smaller kind. The same sums in another order.

    >>> x, weight = torch.rand(2, 8, 5, 6).double(), torch.rand(2, 8, 3, 3).double()
    >>> bool(torch.allclose(same_convolution(x, weight), F.conv2d(x, weight, padding=1)))
    True
    """
    outputs, inputs, height, width = weight.shape
    padding = (height // 2, width // 2)
    plain = x.dtype != torch.float64 or x.device.type != "cpu" or torch.compiler.is_compiling()
    if plain or x.shape[0] == 0:
        return F.conv2d(x, weight, bias, padding=padding)
    if inputs <= outputs:
        patches = F.unfold(x, (height, width), padding=padding)
        result: Tensor = torch.unflatten(weight.flatten(1) @ patches, 2, x.shape[2:])
    else:
        # Adding patches up again is the transpose of laying them out: the kernel is flipped.
        taps = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, inputs)
        result = F.fold(taps @ x.flatten(2), x.shape[2:], (height, width), padding=padding)
    return result if bias is None else result + bias[:, None, None]
