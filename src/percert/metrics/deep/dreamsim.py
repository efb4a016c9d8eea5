"""DreamSim and its parts, through its authors' package."""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from percert.check import check_choice, check_images, check_same_count, one_line
from percert.extras import install_package
from percert.images import Resize
from percert.metrics.certified.embedding import cosine_distance
from percert.metrics.deep.weight_files import UnavailableError, cache_folder
from percert.metrics.metric import Metric
from percert.tensors import Embeddings, Images

#: What its networks see.
SIDE = 224
#: What the package calls ``dreamsim_type``. Embeddings have 1792 values, 768, 512 and 512.
PARTS = ("ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32")
RELEASES = "https://github.com/ssundaram21/dreamsim/releases"


class DreamSim(Metric):
    """DreamSim: 1 - cosine of an ensemble's embeddings, in [0, 2] (Fu and others, NeurIPS 2023).

    Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and gives
    ``(n,)``. ``part`` is ``"ensemble"``, all three networks, or one of them, each as DreamSim's
    authors fine-tuned it on NIGHT (the rows DINO, CLIP and OpenCLIP of LipSim's Tables 1 and 3):
    ``"dino_vitb16"``, ``"clip_vitb32"``, ``"open_clip_vitb32"``.

    The network and its weights come from the ``dreamsim`` package, which fetches them into the
    folder ``checkpoint`` (by default one in percert's cache) when they are not there. Images of any
    size are resized to 224 x 224 by antialiased bicubic interpolation, without rounding to 8 bits;
    gradients reach both images. It moves to the images' device by itself. Raises ``ValueError``
    where the package cannot be imported or its weights cannot be had.

    >>> DreamSim("random")
    Traceback (most recent call last):
    ValueError: dreamsim: has no random weights; expected a folder, found 'random'
    """

    def __init__(self, checkpoint: str | Path | None = None, part: str = "ensemble") -> None:
        super().__init__()
        if str(checkpoint) == "random":
            raise ValueError("dreamsim: has no random weights; expected a folder, found 'random'")
        self.folder = default_folder() if checkpoint is None else Path(checkpoint)
        self.part = check_choice(part, PARTS, "dreamsim")
        self.resize = Resize((SIDE, SIDE), "bicubic")
        # Not registered: the package keeps parts of itself outside of torch's reach.
        self._loaded: dict[str, Any] = {"cpu": load_dreamsim(part, self.folder, "cpu")}

    def embed(self, images: Images) -> Embeddings:
        """The package's embedding of each image, ``(n, k)``."""
        device = str(images.device)
        if device not in self._loaded:
            self._loaded[device] = load_dreamsim(self.part, self.folder, device)
        small = self.resize(images.float()).clamp(0, 1)
        embeddings: Tensor = self._loaded[device].embed(small)
        return embeddings.reshape(len(images), -1)  # the package squeezes a batch of one

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        check_same_count(check_images(reference, "reference"), check_images(candidate, "candidate"))
        if len(reference) == 0:
            return reference.new_zeros(0)
        return cosine_distance(self.embed(reference), self.embed(candidate))


def default_folder() -> Path:
    """Where the package's weights lie if nobody says otherwise: ``dreamsim`` in the cache."""
    return cache_folder() / "dreamsim"


def load_dreamsim(part: str, folder: Path, device: str) -> Any:
    """What the package makes of one of :data:`PARTS`, its weights in ``folder``, without gradients.

    Raises :class:`UnavailableError`, a ``ValueError``, where the package or the weights cannot be
    had, with what to fetch.
    """
    try:
        package = import_module("dreamsim")
    except (ImportError, RuntimeError) as error:  # torchvision raises the second without its ops
        raise UnavailableError(
            f"dreamsim: its package cannot be imported ({one_line(error)}): "
            f"{install_package('dreamsim')}"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model, _ = package.dreamsim(
            pretrained=True, device=device, cache_dir=str(folder), dreamsim_type=part
        )
    except (OSError, EOFError) as error:
        archive = "dreamsim" if part == "ensemble" else f"dreamsim_{part}"
        raise UnavailableError(
            f"dreamsim, {part}: its weights are not in {folder} and could not be fetched "
            f"({one_line(error)}); fetch {archive}_checkpoint.zip and the backbones of {RELEASES}, "
            f"and unpack them in {folder}"
        ) from None
    return model.eval().requires_grad_(False) if isinstance(model, nn.Module) else model
