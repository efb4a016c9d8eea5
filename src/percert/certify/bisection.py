"""The largest length at which something still holds, found from below."""

from collections.abc import Callable

import torch
from torch import Tensor

from percert.tensors import Vector


def bisect(holds: Callable[[Vector], Tensor], low: Vector, high: Vector, halvings: int) -> Vector:
    """The largest length in [``low``, ``high``] at which ``holds``, row by row, from below.

    ``holds`` maps lengths ``(n,)`` to bools and must be true up to some length and false beyond.
    Whatever is returned has been tried and holds, or is ``low``.

    >>> bisect(lambda x: x < 1, torch.zeros(1), torch.full((1,), 3.0), halvings=30) < 1
    tensor([True])
    """
    for _ in range(halvings):
        middle = (low + high) / 2
        true = holds(middle)
        low, high = torch.where(true, middle, low), torch.where(true, high, middle)
    return low
