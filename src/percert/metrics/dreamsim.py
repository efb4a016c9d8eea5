"""DreamSim, through its authors' package."""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from percert.check import check_images, check_same_count
from percert.images import Resize
from percert.metrics.embedding import cosine_distance
from percert.metrics.weight_files import cache_folder
from percert.tensors import Embeddings, Images

#: What its networks see.
SIDE = 224


class DreamSim(nn.Module):
    """DreamSim (Fu, Tamir and others, NeurIPS 2023): 1 - cosine of an ensemble's embeddings.

    The network and its weights come from the ``dreamsim`` package, which fetches them into
    ``folder`` when they are not there. Images of any size are resized to 224 x 224 by antialiased
    bicubic interpolation, without rounding to 8 bits; gradients reach both images. It moves to the
    images' device by itself. Raises ``ValueError`` where the package cannot be imported or its
    weights cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.resize = Resize((SIDE, SIDE), "bicubic")
        # Not registered: the package keeps parts of itself outside of torch's reach.
        self._loaded: dict[str, Any] = {"cpu": _load(folder, "cpu")}

    def embed(self, images: Images) -> Embeddings:
        """The ensemble's embedding of each image, ``(n, k)``."""
        device = str(images.device)
        if device not in self._loaded:
            self._loaded[device] = _load(self.folder, device)
        small = self.resize(images.float()).clamp(0, 1)
        embeddings: Tensor = self._loaded[device].embed(small)
        return embeddings.reshape(len(images), -1)  # the package squeezes a batch of one

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        check_same_count(check_images(reference, "reference"), check_images(candidate, "candidate"))
        if len(reference) == 0:
            return reference.new_zeros(0)
        return cosine_distance(self.embed(reference), self.embed(candidate))


def dreamsim(checkpoint: str | Path | None = None) -> DreamSim:
    """DreamSim with the weights in the folder ``checkpoint``, by default ``dreamsim`` in the cache.

    >>> dreamsim("random")
    Traceback (most recent call last):
    ValueError: dreamsim: has no random weights; expected a folder, found 'random'
    """
    if str(checkpoint) == "random":
        raise ValueError("dreamsim: has no random weights; expected a folder, found 'random'")
    return DreamSim(cache_folder() / "dreamsim" if checkpoint is None else Path(checkpoint))


def _load(folder: Path, device: str) -> Any:
    try:
        package = import_module("dreamsim")
    except (ImportError, RuntimeError) as error:  # torchvision raises the second without its ops
        raise ValueError(
            f"dreamsim: its package cannot be imported ({error}); pip install dreamsim"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model, _ = package.dreamsim(pretrained=True, device=device, cache_dir=str(folder))
    except OSError as error:
        raise ValueError(
            f"dreamsim: its weights are not in {folder} and could not be fetched ({error}); unpack "
            "the checkpoints of https://github.com/ssundaram21/dreamsim there"
        ) from None
    return model.eval().requires_grad_(False) if isinstance(model, nn.Module) else model
