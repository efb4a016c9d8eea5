"""One number that names the weights of a network."""

import hashlib

import torch
from torch import nn


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer that is saved: sorted names, dtypes, shapes, bytes.

    The same on every device, 64 hexadecimal digits, and the same for float32 weights that are
    computed with in float64: it names the numbers.

    >>> layer = nn.Linear(1, 1)
    >>> weights_hash(layer) == weights_hash(layer.requires_grad_(False))
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if value.dtype == torch.float64 and torch.equal(value.float().double(), value):
            value = value.float()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def non_finite_weights(module: nn.Module) -> list[str]:
    """The names of parameters and buffers that hold NaN or infinite values."""
    return [name for name, value in module.state_dict().items() if not bool(value.isfinite().all())]
