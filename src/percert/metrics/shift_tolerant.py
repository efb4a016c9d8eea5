"""ShiftTolerant-LPIPS: LPIPS over trunks that are anti-aliased, so that a shift hardly counts."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.metrics.backbones import Backbone, seeded
from percert.metrics.lpips import LPIPS, load_heads, load_whole_trunk
from percert.models.packaged import packaged_file
from percert.models.weights import read_weights
from percert.tensors import Features

ShiftTolerantName: TypeAlias = Literal["alex", "vgg"]

_PLACE = "stlpips_pytorch/weights/vST0.0/"
#: The file of each whole module in the package ``stlpips-pytorch``, and its digest.
FILES: dict[ShiftTolerantName, tuple[str, str]] = {
    "alex": (
        f"{_PLACE}alex_shift_tolerant.pth",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    ),
    "vgg": (
        f"{_PLACE}vgg_shift_tolerant.pth",
        "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
    ),
}
#: After which layers features are taken, and how many channels they have.
TAPS: dict[ShiftTolerantName, dict[int, int]] = {
    "alex": {2: 64, 6: 192, 10: 384, 12: 256, 14: 256},
    "vgg": {3: 64, 9: 128, 17: 256, 25: 512, 33: 512},
}
#: The least side of an image that can be padded by reflection wherever that is done.
SMALLEST: dict[ShiftTolerantName, int] = {"alex": 21, "vgg": 18}
REFLECTED = 2


class BlurPool(nn.Module):
    """Every second pixel of the binomial mean of 3 x 3 (Zhang, ICML 2019), two reflected around.

    >>> BlurPool(1)(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 1, 3, 3])
    """

    if TYPE_CHECKING:
        filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        binomial = torch.tensor([0.25, 0.5, 0.25])
        window = binomial.outer(binomial).expand(channels, 1, 3, 3)
        self.register_buffer("filt", window.clone())  # its name in the published files

    def forward(self, features: Features) -> Features:
        around = F.pad(features, [REFLECTED] * 4, mode="reflect")
        return F.conv2d(around, self.filt, stride=2, groups=len(self.filt))


def shift_tolerant_trunk(name: ShiftTolerantName) -> Backbone:
    """AlexNet without strides in its convolutions, or VGG-16; each halving by :class:`BlurPool`."""
    return Backbone({"alex": _alex, "vgg": _vgg}[name](), TAPS[name])


def st_lpips(name: ShiftTolerantName, checkpoint: str | Path | None = None) -> LPIPS:
    """ShiftTolerant-LPIPS (Ghildyal and Liu, ECCV 2022), trained on the judgements of BAPPS.

    ``checkpoint`` is a file in the layout of the package ``stlpips-pytorch`` (a whole module's
    state dict), or ``"random"`` for seeded random weights; without it, that package's own file,
    whose digest is checked and whose code is not run. Raises ``ValueError`` where it is not there.

    >>> metric = st_lpips("alex", "random")
    >>> image = torch.rand(1, 3, 32, 32)
    >>> metric(image, image)
    tensor([0.])
    """
    title = f"st-lpips-{name}"
    make = partial(_untrained, name)
    if str(checkpoint) == "random":
        return seeded(make).eval().requires_grad_(False)
    path = Path(checkpoint) if checkpoint is not None else packaged_file(*FILES[name], title)
    metric, state = make(), read_weights(path)
    load_heads(metric, state, path)
    if not load_whole_trunk(metric.trunk, state, path):
        raise ValueError(f"{path}: not the weights of {title}: expected its trunk as well")
    return metric.eval().requires_grad_(False)


def _untrained(name: ShiftTolerantName) -> LPIPS:
    return LPIPS(f"st-lpips-{name}", shift_tolerant_trunk(name), SMALLEST[name])


def _alex() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 11, padding=2),
        BlurPool(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 1),
        BlurPool(64),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 1),
        BlurPool(192),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    ]


def _vgg() -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for block, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if block > 0:
            layers += [nn.MaxPool2d(2, 1), BlurPool(before)]
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
    return layers
