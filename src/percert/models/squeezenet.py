"""SqueezeNet 1.0 (Iandola et al., 2016, arXiv:1602.07360), with the authors' own normalisation."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from percert.check import check_images
from percert.tensors import Embeddings, Features, Images

#: What the authors' Caffe model subtracts from pixels in 0 to 255: blue, green, red.
MEAN_BGR = (104.0, 117.0, 123.0)


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

    Channel order and mean live inside. Any size of at least 48 pixels a side will do; the weights
    were trained at 227.
    """

    mean: Tensor

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
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
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def feature_map(self, images: Images) -> Features:
        """The output of the last fire module, ``(n, 512, h', w')``, at about 1/16 of the size."""
        check_images(images)
        features: Tensor = self.features(images.flip(1) * 255.0 - self.mean)
        return features

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
    state = load_file(weights)
    model = SqueezeNet()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise ValueError(
            f"{weights}: expected the weights of squeezenet1_0, {len(wrong)} keys or shapes "
            f"differ, the first is {wrong[0]}"
        )
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)
