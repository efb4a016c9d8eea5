"""SSIM as a copy detector: images of any size, compared as small grey pictures."""

import torch
from torch import Tensor

from percert.evaluation.copies_detector import Described
from percert.images import Resize
from percert.metrics.ssim import C1, C2, SIGMA, WINDOW, losses

#: The side at which SSIM compares images, whose own size edits change. Of 24, 32, 48 and 64 it
#: finds most copies at 24 (40 photographs, all edits); all pairs would take hours at 299.
SIDE = 24
#: ITU-R 601 luma.
LUMA = (0.299, 0.587, 0.114)


def luma_of(images: Tensor) -> Tensor:
    """``(n, 1, h, w)`` of ``(n, 3, h, w)``."""
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def luma_distance(reference: Tensor, candidate: Tensor) -> Tensor:
    """1 - SSIM of luma ``(n, 1, h, w)`` at its own size, ``(n,)``."""
    luminance, structure = losses(reference, candidate)
    return (luminance + structure - luminance * structure).flatten(1).mean(1)


class StructureDetector:
    """1 - SSIM of luma at ``side`` x ``side`` pixels, resized by exact area averages."""

    def __init__(self, side: int = SIDE) -> None:
        self.name = f"ssim-{side}"
        self.resize = Resize((side, side), "box")
        offsets = torch.arange(WINDOW) - WINDOW // 2
        weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
        weights = weights / weights.sum()
        self.window = torch.zeros(side - WINDOW + 1, side)
        for row in range(len(self.window)):
            self.window[row, row : row + WINDOW] = weights

    def describe(self, images: Tensor) -> Described:
        return Described(self.values(images))

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        """All pairs: only the mean of the product x y has to be made for each of them."""
        means, powers = self._moments(references)
        rows = []
        for query in queries:
            mean, power = self._moments(query[None])
            product = mean * means
            joint = self._average(query * references) - product
            squares = mean.square() + means.square()
            luminance = (2 * product + C1) / (squares + C1)
            structure = (2 * joint + C2) / (power + powers - squares + C2)
            rows.append(1 - (luminance * structure).flatten(1).mean(1))
        return torch.stack(rows).double()

    def values(self, images: Tensor) -> Tensor:
        return self.resize(luma_of(images))[:, 0]

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        distance = luma_distance(references[:, None], values[:, None])
        return distance, distance.detach().double()

    def _average(self, images: Tensor) -> Tensor:
        return self.window @ images @ self.window.T

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._average(images), self._average(images.square())
