"""Embeddings counted from that of a plain picture, and how much of a picture they hold."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from percert.lipschitz.bound import LipschitzBound
from percert.tensors import Embeddings, Vector


@dataclass(frozen=True)
class Content:
    """The rule by which a picture holds too little for its embedding to mean that picture alone.

    What a picture holds is the length of its embedding outside ``axes`` ``(m, k)``, orthonormal
    rows along which pages of text and the like all lie. A projection is 1-Lipschitz, so a picture
    that moves by r has at most r less, or more. Below ``least``, pictures without much in them are
    near one another, whatever they show.

    >>> rule = Content(torch.tensor([[1.0, 0.0, 0.0]]), 1.0)
    >>> rule.margin(torch.tensor([[9.0, 3.0, 4.0], [9.0, 0.0, 0.0]]))
    tensor([ 4., -1.])
    """

    axes: Tensor
    least: float

    def margin(self, embeddings: Embeddings) -> Vector:
        """By how much what each of ``(n, k)`` holds is above ``least``, in embedding units."""
        axes = self.axes.to(embeddings)
        outside = embeddings - embeddings @ axes.T @ axes
        length: Tensor = outside.norm(dim=1)
        return length - self.least


class Centre(nn.Module):
    """Subtracts ``centre`` ``(k,)``: the embedding of a plain picture becomes 0.

    A translation, so every Lipschitz bound stays as it is. Without it, what all embeddings have in
    common makes pictures with nothing in them copies of each other. ``axes`` and ``least`` are the
    rule of :class:`Content`; they change no embedding. All three are buffers, and so part of the
    weights, of their hash and of what is exported; they are found by
    :func:`percert.training.student.fit_centre`.

    >>> layer = Centre(2)
    >>> layer.centre.copy_(torch.tensor([3.0, 4.0])).shape, layer(torch.tensor([[3.0, 4.0]]))
    (torch.Size([2]), tensor([[0., 0.]]))
    """

    centre: Tensor
    axes: Tensor
    least: Tensor

    def __init__(self, width: int, axes: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(axes, width))
        self.register_buffer("least", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.centre

    def content(self) -> Content:
        """The rule of what a picture must hold."""
        return Content(self.axes, float(self.least))

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(1.0, "a translation")


def centre_of(network: nn.Module) -> Centre | None:
    """The :class:`Centre` that a network ends in, or ``None``."""
    layers = getattr(network, "layers", None)
    last = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    return last if isinstance(last, Centre) else None
