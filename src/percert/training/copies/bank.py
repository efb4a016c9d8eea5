"""Embeddings of past steps, kept as further strangers of the edits of the present one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.tensors import Embeddings, Labels

#: In the place of a picture's number: nothing is kept there yet.
EMPTY = -1


@dataclass(frozen=True)
class Bank:
    """The last embeddings of unedited pictures ``(n, k)``, as they were when they were trained on.

    They are numbers without gradients, a few steps old; where the weights change little from step
    to step they are nearly what those would be now, and cost a matrix product and no forward pass.
    ``identity`` ``(n,)`` says which pictures they are of, :data:`EMPTY` where there is none yet;
    ``next`` is the row that is overwritten next. All three change in place, and are all that a
    checkpoint needs.

    >>> bank = Bank.of(3, 2, torch.device("cpu"))
    >>> bank.add(torch.eye(2), torch.tensor([7, 8]))
    >>> bank.strangers(torch.tensor([[8, 9]])).tolist()  # of an edit that shows 8, one that shows 9
    [[True, False, False], [True, True, False]]
    """

    embeddings: Embeddings
    identity: Labels
    next: Tensor

    @staticmethod
    def of(size: int, width: int, device: torch.device) -> "Bank":
        """An empty one, for ``size`` embeddings of ``width`` values."""
        return Bank(
            torch.zeros(size, width, device=device),
            torch.full((size,), EMPTY, device=device),
            torch.zeros((), dtype=torch.long, device=device),
        )

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Its tensors by name."""
        return {
            "bank.embeddings": self.embeddings,
            "bank.identity": self.identity,
            "bank.next": self.next,
        }

    @torch.no_grad()
    def add(self, embeddings: Embeddings, identity: Labels) -> None:
        """Keep ``embeddings`` ``(m, k)`` of the pictures ``identity`` ``(m,)``; the oldest go."""
        size = len(self.identity)
        embeddings, identity = embeddings.detach()[-size:], identity[-size:]
        rows = (self.next + torch.arange(len(identity), device=identity.device)) % size
        self.embeddings[rows] = embeddings
        self.identity[rows] = identity
        self.next.copy_((self.next + len(identity)) % size)

    def strangers(self, shown: Labels) -> Tensor:
        """Which of what is kept each edit shows nothing of: ``(m, n)`` for ``shown`` ``(s, m)``."""
        others = (shown[:, :, None] != self.identity).all(0)
        return others & (self.identity != EMPTY)
