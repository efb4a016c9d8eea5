"""DreamSim's ensemble and its parts as teachers, through their authors' package."""

import hashlib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from percert.check import check_images
from percert.digest import file_sha256
from percert.images import Resize
from percert.metrics.weight_files import cache_folder
from percert.tensors import Embeddings, Images

#: What the package calls ``dreamsim_type``. Embeddings have 1792 values, 768, 512 and 512.
PARTS = ("ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32")
#: Its networks see this height and width.
SIDE = 224
RELEASES = "https://github.com/ssundaram21/dreamsim/releases"
#: Files of the folder that hold weights or say how they are used.
WEIGHTS = (".pth", ".pt", ".bin", ".tar", ".safetensors", ".json")


class DreamSimTeacher:
    """``images -> (n, d)``: the package's own embedding, of images resized to 224 x 224."""

    def __init__(self, part: str, folder: Path, model: Any, *, bf16: bool) -> None:
        self.name = f"dreamsim:{part}"
        self.part, self.folder, self.bf16 = part, folder, bf16
        self.fingerprint = _fingerprint(part, folder, bf16)
        self._resize = Resize((SIDE, SIDE), "bicubic")
        # The package keeps parts of itself outside of torch's reach: one model a device.
        self._models: dict[str, Any] = {"cpu": model}

    def __call__(self, images: Images, /) -> Embeddings:
        check_images(images)
        device = str(images.device)
        if device not in self._models:
            self._models[device] = _load(self.part, self.folder, device)
        small = self._resize(images.float()).clamp(0, 1)
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            found: Tensor = self._models[device].embed(small)
        # The package squeezes a batch of one.
        return found.reshape(len(images), -1).float().clone()


def dreamsim_teacher(part: str, weights: Path | None, *, bf16: bool = False) -> DreamSimTeacher:
    """The teacher of one of :data:`PARTS`, its checkpoints in ``weights`` or in percert's cache.

    Raises ``ValueError`` where the package or its weights cannot be had.
    """
    folder = cache_folder() / "dreamsim" if weights is None else weights
    model = _load(part, folder, "cpu")
    return DreamSimTeacher(part, folder, model, bf16=bf16)


def _load(part: str, folder: Path, device: str) -> Any:
    try:
        package = import_module("dreamsim")
    except (ImportError, RuntimeError) as error:  # torchvision raises the second without its ops
        raise ValueError(
            f"teacher dreamsim: its package cannot be imported ({error}); pip install dreamsim"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model, _ = package.dreamsim(
            pretrained=True, device=device, cache_dir=str(folder), dreamsim_type=part
        )
    except (OSError, EOFError) as error:
        archive = "dreamsim" if part == "ensemble" else f"dreamsim_{part}"
        raise ValueError(
            f"teacher dreamsim:{part}: its weights are not in {folder} and could not be fetched "
            f"({error}); fetch {archive}_checkpoint.zip and the backbones of {RELEASES}, and "
            f"unpack them in {folder}"
        ) from None
    return model.eval().requires_grad_(False) if isinstance(model, nn.Module) else model


def _fingerprint(part: str, folder: Path, bf16: bool) -> str:
    """Over the files of weights themselves: what the package makes of them torch does not see."""
    try:
        release = version("dreamsim")
    except PackageNotFoundError:
        release = "unknown"
    digest = hashlib.sha256(f"dreamsim {release} {part} {bf16}\n".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in WEIGHTS:
            digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()
