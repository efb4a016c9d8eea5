"""Cards of classifiers: network, weights, and what is done to images before the first layer.

A card is a TOML file, of which some come with percert.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from percert.check import check_choice, check_images
from percert.images import Resize
from percert.tensors import Images
from percert.toml_file import check_keys, parse_toml, read_toml

Channels = Literal["rgb", "bgr"]


class Preprocessing(nn.Module):
    """sRGB images in [0, 1] to the input that a network was trained on.

    ``(scale * channels(resize(images)) - mean) / std``: ``size`` (height, width) is what every
    image is resized to (antialiased bicubic), ``None`` keeps its own; ``channels`` is their order;
    ``mean`` and ``std`` are in that order and in units of ``scale``. Differentiable; it has no
    weights. Raises ``ValueError`` for anything but images in [0, 1].

    >>> caffe = Preprocessing(mean=(104, 117, 123), channels="bgr", scale=255)
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
    """A network behind its :class:`Preprocessing`: takes sRGB images in [0, 1], gives logits.

    >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> PreparedClassifier(Preprocessing(mean=(0.5, 0.5, 0.5)), head)(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, preparation: Preprocessing, network: nn.Module) -> None:
        super().__init__()
        self.preparation = preparation
        self.network = network

    def forward(self, images: Images) -> Tensor:
        """The logits, ``(n, classes)``."""
        scores: Tensor = self.network(self.preparation(images))
        return scores


@dataclass(frozen=True, kw_only=True)
class ClassifierCard:
    """One classifier: its network, its weights, and what is done to images before.

    ``architecture`` is ``"squeezenet1_0"``, ``"efficientnet-lite0"`` (1, 2), ``"timm:NAME"``,
    ``"torchvision:NAME"`` or ``"package.module:factory"``; ``weights`` a file, or else
    ``weights_package`` one inside an installed Python package, ``"module/path"``, of which
    ``sha256`` is the digest. For the rest see :class:`~percert.models.card.Preprocessing`;
    ``size`` is (height, width), or ``None`` for the images' own. ``classes`` is the number of
    logits, where the architecture has a choice. In the file, ``class_names`` is a list, or
    ``"imagenet-1k"`` for the names that come with percert.
    """

    architecture: str
    weights: Path | None = None
    weights_package: str | None = None
    sha256: str | None = None
    classes: int | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: Channels = "rgb"
    scale: float = 1.0
    size: tuple[int, int] | None = None
    class_names: tuple[str, ...] = ()

    def preparation(self) -> Preprocessing:
        """What is done to images, as a module."""
        return Preprocessing(
            mean=self.mean, std=self.std, channels=self.channels, scale=self.scale, size=self.size
        )


def shipped_cards() -> list[str]:
    """The names of the cards that come with percert.

    >>> shipped_cards()
    ['efficientnet-lite0', 'efficientnet-lite1', 'efficientnet-lite2', 'squeezenet1_0']
    """
    folder = files("percert.models") / "cards"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def shipped_card(name: str) -> ClassifierCard:
    """The card called ``name`` that comes with percert.

    >>> shipped_card("squeezenet1_0").channels
    'bgr'
    """
    text = (files("percert.models") / "cards" / f"{name}.toml").read_text(encoding="utf-8")
    return _card(parse_toml(text, name), name, Path())


def read_card(path: str | Path) -> ClassifierCard:
    """The card in the TOML file at ``path``; its ``weights`` count from its own folder.

    Raises ``ValueError`` for a file that is missing or no TOML, an unknown key, a missing
    ``architecture``, and values that mean nothing.
    """
    path = Path(path)
    return _card(read_toml(path), str(path), path.parent)


def _card(entries: dict[str, Any], name: str, folder: Path) -> ClassifierCard:
    check_keys(ClassifierCard, entries, name)
    if not isinstance(entries.get("architecture"), str):
        raise ValueError(f'{name}: expected architecture = "...", as in the example card')
    made = dict(entries)
    for key in ("mean", "std"):
        if key in made:
            made[key] = _numbers(made[key], f"{name}: {key}")
    if "size" in made:
        made["size"] = _size(made["size"], f"{name}: size")
    classes = made.get("classes", 1)
    if type(classes) is not int or classes < 1:
        raise ValueError(f"{name}: classes: expected a whole number above 0, found {classes!r}")
    if not isinstance(made.get("scale", 1), (int, float)):
        raise ValueError(f"{name}: scale: expected a number, found {made['scale']!r}")
    if "weights" in made:
        if not isinstance(made["weights"], str):
            raise ValueError(f"{name}: weights: expected a file, found {made['weights']!r}")
        made["weights"] = folder / made["weights"]
    _check_package(made, name)
    if "class_names" in made:
        made["class_names"] = _class_names(made["class_names"], f"{name}: class_names")
    card = ClassifierCard(**made)
    try:
        card.preparation()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None
    if card.class_names and card.classes not in (None, len(card.class_names)):
        raise ValueError(
            f"{name}: expected {card.classes} class_names, found {len(card.class_names)}"
        )
    return card


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes (ILSVRC-2012), in the order of its models' logits.

    >>> imagenet_classes()[0], imagenet_classes()[285], len(imagenet_classes())
    ('tench', 'Egyptian cat', 1000)
    """
    text = (files("percert.models") / "classes" / "imagenet-1k.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def _check_package(entries: dict[str, Any], name: str) -> None:
    place, digest = entries.get("weights_package"), entries.get("sha256")
    if place is None and digest is None:
        return
    if "weights" in entries:
        raise ValueError(f"{name}: expected weights or weights_package, found both")
    if not isinstance(place, str) or not re.fullmatch(r"[A-Za-z_]\w*(/[\w-][\w.-]*)+", place):
        raise ValueError(f'{name}: weights_package: expected "module/path/inside", found {place!r}')
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(
            f"{name}: sha256: expected the 64 hexadecimal digits of {place}, found {digest!r}"
        )


def _class_names(value: Any, what: str) -> tuple[str, ...]:
    if value == "imagenet-1k":
        return imagenet_classes()
    if isinstance(value, list):
        return tuple(map(str, value))
    raise ValueError(f'{what}: expected a list of names or "imagenet-1k", found {value!r}')


def _numbers(value: Any, what: str) -> tuple[float, ...]:
    if isinstance(value, list) and all(isinstance(entry, (int, float)) for entry in value):
        return tuple(map(float, value))
    raise ValueError(f"{what}: expected a list of 3 numbers, found {value!r}")


def _size(value: Any, what: str) -> tuple[int, int] | None:
    if value == "own":
        return None
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) == 2 and all(type(side) is int and side > 0 for side in sides):
        return sides[0], sides[1]
    raise ValueError(f'{what}: expected a side, [height, width] or "own", found {value!r}')
