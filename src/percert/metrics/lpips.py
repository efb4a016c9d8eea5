"""LPIPS: distances of unit-normalised features, calibrated by a linear head for each layer."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from percert.metrics.backbones import (
    FILES,
    SMALLEST,
    Backbone,
    BackboneName,
    backbone,
    load_backbone,
    seeded,
)
from percert.metrics.features import unit
from percert.metrics.pair import check_pair
from percert.metrics.weight_files import WeightFile, find_weights
from percert.models.weights import read_weights
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


class LPIPS(nn.Module):
    """LPIPS version 0.1 (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018): 0 at identity.

    The squared difference of unit-normalised features at five layers of AlexNet (``"alex"``) or
    VGG-16 (``"vgg"``), or seven of SqueezeNet 1.1 (``"squeeze"``), weighted by channel, averaged
    over positions, summed over layers. At the image's own size. Images are sRGB in [0, 1]; the
    normalisation is inside. An attack that asks for the same reference many times can compute
    ``features(reference)`` once and call :meth:`from_features`.

    >>> metric = lpips("squeeze", "random")
    >>> image = torch.rand(1, 3, 32, 32)
    >>> metric(image, image)
    tensor([0.])
    """

    if TYPE_CHECKING:
        shift: Tensor
        scale: Tensor

    def __init__(self, name: str, trunk: Backbone, smallest_side: int) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.smallest_side = smallest_side
        self.heads = nn.ParameterList(torch.rand(1, c, 1, 1) / c for c in trunk.channels)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

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


def lpips(name: BackboneName, checkpoint: str | Path | None = None) -> LPIPS:
    """LPIPS with its weights.

    ``checkpoint`` is a folder with the file of the heads (``alex.pth`` of the ``lpips`` package's
    version 0.1) and that of the network as torchvision publishes it; or a file of the heads alone;
    or one of a whole ``lpips.LPIPS`` module's state dict; or ``"random"`` for seeded random
    weights. Without it, both are looked for where :func:`find_weights` looks. Raises ``ValueError``
    that says what is missing and where to put it.
    """
    if str(checkpoint) == "random":
        return seeded(lambda: _untrained(name)).eval().requires_grad_(False)
    metric, title = _untrained(name), f"lpips-{name}"
    given = None if checkpoint is None else Path(checkpoint)
    path = find_weights(heads_file(name), title, given)
    state = read_weights(path)
    load_heads(metric, state, path)
    if not load_whole_trunk(metric.trunk, state, path):
        folder = given if given is not None and given.is_dir() else None
        load_backbone(metric.trunk, find_weights(FILES[name], title, folder))
    return metric.eval().requires_grad_(False)


def _untrained(name: BackboneName) -> LPIPS:
    return LPIPS(f"lpips-{name}", backbone(name), SMALLEST[name])


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
