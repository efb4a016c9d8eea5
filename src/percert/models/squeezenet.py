"""SqueezeNet 1.0 (Iandola et al., 2016, arXiv:1602.07360), with the authors' own normalisation."""

from pathlib import Path

import torch
from torch import Tensor, nn

from percert.models.preparation import Preparation
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

    def __init__(self, classes: int = 1000, preparation: Preparation | None = None) -> None:
        super().__init__()
        self.preparation = preparation or Preparation(mean=MEAN_BGR, channels="bgr", scale=255)
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
