"""Shapes of tensors, and norms and projections of batches, one number per sample.

An image batch is always sRGB, float, ``(n, 3, h, w)``, in [0, 1].
"""

from typing import TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, "n 3 h w"]
Features: TypeAlias = Float[Tensor, "n c h w"]
Embeddings: TypeAlias = Float[Tensor, "n k"]
Vector: TypeAlias = Float[Tensor, "n"]
Labels: TypeAlias = Int[Tensor, "n"]


def per_sample(values: Vector, like: Tensor) -> Tensor:
    """Shape ``(n,)`` values so that they broadcast over ``like``, which is ``(n, ...)``."""
    return values.view(-1, *([1] * (like.ndim - 1)))


def l2_norm(batch: Tensor) -> Vector:
    """The l2 norm of each sample of ``(n, ...)``, shape ``(n,)``.

    >>> import torch
    >>> l2_norm(torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]]))
    tensor([5., 2.])
    """
    norms: Vector = batch.flatten(1).norm(dim=1)  # torch leaves norm untyped
    return norms


def linf_norm(batch: Tensor) -> Vector:
    """The largest absolute value of each sample of ``(n, ...)``, shape ``(n,)``."""
    return batch.flatten(1).abs().amax(dim=1)


def project_l2(batch: Tensor, radius: Vector) -> Tensor:
    """The nearest point to each sample in the l2 ball of its ``radius`` (shape ``(n,)``) around 0.

    >>> import torch
    >>> project_l2(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0]))
    tensor([[0.6000, 0.8000]])
    """
    norm = l2_norm(batch).clamp_min(1e-30)
    return batch * per_sample((radius / norm).clamp_max(1.0), batch)
