"""Brightness, contrast, saturation, colour cast and gamma, as paths of images.

The first four are linear in their parameter before they are clipped: y(t) = clip(o + t d). Between
two values the clipped path leaves the straight line from y(a) to y(b) by at most E D / (E + D),
pixel by pixel: E the most by which an end passes the edge of [0, 1], D the most by which one stays
within it.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.tensors import Features, Images

#: The weights of luma (ITU-R 601), as image editors and pillow have them.
LUMA = (0.299, 0.587, 0.114)


def clip_gap(ends: Features) -> Tensor:
    """How far the clipped mean of ``ends`` ``(k, ...)`` can be from the mean of the clipped ends.

    For every weighting, the same in both means; pixel by pixel, ``(...)``.

    >>> clip_gap(torch.tensor([[0.5, 0.2, 1.5], [1.5, 0.9, 2.0]]))
    tensor([0.2500, 0.0000, 0.0000], dtype=torch.float64)
    """
    ends = ends.double()
    high, low = ends.amax(0), ends.amin(0)
    over, under = (high - 1).clamp_min(0), (1 - low).clamp_min(0)
    above, below = high.clamp_min(0), (-low).clamp_min(0)
    return torch.maximum(_harmonic(over, under), _harmonic(below, above))


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return a * b / (a + b).clamp_min(1e-300)


@dataclass(frozen=True)
class LinearColour:
    """The path clip(``origin`` + t ``direction``), each ``(3, h, w)``, float64."""

    origin: Tensor
    direction: Tensor
    seen: NetworkInput

    def image(self, t: float) -> Tensor:
        """The edited image, ``(3, h, w)``."""
        return self.raw(t).clamp(0, 1)

    def raw(self, t: float) -> Tensor:
        """The same before it is clipped."""
        return self.origin + t * self.direction

    def inputs(self, values: list[float]) -> Features:
        """What the network sees of the image at each of ``values``."""
        return self.seen.resized(torch.stack([self.image(t) for t in values]))

    def remainder(self, a: float, b: float) -> float:
        """How far the network's input leaves the straight line between those at a and b."""
        gap = clip_gap(torch.stack([self.raw(a), self.raw(b)]))
        return float(self.seen.covered(gap[None])) if bool(gap.any()) else 0.0


@dataclass(frozen=True)
class Gamma:
    """The path x^t of ``base`` ``(3, h, w)``, float64.

    It is convex in t, with second derivative ln(x)^2 x^t, which falls with t: from the line it
    leaves by at most (b - a)^2 / 8 times that at the smaller end.
    """

    base: Tensor
    seen: NetworkInput

    @cached_property
    def _squares(self) -> Tensor:
        return torch.where(self.base > 0, self.base.clamp_min(1e-300).log().square(), 0.0)

    def image(self, t: float) -> Tensor:
        """The edited image, ``(3, h, w)``; 0 stays 0 for every t."""
        return torch.where(self.base > 0, self.base.clamp_min(1e-300).pow(t), 0.0)

    def inputs(self, values: list[float]) -> Features:
        """What the network sees of the image at each of ``values``."""
        return self.seen.resized(torch.stack([self.image(t) for t in values]))

    def remainder(self, a: float, b: float) -> float:
        """How far the network's input leaves the straight line between those at a and b."""
        gap = (b - a) ** 2 / 8 * self._squares * self.image(min(a, b))
        return float(self.seen.covered(gap[None]))


def brightness(image: Tensor, seen: NetworkInput) -> LinearColour:
    """Every value times t."""
    return LinearColour(torch.zeros_like(image), image, seen)


def contrast(image: Tensor, seen: NetworkInput) -> LinearColour:
    """m + t (x - m), with m the mean luma of the image as given."""
    grey = _luma(image).mean()
    return LinearColour(torch.full_like(image, float(grey)), image - grey, seen)


def saturation(image: Tensor, seen: NetworkInput) -> LinearColour:
    """l + t (x - l), with l each pixel's luma: 0 is grey."""
    grey = _luma(image).expand_as(image)
    return LinearColour(grey, image - grey, seen)


def warmth(image: Tensor, seen: NetworkInput) -> LinearColour:
    """A colour cast: red times 1 + t, blue times 1 - t."""
    channels = image.new_tensor([1.0, 0.0, -1.0]).view(3, 1, 1)
    return LinearColour(image, channels * image, seen)


def gamma(image: Tensor, seen: NetworkInput) -> Gamma:
    """Every value to the power of t."""
    return Gamma(image, seen)


def _luma(image: Images) -> Tensor:
    weights = image.new_tensor(LUMA).view(3, 1, 1)
    return (weights * image).sum(0, keepdim=True)
