"""The trunks of AlexNet, VGG-16 and SqueezeNet 1.1, in torchvision's layout of weights.

Written here on plain torch, so that LPIPS and DISTS need no torchvision.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from torch import nn

from percert.metrics.deep.weight_files import WeightFile
from percert.models.imagenet_networks import Fire
from percert.models.weights import read_weights
from percert.tensors import Features

BackboneName: TypeAlias = Literal["alex", "vgg", "squeeze"]

_FROM = "https://download.pytorch.org/models/"


def _published(name: str, what: str) -> WeightFile:
    digits = name.removesuffix(".pth").rpartition("-")[2]  # torchvision names files by their hash
    return WeightFile((name,), f"torchvision's weights of {what}", _FROM + name, digits)


FILES: dict[BackboneName, WeightFile] = {
    "alex": _published("alexnet-owt-7be5be79.pth", "AlexNet"),
    "vgg": _published("vgg16-397923af.pth", "VGG-16"),
    "squeeze": _published("squeezenet1_1-b8a52dc0.pth", "SqueezeNet 1.1"),
}
#: After which layers features are taken, and how many channels they have (LPIPS's choice).
TAPS: dict[BackboneName, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
    "squeeze": {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512},
}
#: The least side of an image that leaves at least one position at every tap.
SMALLEST: dict[BackboneName, int] = {"alex": 31, "vgg": 16, "squeeze": 17}


class Backbone(nn.Module):
    """A trunk that gives the features after several of its layers, finest first.

    >>> import torch
    >>> trunk = backbone("squeeze")
    >>> [tuple(layer.shape[1:]) for layer in trunk(torch.rand(1, 3, 64, 64))][:3]
    [(64, 31, 31), (128, 15, 15), (256, 7, 7)]
    """

    def __init__(self, layers: list[nn.Module], taps: dict[int, int]) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps = tuple(taps)
        self.channels = tuple(taps.values())

    def forward(self, images: Features) -> list[Features]:
        """Features after each tap, ``(n, c, h', w')``, of images already normalised."""
        found = []
        for index, layer in enumerate(self.features):
            images = layer(images)
            if index in self.taps:
                found.append(images)
        return found


def backbone(
    name: BackboneName, pooling: Callable[[int], nn.Module] = lambda channels: nn.MaxPool2d(2)
) -> Backbone:
    """The trunk called ``name``, with random weights. ``pooling(channels)`` is VGG's pooling."""
    layers = {"alex": _alex, "squeeze": _squeeze}[name]() if name != "vgg" else _vgg(pooling)
    return Backbone(layers, TAPS[name])


def load_backbone(trunk: Backbone, path: Path) -> None:
    """Loads a file of torchvision's whole network into its trunk; the classifier's part is left.

    Raises ``ValueError`` for a file that is not readable or of another network.
    """
    state = read_weights(path)
    expected = trunk.state_dict()
    for key, value in expected.items():
        if key not in state or state[key].shape != value.shape:
            found = "missing" if key not in state else f"of shape {tuple(state[key].shape)}"
            raise ValueError(
                f"{path}: not the weights wanted here: {key} is {found}, "
                f"expected shape {tuple(value.shape)}"
            )
    trunk.load_state_dict({key: state[key] for key in expected})


def _alex() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    ]


def _vgg(pooling: Callable[[int], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for block, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if block > 0:
            layers.append(pooling(before))
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
    return layers


def _squeeze() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    ]
