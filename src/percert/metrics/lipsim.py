"""The LipSim metrics: the authors' networks, with their weights or with yours."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from percert.images import Resize
from percert.lipschitz.authors_checkpoint import read_authors_checkpoint
from percert.lipschitz.lipsim import SIZES, lipsim_network
from percert.lipschitz.network import LipschitzNetwork
from percert.metrics.embedding import EmbeddingMetric

#: Where the authors link their weights. Their licence is not stated there.
PUBLISHED = "https://github.com/SaraGhazanfari/lipsim (README, section Checkpoints)"


def lipsim(size: str, checkpoint: Path | str | None) -> EmbeddingMetric:
    """LipSim ``size`` ("small", "medium", "large"): 224 x 224 inside, embeddings of 1792 values.

    ``checkpoint`` is the authors' PyTorch file, a ``.safetensors`` of a ``lipsim_network``'s state
    dict, or ``"random"`` for seeded random weights. Images are resized by antialiased bicubic
    interpolation, the kind the authors evaluate with (they round to 8 bits after it, we do not),
    and a constant 1 is appended to the embedding as theirs (Ghazanfari et al., section 4.2).
    Raises ``ValueError`` without a checkpoint and for one that does not fit.

    >>> lipsim("small", None)
    Traceback (most recent call last):
    ValueError: lipsim-small: needs a checkpoint: ...
    """
    if size not in SIZES:
        raise ValueError(f"lipsim: expected size {', '.join(map(repr, SIZES))}, found {size!r}")
    name, shape = f"lipsim-{size}", SIZES[size]
    if checkpoint is None:
        raise ValueError(
            f"{name}: needs a checkpoint: download the authors' weights from {PUBLISHED} and pass "
            'the file, or a .safetensors of your own, or "random" for untrained weights'
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lipsim_network(shape, name)
    if str(checkpoint) != "random":
        path = Path(checkpoint)
        if path.suffix == ".safetensors":
            load_own(network, path)
        else:
            network.load_state_dict(read_authors_checkpoint(path, shape))
    resize = Resize((shape.side, shape.side), "bicubic")
    # float64: what float32 may lose is more than the radii of this network.
    return EmbeddingMetric(network.double().eval(), resize, constant=1.0, name=name).eval()


def load_own(network: LipschitzNetwork, path: Path) -> None:
    """Loads a state dict from safetensors. Raises ``ValueError`` where it does not fit."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError(f"{path}: holds NaN or infinite values")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {network.name}: {error}") from error
