"""Classifiers that the server's worker processes make by name."""

import torch
from torch import nn


class Brightness(nn.Module):
    """Two classes, dark and bright: the logits are linear in the mean, and cross at 1/2."""

    class_names = ("dark", "bright")

    def layers(self, images):
        """What attacks on the classifier's own features look at."""
        return [images]

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return 40 * torch.stack([0.5 - mean, mean - 0.5], 1)


class Stubborn(nn.Module):
    """Says the same whatever it sees: attacks on it run until they are stopped."""

    class_names = ()

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None] * 0 + torch.tensor([[1.0, 0.0]])


class Deaf(nn.Module):
    """Does not come back: what asks it never looks at the clock again."""

    class_names = ()

    def forward(self, images):
        while True:
            pass
