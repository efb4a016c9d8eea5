"""What several processes do together beside the averaged gradients of DDP: sum, gather, wait."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class Collective:
    """The processes of a launched ``fabric``; without one, or in one of its own, this one alone.

    Every method but :meth:`part` is to be called by all processes, in the same order.

    >>> alone = Collective()
    >>> alone.first, alone.gathered("a"), alone.part(np.arange(3)).tolist()
    (True, ['a'], [0, 1, 2])
    """

    fabric: Any = None

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return 0 if self.fabric is None else int(self.fabric.global_rank)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return 1 if self.fabric is None else int(self.fabric.world_size)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def part(self, rows: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.int64]":
        """The ``rows`` ``(n,)`` of this process: those of all, one after another, are all rows."""
        return np.array_split(rows, self.size)[self.rank]

    def gathered(self, value: T) -> list[T]:
        """The ``value`` of each process, by its number; any that can be pickled."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found

    def sum_gradients(self, model: nn.Module) -> None:
        """Add up the gradients of all processes; one that has none counts as 0."""
        if self.size == 1:
            return
        trained = [value for value in model.parameters() if value.requires_grad]
        for value in trained:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        self._sum([value.grad for value in trained if value.grad is not None])

    def average_statistics(self, model: nn.Module) -> None:
        """Give every process the mean of all running statistics (batch normalisation's)."""
        if self.size == 1:
            return
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._sum(buffers)
        for buffer in buffers:
            buffer.div_(self.size)

    @torch.no_grad()
    def _sum(self, tensors: list[Tensor]) -> None:
        """Replace each of ``tensors`` by its sum over the processes, in one message."""
        if not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])  # any layout
        torch.distributed.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            self.fabric.barrier()
