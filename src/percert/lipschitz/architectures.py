"""The 1-Lipschitz architectures: LipSim's, with its authors' files, and lipsim-tiny's.

LipSim (Ghazanfari et al., ICLR 2024, section 5.2): convolutional SLL, two norm-1 pools, dense SLL,
truncation. The paper gives the numbers of layers; the channels, the inner widths (5 of the
convolutions, a bottleneck) and the order of the layers are facts of the authors' public code, and
the inner widths of a file are read off it.

The authors' file is a PyTorch pickle: a dict whose ``model_state_dict`` has keys such as
``module.model.convs.0.kernel`` and ``module.model.linear.1.weight`` (the dense layers start at 1,
behind a flatten). Every layer is there twice, again under ``base``. In their convolutions q and 1/q
multiply the same axis and cancel, so q does nothing; in ours it acts, and the one that gives the
same function is q = 1.

lipsim-tiny: orthogonal mixing at 64 px, blind to left and right; and the same with the layers of
LipNeXt (2026) or of BRONet (Lai et al., 2025).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from percert.check import check_choice
from percert.lipschitz.fixed_layers import (
    Flatten,
    HalfAbs,
    L2Pool,
    NormOnePool,
    SubtractMean,
    Truncate,
    ZeroChannelPad,
)
from percert.lipschitz.mirror import MirrorFold, MirrorHaar, MirrorLift, MirrorZeroPad
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.orthogonal import Form, OrthogonalMix, Shift
from percert.lipschitz.reflector import ReflectorConv
from percert.lipschitz.sll import SLLConv, SLLDense


@dataclass(frozen=True)
class LipSimSize:
    """How large a LipSim network is. ``side`` is a multiple of 16, the two pools' reduction.

    >>> SIZES["small"].features  # values after the pools: 45 channels of 14 x 14
    8820
    """

    depth: int
    channels: int
    dense_depth: int
    dense_inner: int
    conv_inner: int = 5
    embedding: int = 1792
    side: int = 224

    @property
    def features(self) -> int:
        """The number of values after the pools, which the dense layers keep."""
        return self.channels * (self.side // 16) ** 2


#: By name. 1792 is the length of the ensemble teacher's embedding (two of 512, one of 768).
SIZES = {
    "small": LipSimSize(depth=20, channels=45, dense_depth=7, dense_inner=1024),
    "medium": LipSimSize(depth=30, channels=60, dense_depth=10, dense_inner=2048),
    "large": LipSimSize(depth=50, channels=90, dense_depth=10, dense_inner=2048),
}


def lipsim_network(size: LipSimSize, name: str = "lipsim") -> LipschitzNetwork:
    """A LipSim network with fresh random weights, 1-Lipschitz whatever its weights are.

    Images ``(n, 3, side, side)`` in [0, 1], not normalised, to ``(n, embedding)``. Raises
    ``ValueError`` for sizes that do not fit together.

    >>> tiny = LipSimSize(1, 6, 1, 4, embedding=10, side=32)
    >>> network = lipsim_network(tiny)
    >>> [type(layer).__name__ for layer in network.layers][:3]
    ['ZeroChannelPad', 'SLLConv', 'NormOnePool']
    """
    if size.side % 16 or size.embedding > size.features:
        raise ValueError(
            f"{name}: expected a side that is a multiple of 16 and at most {size.features} "
            f"embedding values, found side {size.side} and {size.embedding} values"
        )
    layers: list[nn.Module] = [ZeroChannelPad(size.channels)]
    layers += [SLLConv(size.channels, size.conv_inner) for _ in range(size.depth)]
    layers += [NormOnePool(4), NormOnePool(4), Flatten()]
    layers += [SLLDense(size.features, size.dense_inner) for _ in range(size.dense_depth)]
    layers.append(Truncate(size.embedding))
    return LipschitzNetwork(
        layers, resolution=(size.side, size.side), name=name, channels_last=True
    )


_LAYER = re.compile(r"^(?P<prefix>.*?)(?P<part>convs|linear)\.(?P<index>\d+)\.(?P<kind>\w+)$")
_AGAIN = re.compile(r"(^|\.)base\.\d+\.")


def read_authors_checkpoint(
    path: Path, size: LipSimSize | None = None, *, embedding: int = 1792
) -> tuple[dict[str, Tensor], LipSimSize]:
    """The state dict of our ``lipsim_network`` from the authors' file, and that network's size.

    The inner widths of the layers are the file's. With a ``size`` everything else has to be that;
    without one it is read off the file as well, but for the length of the ``embedding``, which no
    weight tells: 1792 of the ensemble teacher's, 768 of DINO's, 512 of OpenCLIP's. Read with
    ``weights_only=True``: no code in the file runs. Raises ``ValueError``, which names the file,
    for anything that is not such a checkpoint: missing, unexpected or non-finite tensors, other
    shapes, other files.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a malformed pickle raises whatever it leads to
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path}: not a PyTorch checkpoint of plain tensors ({why})") from error
    state = loaded.get("model_state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f"{path}: expected a dict of tensors, or one under 'model_state_dict', "
            f"found {type(state).__name__}"
        )
    try:
        found = _with_inner_widths(size or _size_of(state, embedding), state)
        return convert_authors_state(state, found), found
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _size_of(state: Mapping[str, Tensor], embedding: int) -> LipSimSize:
    """The numbers of layers, the channels and the side of the authors' network in ``state``."""
    kernels, dense = _layers(state, "convs", "kernel"), _layers(state, "linear", "weight")
    if not kernels or not dense or kernels[0].ndim != 4 or dense[0].ndim != 2:
        raise ValueError("expected convolutional and dense layers, found none of one kind")
    channels, features = kernels[0].shape[1], dense[0].shape[1]
    side = 16 * math.isqrt(features // channels)
    found = LipSimSize(len(kernels), channels, len(dense), 1, embedding=embedding, side=side)
    if found.features != features:
        raise ValueError(
            f"expected dense layers of {channels} channels times a square, found {features} values"
        )
    return found


def _with_inner_widths(size: LipSimSize, state: Mapping[str, Tensor]) -> LipSimSize:
    kernels, dense = _layers(state, "convs", "kernel"), _layers(state, "linear", "weight")
    return replace(
        size,
        conv_inner=len(kernels[0]) if kernels else size.conv_inner,
        dense_inner=len(dense[0]) if dense else size.dense_inner,
    )


def _layers(state: Mapping[str, Tensor], part: str, kind: str) -> list[Tensor]:
    """The tensors of one kind of all layers, in their order."""
    found = {}
    for key, value in state.items():
        match = _LAYER.match(key)
        if match and not _AGAIN.search(key) and (match["part"], match["kind"]) == (part, kind):
            found[int(match["index"])] = value
    return [found[index] for index in sorted(found) if found[index].ndim]


def convert_authors_state(state: Mapping[str, Tensor], size: LipSimSize) -> dict[str, Tensor]:
    """Our state dict from theirs, float32. Raises ``ValueError`` where it does not fit ``size``."""
    theirs = {k: v for k, v in state.items() if not _AGAIN.search(k) and "alpha" not in k}
    found = {key: match for key in theirs if (match := _LAYER.match(key))}
    prefixes = sorted({match["prefix"] for match in found.values()})
    if len(prefixes) != 1:
        raise ValueError(
            "expected the layers of one network, keys such as 'module.model.convs.0.kernel', "
            f"found {'none' if not prefixes else f'those of {prefixes}'}"
        )
    wanted = _wanted(size)
    expected = {prefixes[0] + key for key in wanted}
    missing, unexpected = sorted(expected - set(theirs)), sorted(set(theirs) - expected)
    if missing or unexpected:
        raise ValueError(
            f"not a network of {size.depth} convolutional and {size.dense_depth} dense layers: "
            f"missing {missing[:3]} ({len(missing)} in all), "
            f"unexpected {unexpected[:3]} ({len(unexpected)} in all)"
        )
    ours: dict[str, Tensor] = {}
    for key, (name, shape) in wanted.items():
        value = theirs[prefixes[0] + key]
        if value.squeeze().shape != torch.Size(shape) and value.shape != torch.Size(shape):
            raise ValueError(f"{key}: expected shape {shape}, found {tuple(value.shape)}")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{key}: holds NaN or infinite values")
        value = value.reshape(shape).to(torch.float32, copy=True)
        cancels = key.startswith("convs") and key.endswith(".q")
        ours[name] = torch.zeros_like(value) if cancels else value
    return ours


def _wanted(size: LipSimSize) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Their key: our key and shape. Ours count the layers of one sequence, the pad first."""
    c, inner, features, dense = size.channels, size.conv_inner, size.features, size.dense_inner
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    for i in range(size.depth):
        ours = f"layers.{1 + i}"
        wanted[f"convs.{i}.kernel"] = (f"{ours}.weight", (inner, c, 3, 3))
        wanted[f"convs.{i}.bias"] = (f"{ours}.bias", (inner,))
        wanted[f"convs.{i}.q"] = (f"{ours}.log_q", (inner,))
    for i in range(size.dense_depth):
        ours = f"layers.{1 + size.depth + 3 + i}"
        wanted[f"linear.{1 + i}.weight"] = (f"{ours}.weight", (dense, features))
        wanted[f"linear.{1 + i}.bias"] = (f"{ours}.bias", (dense,))
        wanted[f"linear.{1 + i}.q"] = (f"{ours}.log_q", (dense,))
    return wanted


#: What the network at 64 px is built of: our own choice, and those of two others.
Architecture: TypeAlias = Literal["orthogonal", "lipnext", "bronet"]
FORMS: dict[Architecture, Form] = {
    "orthogonal": "cayley",
    "lipnext": "manifold",
    "bronet": "reflector",
}


@dataclass(frozen=True)
class TinyShape:
    """How wide and deep: ``width`` channels at a quarter of the resolution, then twice as many.

    ``depths`` are the mixing blocks at each scale, down to 4 x 4: three of them see images of
    64 x 64, each further one twice that. ``embedding`` is the length of the result, ``dense`` the
    number of dense SLL layers with ``inner`` hidden units at its end.

    ``architecture`` is what it is built of. ``"orthogonal"``: shifts, and Cayley transforms across
    the channels. ``"lipnext"``: shifts, orthogonal matrices that are trained on their manifold, and
    the length of every channel at the end, where the others keep 2 x 2 places. ``"bronet"``:
    periodic 3 x 3 convolutions by block reflectors, and reflectors where it narrows.

    >>> TinyShape().side, TinyShape(depths=(2, 2, 3, 3)).side
    (64, 128)
    """

    width: int = 96
    depths: tuple[int, ...] = (3, 3, 3)
    embedding: int = 1024
    dense: int = 1
    inner: int = 512
    architecture: Architecture = "orthogonal"

    def __post_init__(self) -> None:
        check_choice(self.architecture, get_args(Architecture), "architecture")
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.width < 48 or self.width % 8 or self.embedding % 16 or not self.depths:
            raise ValueError(
                "TinyShape: expected a width of at least 48 that 8 divides, an embedding that 16 "
                f"divides and a depth, found {self.width}, {self.embedding} and {self.depths}"
            )
        channels = self.width << (len(self.depths) + 1)
        if self.embedding // self.places > channels:
            raise ValueError(
                f"TinyShape: expected an embedding of at most {channels * self.places}, "
                f"found {self.embedding}"
            )

    @property
    def places(self) -> int:
        """The pixels at the end, each of which has channels of its own in the embedding."""
        return 1 if self.architecture == "lipnext" else 4

    @property
    def side(self) -> int:
        """The height and width of the images that the network sees."""
        return 8 << len(self.depths)


#: Every photograph that lipsim-tiny embeds is first resized to this height and width.
RESOLUTION = (TinyShape().side,) * 2


def tiny_network(shape: TinyShape | None = None) -> LipschitzNetwork:
    """Images ``(n, 3, side, side)`` in [0, 1] to embeddings ``(n, embedding)``, 1-Lipschitz.

    Subtracts the mean colour, folds 4 x 4 pixels, mixes; then at every scale folds 2 x 2 pixels by
    their Haar transform and keeps as many channels as the shape says. Every layer but the dense
    SLL keeps norms or is a learned projection, so energy is lost only where training drops it. An
    image and its mirror image have the very same embedding.

    >>> import torch
    >>> network = tiny_network(TinyShape(width=48, depths=(1, 1, 1), embedding=64))
    >>> network(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 64])
    """
    shape = shape or TinyShape()

    def mix(channels: int, out: int | None = None) -> OrthogonalMix:
        # Near the identity the network starts as a norm-1 thumbnail, which is a good start.
        form = FORMS[shape.architecture]
        return OrthogonalMix(channels, out, mirror=True, form=form, spread=0.1)

    def blocks(channels: int, side: int, depth: int) -> list[nn.Module]:
        found: list[nn.Module] = []
        for _ in range(depth):
            if shape.architecture == "bronet":
                found += [ReflectorConv(channels, side, mirror=True), HalfAbs()]
            else:
                found += [Shift(mirror=True), mix(channels), HalfAbs()]
        return found

    wide, side = shape.width, shape.side // 4
    layers: list[nn.Module] = [SubtractMean(), MirrorLift(4), MirrorZeroPad(wide)]
    layers += [mix(wide), HalfAbs(), *blocks(wide, side, shape.depths[0])]
    for depth in shape.depths[1:]:
        wide, side = 2 * wide, side // 2
        layers += [MirrorHaar(), mix(2 * wide, wide), HalfAbs(), *blocks(wide, side, depth)]
    layers += [MirrorHaar(), mix(4 * wide, shape.embedding // shape.places)]
    layers += [L2Pool(), MirrorFold()] if shape.architecture == "lipnext" else [MirrorFold()]
    layers += [SLLDense(shape.embedding, shape.inner) for _ in range(shape.dense)]
    return LipschitzNetwork(layers, resolution=(shape.side,) * 2, name="lipsim-tiny")
