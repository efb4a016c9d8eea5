"""Random numbers of a batch, one a sample."""

import torch
from torch import Generator, Tensor

from percert.tensors import Vector


class Draw:
    """Random numbers ``(count,)``, or of any shape, on the generator's device."""

    def __init__(self, count: int, generator: Generator) -> None:
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, low: float, high: float) -> Vector:
        return self.numbers(self.count) * (high - low) + low

    def chance(self, share: float) -> Tensor:
        return self.numbers(self.count) < share

    def numbers(self, *shape: int) -> Tensor:
        """Uniform in [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def integer(self, below: int) -> Tensor:
        return torch.randint(below, (self.count,), generator=self.generator, device=self.device)
