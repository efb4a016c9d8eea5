"""Convolutions by block reflectors (Lai et al., 2025, BRONet), made of matrix products alone.

A periodic convolution acts on each frequency by itself, as a matrix across the channels. With V the
kernel of such a convolution from r channels to c, and V_f its matrix at frequency f,

    W_f = I - 2 V_f (V_f^* V_f + e I)^-1 V_f^*

has eigenvalues between -1 and 1 for every V, so the convolution that has these matrices is
1-Lipschitz, and orthogonal but for the small e (:func:`percert.lipschitz.orthogonal.reflector`).
With L L^* the Cholesky factor of the middle, R_f = sqrt 2 V_f L^-* and F the transform to
frequencies, the layer is

    x - M M^T x + b,    M = F^T R,    |F| <= 1, |R_f|^2 <= 2,

all of it real: a complex matrix is a real one of twice the size. Its norm is at most 1 because the
eigenvalues of M M^T lie between 0 and 2, however F and R are rounded as long as these two hold.
"""

import math

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.effective import UNIT, EffectiveWeights, amplification
from percert.lipschitz.orthogonal import RANK, ROUNDING, ridge


def transform(side: int) -> tuple[Tensor, Tensor]:
    """The two factors of the Fourier transform of ``side`` x ``side`` pixels, orthonormal rows.

    Rows ``(side, 2 (side/2 + 1))`` to the real and imaginary parts of half of the frequencies,
    which are all of a real signal's; then, of these parts together, columns ``(2 side, 2 side)``.

    >>> rows, columns = transform(6)
    >>> bool(torch.allclose(rows @ rows.T, torch.eye(6).double())), rows.shape, columns.shape
    (True, torch.Size([6, 8]), torch.Size([12, 12]))
    """
    place = torch.arange(side, dtype=torch.float64)
    half = side // 2 + 1
    angle = 2 * math.pi / side * torch.outer(place, place[:half])
    # All but the constant and the fastest stand for their conjugate as well.
    weight = torch.full((half,), 2.0, dtype=torch.float64)
    weight[[0] if side % 2 else [0, -1]] = 1
    size = (weight / side).sqrt()
    rows = torch.cat((angle.cos() * size, -angle.sin() * size), 1)
    angle = 2 * math.pi / side * torch.outer(place, place)
    cos, sin = angle.cos() / side**0.5, angle.sin() / side**0.5
    columns = torch.cat((torch.cat((cos, -sin), 1), torch.cat((sin, cos), 1)))
    return rows, columns


class ReflectorConv(nn.Module):
    """A periodic convolution by a block reflector, and a bias: ``(n, c, s, s)`` to the same shape.

    The kernel of V is ``kernel_size`` x ``kernel_size``, that of the layer as large as the image.
    ``side`` is s. With ``mirror`` V holds each of its columns mirrored as well, halves of the
    channels exchanged, so that the layer commutes with mirroring (:mod:`percert.lipschitz.mirror`).
    Raises ``ValueError`` for images of another side, and for settings that do not fit.

    >>> layer = ReflectorConv(8, 6)
    >>> x = torch.rand(2, 8, 6, 6)
    >>> bool(layer(x).norm().isclose(x.norm(), rtol=1e-3))
    True
    """

    def __init__(
        self, channels: int, side: int, *, kernel_size: int = 3, mirror: bool = False
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size > side:
            raise ValueError(
                f"ReflectorConv: expected an odd kernel_size of at most {side}, found {kernel_size}"
            )
        if mirror and channels % 2:
            raise ValueError("ReflectorConv: mirror needs an even number of channels")
        self.side, self.mirror = side, mirror
        rank = max(1, round(RANK * channels) // (2 if mirror else 1))
        scale = (channels * kernel_size**2) ** -0.5
        self.weight = nn.Parameter(scale * torch.randn(rank, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(channels // (2 if mirror else 1)))
        self._effective = EffectiveWeights()

    def effective(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both factors of F, R ``(frequencies, 2 c, 2 r)`` and the bias ``(c,)``: all in use."""
        rows, columns, back, bias = self._effective.get(self, self._compute)
        return rows, columns, back, bias

    def sizes(self) -> tuple[float, ...]:
        """The amplifications of both factors of F and of R, and the length of the bias."""
        return self._effective.sizes(self, self._compute, reflector_sizes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.weight.shape[1] or x.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"ReflectorConv: expected (n, {self.weight.shape[1]}, {self.side}, {self.side}), "
                f"found {tuple(x.shape)}"
            )
        return reflect(x, *self.effective())

    def train(self, mode: bool = True) -> "ReflectorConv":
        self._effective.forget()
        return super().train(mode)

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a block reflector at every frequency")

    def _compute(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dtype = self.weight.dtype
        kernel = self.weight if self.training else self.weight.double()
        if self.mirror:
            there = kernel.flip(3).roll(kernel.shape[1] // 2, 1)
            kernel = torch.cat((kernel, there))
        rows, columns = (shortened(part.to(kernel.device), dtype) for part in transform(self.side))
        found = self._spectrum(kernel)
        gram = found.mT @ found
        lower = torch.linalg.cholesky(gram + ridge(gram))
        back = math.sqrt(2) * torch.linalg.solve_triangular(lower, found.mT, upper=False).mT
        back = back * (1 - ROUNDING)
        if not self.training:
            # What is proven of exact arithmetic, seen to hold of what was computed.
            largest = torch.linalg.eigvalsh(back.mT @ back)[:, -1].max()
            back = back * (2 * (1 - ROUNDING) / largest).clamp_max(1).sqrt()
            back = shortened(back, dtype)
        bias = torch.cat((self.bias, self.bias)) if self.mirror else self.bias.clone()
        return rows, columns, back.to(dtype), bias

    def _spectrum(self, kernel: Tensor) -> Tensor:
        """V at every frequency ``(frequencies, 2 c, 2 r)`` from ``(r, c, k, k)``, as real ones."""
        place = torch.arange(self.side, dtype=kernel.dtype, device=kernel.device)
        tap = torch.arange(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
        tap = 2 * math.pi / self.side * (tap - kernel.shape[-1] // 2)
        across, down = place[: self.side // 2 + 1, None] * tap, place[:, None] * tap
        # Frequencies as transform() leaves them: across first, then down.
        angle = (across[:, None, None, :] + down[None, :, :, None]).flatten(2).flatten(0, 1)
        taps = kernel.flatten(2)
        real = torch.einsum("ft,rct->fcr", angle.cos(), taps)
        imaginary = torch.einsum("ft,rct->fcr", -angle.sin(), taps)
        upper, under = torch.cat((real, -imaginary), 2), torch.cat((imaginary, real), 2)
        return torch.cat((upper, under), 1)


def reflect(x: Tensor, rows: Tensor, columns: Tensor, back: Tensor, bias: Tensor) -> Tensor:
    """``x - F^T R R^T F x + b``: what a :class:`ReflectorConv` computes from what it holds."""
    channels, side, half = x.shape[1], x.shape[2], rows.shape[1] // 2
    across = torch.unflatten(x @ rows, 3, (2, half)).permute(0, 1, 4, 3, 2).flatten(3)
    spectrum = torch.unflatten(across @ columns, 3, (2, side)).permute(2, 4, 0, 3, 1)
    held = spectrum.flatten(3).flatten(0, 1)  # (frequencies, n, 2 c)
    held = (held @ back) @ back.mT
    held = torch.unflatten(torch.unflatten(held, 0, (half, side)), 3, (2, channels))
    across = held.permute(2, 4, 0, 3, 1).flatten(3) @ columns.T
    moved = torch.unflatten(across, 3, (2, side)).permute(0, 1, 4, 3, 2).flatten(3) @ rows.T
    return x - moved + bias[:, None, None]


def reflector_sizes(rows: Tensor, columns: Tensor, back: Tensor, bias: Tensor) -> tuple[float, ...]:
    """What rounding analysis asks of a reflector: three amplifications, and |bias|."""
    size = back.detach().abs().double()
    sums = size.sum(1).amax(1) * size.sum(2).amax(1)
    length = float(bias.detach().double().norm())
    widest = float(sums.max().sqrt()) * (1 + 1e-9)
    return amplification(rows), amplification(columns), widest, length


def shortened(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices ``(..., m, n)`` in ``dtype``, shorter by what rounding can add to a norm."""
    size = weight.detach().abs()
    widest = (size.sum(-1).amax(-1) * size.sum(-2).amax(-1)).sqrt()[..., None, None]
    return (weight * (1 - ROUNDING - UNIT.get(dtype, 0.01) * widest)).to(dtype)
