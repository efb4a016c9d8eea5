"""Reading the checkpoints that the authors of LipSim publish.

Their file is a PyTorch pickle: a dict whose ``model_state_dict`` has keys such as
``module.model.convs.0.kernel`` and ``module.model.linear.1.weight`` (the dense layers start at 1,
behind a flatten). Every layer is there twice, again under ``base``. In their convolutions q and 1/q
multiply the same axis and cancel, so q does nothing; in ours it acts, and the one that gives the
same function is q = 1.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from percert.lipschitz.lipsim import LipSimSize

_LAYER = re.compile(r"^(?P<prefix>.*?)(?P<part>convs|linear)\.(?P<index>\d+)\.(?P<kind>\w+)$")
_AGAIN = re.compile(r"(^|\.)base\.\d+\.")


def read_authors_checkpoint(path: Path, size: LipSimSize) -> dict[str, Tensor]:
    """The state dict of our ``lipsim_network`` of this ``size``, from the authors' file.

    Read with ``weights_only=True``: no code in the file runs. Raises ``ValueError``, which names
    the file, for anything that is not such a checkpoint: missing, unexpected or non-finite
    tensors, other shapes, other files.
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
        return convert_authors_state(state, size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


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
