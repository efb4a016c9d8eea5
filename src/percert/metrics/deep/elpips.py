"""E-LPIPS: LPIPS averaged over random transformations that both images undergo alike."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from percert.metrics.deep.backbones import BackboneName
from percert.metrics.deep.lpips import LPIPS
from percert.metrics.metric import Metric, check_pair
from percert.tensors import Images, Vector

#: Images move by up to so many pixels, and are shrunk up to so many times, while this is left.
OFFSET, SHRINKINGS, LEAST_SIDE = 7, 8, 64
#: Colours are multiplied by a factor between this and 1.
DARKEST = 0.2


@dataclass(frozen=True)
class RandomView:
    """One random transformation; ``level`` and ``phase`` in [0, 1) fix the shrinking of any size.

    ``offset`` are the pixels that the image moves by, ``colours`` are the channels' factors, in the
    order ``channels``.
    """

    level: float
    phase: tuple[float, float]
    offset: tuple[int, int]
    flip: tuple[bool, bool]
    transpose: bool
    channels: tuple[int, ...]
    colours: tuple[float, ...]

    def __call__(self, images: Images) -> Images:
        """The images as they are seen: of another size, and where transposed of another shape."""
        times = self.times(min(images.shape[2:]))
        if times > 1:
            images = _shrunk(images, times, self.phase)
        down, right = self.offset
        images = F.pad(images, (OFFSET - right, right, OFFSET - down, down), mode="reflect")
        images = images.flip([axis for axis in (2, 3) if self.flip[axis - 2]])
        if self.transpose:
            images = images.transpose(2, 3)
        factors = images.new_tensor(self.colours).view(1, 3, 1, 1)
        return images[:, list(self.channels)] * factors

    def times(self, side: int) -> int:
        """How many times images of the shorter ``side`` are shrunk; k is 1 / k^2 as likely as 1."""
        most = max(1, min(SHRINKINGS, side // LEAST_SIDE))
        weights = [1 / k**2 for k in range(1, most + 1)]
        reached = itertools.accumulate(weight / sum(weights) for weight in weights)
        return next((k for k, share in enumerate(reached, 1) if self.level < share), most)


def _shrunk(images: Images, times: int, phase: tuple[float, float]) -> Images:
    """Means of ``times`` x ``times`` pixels, the first block starting before the image."""
    (height, width), (down, right) = images.shape[2:], phase
    top, left = int(down * times), int(right * times)
    bottom, beyond = (-(height + top)) % times, (-(width + left)) % times
    return F.avg_pool2d(F.pad(images, (left, beyond, top, bottom), mode="reflect"), times)


def draw_views(draws: int, seed: int) -> tuple[RandomView, ...]:
    """``draws`` views; flips, orders of channels and factors of colours spread over their range."""
    random = torch.Generator().manual_seed(seed)
    orders = list(itertools.permutations(range(3)))

    def uniform() -> float:
        return torch.rand((), generator=random, dtype=torch.float64).item()

    def spread(count: int) -> list[int]:
        """``draws`` numbers below ``count``, each as often as any other, shuffled."""
        return [k % count for k in torch.randperm(draws, generator=random).tolist()]

    flips, order = spread(4), spread(len(orders))
    strata = [spread(draws) for _ in range(3)]
    return tuple(
        RandomView(
            level=uniform(),
            phase=(uniform(), uniform()),
            offset=(int(uniform() * (OFFSET + 1)), int(uniform() * (OFFSET + 1))),
            flip=(flips[k] % 2 == 1, flips[k] >= 2),
            transpose=uniform() < 0.5,
            channels=orders[order[k]],
            colours=tuple(
                DARKEST + (1 - DARKEST) * (strata[c][k] + uniform()) / draws for c in range(3)
            ),
        )
        for k in range(draws)
    )


class ELPIPS(Metric):
    """E-LPIPS: 0 at identity, no upper limit (Kettunen, Härkönen and Lehtinen, 2019).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], of one shape and gives ``(n,)``: the mean of
    :class:`~percert.metrics.LPIPS` over ``draws`` random transformations, the same for both images:
    shifts, shrinkings, reflections, orders of the channels, and factors of colours, as its authors
    draw them. They are drawn once, from ``seed``, so that a distance is the same every time. An
    attack on one seed is judged by another: with few draws it fits those that it saw.

    ``net``, ``checkpoint`` and ``shift_tolerant`` are LPIPS's. The authors' network (average
    pooling, dropout, heads trained through the transformations) is not in it: it is the ensemble
    over an LPIPS that was trained without one.

    >>> metric = ELPIPS(checkpoint="random", draws=2)
    >>> image = torch.rand(1, 3, 32, 32)
    >>> metric(image, image)
    tensor([0.])
    """

    def __init__(
        self,
        net: BackboneName = "alex",
        checkpoint: str | Path | None = None,
        *,
        shift_tolerant: bool = True,
        draws: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ValueError(f"e-lpips: draws: expected at least 1, found {draws}")
        self.name = "e-lpips"
        self.lpips = LPIPS(net, checkpoint, shift_tolerant=shift_tolerant)
        self.smallest_side = self.lpips.smallest_side
        self.views = draw_views(draws, seed)
        self.eval().requires_grad_(False)

    def forward(self, reference: Images, candidate: Images) -> Vector:
        reference, candidate = check_pair(
            reference, candidate, smallest_side=self.smallest_side, name=self.name
        )
        found = [self.lpips(view(reference), view(candidate)) for view in self.views]
        return torch.stack(found).mean(0)
