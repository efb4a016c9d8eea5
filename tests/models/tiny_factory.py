"""What ``package.module:factory`` names in tests."""

import time

import torch
from torch import nn


def linear() -> nn.Module:
    """Ten logits, linear in the mean colours of 4 x 4 tiles: the same weights every time."""
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(48, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(10, 48, generator=generator))
        layer.bias.zero_()
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), layer)


class Slow(nn.Module):
    """A model that takes its time, so that it can be killed at work."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        scores: torch.Tensor = self.inner(images)
        return scores


def head() -> nn.Module:
    """Three logits: the mean of each channel as the network is given it."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Identity())


class Identity(nn.Module):
    """Weights that are the identity, so that logits are what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, colours: torch.Tensor) -> torch.Tensor:
        return colours @ self.weight


def number() -> int:
    return 7


def picky(size: int) -> nn.Module:
    return nn.Linear(size, size)
