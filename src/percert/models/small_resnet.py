"""Small classifiers to train: a residual network of any width, a CNN for MNIST.

The residual network (He et al. 2016, arXiv:1603.05027) is made for small photographs and digits.
Every name ``classesC_widthW`` of this module is a factory, so that a network of any size can be
named where a model is asked for, on command lines and in cards:
``percert.models.small_resnet:classes10_width16``.
"""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.check import check_images
from percert.models.card import PreparedClassifier, Preprocessing
from percert.tensors import Features, Images

#: What ``classes10_width16`` means.
NAMED = re.compile(r"classes(?P<classes>\d+)_width(?P<width>\d+)")
#: Channels are normalised in so many groups, fewer where they do not divide the channels.
GROUPS = 4


class ResidualBlock(nn.Module):
    """x + f(x) with f = two 3 x 3 convolutions, each behind a normalisation and a ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first_norm = _norm(channels)
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second_norm = _norm(out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(channels, out, 1, bias=False) if channels != out else None

    def forward(self, features: Features) -> Features:
        start = self.first_norm(features).relu()
        along = features
        if self.skip is not None:
            # An odd side halves to the larger half, as that of the strided convolution does.
            along = self.skip(F.avg_pool2d(start, self.stride, ceil_mode=True))
        changed: Tensor = self.second(self.second_norm(self.first(start)).relu())
        return changed + along


class ResidualNetwork(nn.Sequential):
    """Three residual blocks at a half, a quarter and an eighth of the side, then one linear layer.

    Channels are normalised in groups, never over the batch: an image's logits do not depend on the
    images beside it, training and evaluation compute the same, and several networks can be trained
    as one by ``torch.func.vmap``.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            ResidualBlock(width, width, 1),
            ResidualBlock(width, 2 * width, 2),
            ResidualBlock(2 * width, 4 * width, 2),
            _norm(4 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, classes),
        )


def small_resnet(classes: int = 10, width: int = 16) -> PreparedClassifier:
    """A classifier of images ``(n, 3, h, w)`` in [0, 1], made for sides of about 32.

    ``width`` 16 has 78,000 weights, random from torch's global generator. Raises ``ValueError`` for
    fewer than 2 classes, or no width.

    >>> import torch
    >>> small_resnet(classes=10, width=8)(torch.rand(2, 3, 28, 28)).shape
    torch.Size([2, 10])
    """
    if classes < 2 or width < 1:
        raise ValueError(
            f"small_resnet: expected at least 2 classes and a width of 1, found {classes}, {width}"
        )
    preparation = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return PreparedClassifier(preparation, ResidualNetwork(classes, width))


def __getattr__(name: str) -> Callable[[], PreparedClassifier]:
    found = NAMED.fullmatch(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    classes, width = int(found["classes"]), int(found["width"])
    return lambda: small_resnet(classes, width)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS if channels % GROUPS == 0 else 1, channels)


class MnistCNN(nn.Module):
    """Two convolutions and two linear layers; ``(n, 3, 28, 28)`` images to 10 logits.

    It sees the mean of the channels, so that for grey images any attack's gradient is the same in
    every channel, a third of the grey image's.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 5, padding=2)
        self.second = nn.Conv2d(16, 32, 5, padding=2)
        self.hidden = nn.Linear(32 * 7 * 7, 32)
        self.last = nn.Linear(32, classes)

    def forward(self, images: Images) -> Tensor:
        """The logits, ``(n, classes)``. Raises ``ValueError`` for images of another size.

        >>> MnistCNN()(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 10])
        """
        if tuple(check_images(images).shape[2:]) != (28, 28):
            raise ValueError(f"images: expected 28 x 28 pixels, found {tuple(images.shape[2:])}")
        features = F.max_pool2d(self.first(images.mean(1, keepdim=True)).relu(), 2)
        features = F.max_pool2d(self.second(features).relu(), 2)
        scores: Tensor = self.last(self.hidden(features.flatten(1)).relu())
        return scores


def train_mnist_cnn(
    images: Images, labels: Tensor, *, epochs: int = 8, batch: int = 100, seed: int = 0
) -> MnistCNN:
    """A classifier trained on ``images`` and ``labels`` with AdamW and a falling rate, in ``eval``.

    The result depends on the seed and the data alone; the caller's random numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MnistCNN().to(images.device)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    total = epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=total)
    for _ in range(epochs):
        shuffled = torch.randperm(len(images), generator=order).to(images.device)
        for start in range(0, len(images), batch):
            chosen = shuffled[start : start + batch]
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)
