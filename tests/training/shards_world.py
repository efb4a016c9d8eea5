"""Labelled images that are learnt in a moment, and attacks whose outcome is known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from percert.training.dro.images import memory_images

SIDE = 12


def bright_and_dark(count: int = 24, *, classes: int = 2, seed: int = 0):
    """Noisy grey images, each class of its own brightness; labels 0, 1, 0, 1, ..."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    level = 60 + labels * 120 // max(1, classes - 1)
    noise = generator.integers(-30, 31, (count, 3, SIDE, SIDE))
    return memory_images((level[:, None, None, None] + noise).astype(np.uint8), labels)


class Brightness(nn.Module):
    """Two classes by mean brightness: logits (t - mean, mean - t), t learnable."""

    def __init__(self, threshold: float = 0.47) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, images):
        above = images.mean((1, 2, 3)) - self.threshold
        return 10 * torch.stack([-above, above], 1)


@dataclass
class Shift:
    """An attack that adds ``by`` to dark images, takes it from bright ones, and counts."""

    by: float = 0.5
    attacked: int = 0

    def __call__(self, model, images, goal, *, seeds=None, watch=None):
        self.attacked += len(images)
        sign = torch.where(goal.labels == 0, 1.0, -1.0).view(-1, 1, 1, 1)
        return (images + self.by * sign).clamp(0, 1)
