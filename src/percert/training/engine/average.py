"""A running average of a network's weights that is as Lipschitz as the network itself.

SLL layers keep their bound for any weights, so theirs are averaged as they are. An orthogonal
matrix is averaged as a matrix, which shrinks it, and then made orthogonal again: the polar factor
is the nearest orthogonal matrix. The Cayley parameters of that matrix are what the averaged network
holds.
"""

import torch
from torch import Tensor, nn

from percert.lipschitz.orthogonal import OrthogonalMix, cayley

#: Where I + Q is this close to singular, Q has no Cayley parameters that float64 could hold.
NEAREST = 1e-6


def polar(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to ``(c, c)``, from its singular vectors.

    >>> bool(torch.allclose(polar(3 * torch.eye(2)), torch.eye(2)))
    True
    """
    left, _, right = torch.linalg.svd(matrix)
    nearest: Tensor = left @ right
    return nearest


def inverse_cayley(orthogonal: Tensor) -> Tensor | None:
    """P with ``cayley(P) == orthogonal``, or ``None`` where -1 is nearly an eigenvalue.

    >>> q = cayley(torch.randn(4, 4, dtype=torch.float64))
    >>> bool(torch.allclose(cayley(inverse_cayley(q)), q))
    True
    """
    identity = torch.eye(len(orthogonal), dtype=orthogonal.dtype, device=orthogonal.device)
    if torch.linalg.svdvals(identity + orthogonal)[-1] < NEAREST:
        return None
    skew: Tensor = torch.linalg.solve(identity + orthogonal, identity - orthogonal)
    return (skew - skew.T) / 4  # P - P^T is the skew part


class WeightAverage:
    """The exponential moving average of ``network``'s weights with ``decay``.

    ``tensors`` are what it holds, by name, float32: for a checkpoint. ``update`` after each step;
    ``state_dict`` gives weights to load into a copy of the network. Early steps weigh more, as
    ``min(decay, (1 + n) / (10 + n))`` after n steps, so that the start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"average: expected a decay between 0 and 1, found {decay}")
        self.decay = decay
        self.steps = 0
        self._mixes = {
            f"{name}.square" if name else "square"
            for name, module in network.named_modules()
            if isinstance(module, OrthogonalMix)
        }
        self.tensors = self._seen(network)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights as they are now."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._seen(network).items():
            self.tensors[name].lerp_(value, 1 - decay)
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the averaged network."""
        found = {}
        for name, value in self.tensors.items():
            if name.endswith(".plain"):
                continue
            found[name] = value.clone()
            if name in self._mixes:
                plain = self.tensors[f"{name}.plain"]
                found[name] = torch.stack(
                    [self._parameters(q, p) for q, p in zip(value, plain, strict=True)]
                ).to(plain.dtype)
        return found

    @staticmethod
    def _parameters(average: Tensor, plain: Tensor) -> Tensor:
        """The Cayley parameters of the nearest orthogonal matrix, or the averaged parameters."""
        found = inverse_cayley(polar(average.double()))
        return plain if found is None else found.to(plain.dtype)

    @torch.no_grad()
    def _seen(self, network: nn.Module) -> dict[str, Tensor]:
        seen = {}
        for name, value in network.state_dict().items():
            if name in self._mixes:
                seen[name] = torch.stack([cayley(block.double()) for block in value]).float()
                seen[f"{name}.plain"] = value.detach().clone()
            else:
                seen[name] = value.detach().clone()
        return seen
