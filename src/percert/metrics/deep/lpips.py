"""LPIPS: distances of deep features, calibrated by a linear head a layer; shift-tolerant too.

ShiftTolerant-LPIPS is the same over trunks that are anti-aliased, so that a shift hardly counts.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.check import check_choice
from percert.metrics.deep.backbones import (
    FILES,
    SMALLEST,
    Backbone,
    BackboneName,
    backbone,
    load_backbone,
)
from percert.metrics.deep.features import unit
from percert.metrics.deep.weight_files import WeightFile, find_weights
from percert.metrics.metric import Metric, check_pair
from percert.models.weights import packaged_file, read_weights, seeded
from percert.tensors import Features, Images, Vector

#: What LPIPS subtracts from pixels in [-1, 1], and divides them by: red, green, blue.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
_HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
#: A name inside the state dict of the ``lpips`` package's whole module.
_SLICE = re.compile(r"net\.slice\d+\.(\d+)\.(.+)")


def heads_file(name: BackboneName) -> WeightFile:
    """The file of the linear heads, version 0.1, as the ``lpips`` package carries it."""
    return WeightFile(
        (f"lpips-{name}.pth", f"v0.1/{name}.pth", f"{name}.pth"),
        f"LPIPS's linear heads, {name}.pth of version 0.1, which the lpips package carries",
        f"{_HEADS}{name}.pth",
    )


class LPIPS(Metric):
    """LPIPS version 0.1: 0 at identity, no upper limit (Zhang and others, CVPR 2018).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1] (not [-1, 1]: they are normalised inside), of
    one shape and gives ``(n,)``: the squared difference of unit-normalised features at five layers
    of AlexNet (``net="alex"``) or VGG-16 (``"vgg"``), or seven of SqueezeNet 1.1 (``"squeeze"``),
    weighted by channel, averaged over positions, summed over layers. At the image's own size.

    ``shift_tolerant`` is ShiftTolerant-LPIPS (Ghildyal and Liu, ECCV 2022), over anti-aliased
    AlexNet or VGG-16, trained on the judgements of BAPPS.

    ``checkpoint`` is a folder with the file of the heads (``alex.pth`` of the ``lpips`` package's
    version 0.1) and that of the network as torchvision publishes it; or a file of the heads alone;
    or one of a whole module's state dict (of ``lpips``, or of ``stlpips-pytorch``); or ``"random"``
    for seeded random weights. Without it, both are looked for where
    :func:`~percert.metrics.deep.weight_files.find_weights` looks, and those of ``shift_tolerant``
    in the package ``stlpips-pytorch``, whose code is not run. Raises ``ValueError`` that says what
    is missing and where to put it.

    An attack that asks for the same reference many times can compute ``features(reference)`` once
    and call :meth:`from_features`.

    >>> metric = LPIPS("squeeze", checkpoint="random")
    >>> image = torch.rand(1, 3, 32, 32)
    >>> metric(image, image)
    tensor([0.])
    """

    if TYPE_CHECKING:
        shift: Tensor
        scale: Tensor

    def __init__(
        self,
        net: BackboneName = "alex",
        checkpoint: str | Path | None = None,
        *,
        shift_tolerant: bool = False,
    ) -> None:
        super().__init__()
        known = SHIFT_TOLERANT_SMALLEST if shift_tolerant else SMALLEST
        self.name = f"{'st-' if shift_tolerant else ''}lpips-{net}"
        check_choice(net, tuple(known), f"{self.name}: net")
        self.smallest_side = known[net]
        self.trunk, self.heads = seeded(lambda: _untrained(net, shift_tolerant))
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        if str(checkpoint) != "random":
            self._load(net, None if checkpoint is None else Path(checkpoint), shift_tolerant)
        self.eval().requires_grad_(False)

    def _load(self, net: BackboneName, given: Path | None, shift_tolerant: bool) -> None:
        if shift_tolerant:
            path = given or packaged_file(*SHIFT_TOLERANT_FILES[net], self.name)
        else:
            path = find_weights(heads_file(net), self.name, given)
        state = read_weights(path)
        load_heads(self, state, path)
        if load_whole_trunk(self.trunk, state, path):
            return
        if shift_tolerant:
            raise ValueError(f"{path}: not the weights of {self.name}: expected its trunk as well")
        folder = given if given is not None and given.is_dir() else None
        load_backbone(self.trunk, find_weights(FILES[net], self.name, folder))

    def features(self, images: Images) -> list[Features]:
        """The features of each layer, ``(n, c, h', w')``, at unit length in each position."""
        pixels = (2 * images.to(self.shift) - 1 - self.shift) / self.scale
        return [unit(layer) for layer in self.trunk(pixels)]

    def from_features(self, reference: list[Features], candidate: Images) -> Vector:
        """The distance of ``candidate`` to what :meth:`features` made of the reference."""
        total = self.shift.new_zeros(len(candidate))
        for wanted, found, head in zip(
            reference, self.features(candidate), self.heads, strict=True
        ):
            squares = ((wanted - found) ** 2).mean((2, 3))
            total = total + squares @ head.flatten()
        return total

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        reference, candidate = check_pair(
            reference, candidate, smallest_side=self.smallest_side, name=self.name
        )
        return self.from_features(self.features(reference), candidate)


def _untrained(net: BackboneName, shift_tolerant: bool) -> tuple[Backbone, nn.ParameterList]:
    """The trunk and the heads with random weights."""
    trunk = shift_tolerant_trunk(net) if shift_tolerant else backbone(net)
    return trunk, nn.ParameterList(torch.rand(1, c, 1, 1) / c for c in trunk.channels)


def load_whole_trunk(trunk: Backbone, state: dict[str, Tensor], path: Path) -> bool:
    """Put into ``trunk`` what the state of a whole ``lpips`` module has for it; whether it has any.

    Raises ``ValueError``, which names the file at ``path``, where tensors of it are missing.
    """
    whole = {_SLICE.sub(r"features.\1.\2", key): value for key, value in state.items()}
    if not any(key.startswith("features.") for key in whole):
        return False
    expected = trunk.state_dict()
    if not set(expected) <= set(whole):
        raise ValueError(f"{path}: {min(set(expected) - set(whole))} is missing")
    trunk.load_state_dict({key: whole[key] for key in expected})
    return True


def load_heads(metric: LPIPS, state: dict[str, Tensor], path: Path) -> None:
    """Put the linear heads in ``state``, read from ``path``, into ``metric``.

    Raises ``ValueError`` where one is missing or of another shape.
    """
    for index, head in enumerate(metric.heads):
        key = f"lin{index}.model.1.weight"
        if key not in state or state[key].shape != head.shape:
            found = tuple(state[key].shape) if key in state else "nothing"
            raise ValueError(
                f"{path}: not the heads of {metric.name}: expected {key} of shape "
                f"{tuple(head.shape)}, found {found}"
            )
        with torch.no_grad():
            head.copy_(state[key])


_PLACE = "stlpips_pytorch/weights/vST0.0/"
#: The file of each whole module in the package ``stlpips-pytorch``, and its digest.
SHIFT_TOLERANT_FILES: dict[BackboneName, tuple[str, str]] = {
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
SHIFT_TOLERANT_TAPS: dict[BackboneName, dict[int, int]] = {
    "alex": {2: 64, 6: 192, 10: 384, 12: 256, 14: 256},
    "vgg": {3: 64, 9: 128, 17: 256, 25: 512, 33: 512},
}
#: The least side of an image that can be padded by reflection wherever that is done.
SHIFT_TOLERANT_SMALLEST: dict[BackboneName, int] = {"alex": 21, "vgg": 18}
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


def shift_tolerant_trunk(name: BackboneName) -> Backbone:
    """AlexNet without strides in its convolutions, or VGG-16; each halving by :class:`BlurPool`."""
    return Backbone({"alex": _alex, "vgg": _vgg}[name](), SHIFT_TOLERANT_TAPS[name])


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
