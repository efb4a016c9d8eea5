"""A small convolutional network with named layers, and images on which it decides clearly."""

import torch
from torch import Tensor, nn

SIDE = 16


class SmallNetwork(nn.Module):
    """Two convolutions and a linear layer, weights from a seed; ``layers`` as percert's models."""

    def __init__(self, classes: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.last = nn.Linear(16 * (SIDE // 2) ** 2, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in self.parameters():
                scale = value[0].numel() ** -0.5 if value.ndim > 1 else 0.1
                value.copy_(scale * torch.randn(value.shape, generator=generator))
            self.last.weight *= 30
        self.eval().requires_grad_(False)

    def layers(self, images: Tensor) -> list[Tensor]:
        first = self.first(4 * (images - 0.5)).relu()
        return [first, self.second(first).relu()]

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.last(self.layers(images)[-1].flatten(1))
        return scores


def clear_images(model: SmallNetwork, count: int) -> tuple[Tensor, Tensor]:
    """Random images and what the network takes them for, where it leads by at least a logit."""
    generator = torch.Generator().manual_seed(3)
    images = 0.1 + 0.8 * torch.rand(10 * count, 3, SIDE, SIDE, generator=generator)
    best = model(images).topk(2)
    clear = (best.values[:, 0] - best.values[:, 1] > 1).nonzero()[:count, 0]
    assert len(clear) == count
    return images[clear], best.indices[clear, 0]
