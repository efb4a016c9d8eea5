"""What a classifier does to an image before its first layer."""

from typing import Literal

import torch
from torch import Tensor, nn

from percert.check import check_choice, check_images
from percert.images import Resize
from percert.tensors import Images

Channels = Literal["rgb", "bgr"]


class Preparation(nn.Module):
    """sRGB images in [0, 1] to the input that a network was trained on.

    ``(scale * channels(resize(images)) - mean) / std``: ``size`` (height, width) is what every
    image is resized to (antialiased bicubic), ``None`` keeps its own; ``channels`` is their order;
    ``mean`` and ``std`` are in that order and in units of ``scale``. Differentiable; it has no
    weights. Raises ``ValueError`` for anything but images in [0, 1].

    >>> caffe = Preparation(mean=(104, 117, 123), channels="bgr", scale=255)
    >>> caffe(torch.ones(1, 3, 1, 1)).flatten()
    tensor([151., 138., 132.])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        channels: Channels = "rgb",
        scale: float = 1.0,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3:
                raise ValueError(f"{name}: expected 3 numbers, one a channel, found {len(values)}")
        if min(std) <= 0 or scale <= 0:
            raise ValueError(f"std and scale: expected more than 0, found {std} and {scale}")
        self.channels = check_choice(channels, ("rgb", "bgr"), "channels")
        self.scale = float(scale)
        self.resize = None if size is None else Resize(size)
        self.plain = tuple(std) == (1.0, 1.0, 1.0)
        self.register_buffer("mean", torch.tensor(mean).float().view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).float().view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Images) -> Tensor:
        """``(n, 3, h, w)``, or of the ``size``; in the module's precision, whatever the images'."""
        check_images(images)
        shown = images if self.resize is None else self.resize(images)
        if self.channels == "bgr":
            shown = shown.flip(1)
        # In the precision of the network behind it, which moves and changes together with mean.
        shown = shown.to(self.mean.dtype) * self.scale - self.mean
        return shown if self.plain else shown / self.std


class PreparedClassifier(nn.Module):
    """A network behind its :class:`Preparation`: takes sRGB images in [0, 1], gives logits.

    >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> PreparedClassifier(Preparation(mean=(0.5, 0.5, 0.5)), head)(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, preparation: Preparation, network: nn.Module) -> None:
        super().__init__()
        self.preparation = preparation
        self.network = network

    def forward(self, images: Images) -> Tensor:
        """The logits, ``(n, classes)``."""
        scores: Tensor = self.network(self.preparation(images))
        return scores
