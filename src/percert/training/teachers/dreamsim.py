"""DreamSim's ensemble and its parts as teachers, through their authors' package."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from percert.check import check_images
from percert.digest import file_sha256
from percert.images import Resize
from percert.metrics.dreamsim import SIDE, default_folder, load_dreamsim
from percert.tensors import Embeddings, Images

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
            self._models[device] = load_dreamsim(self.part, self.folder, device)
        small = self._resize(images.float()).clamp(0, 1)
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            found: Tensor = self._models[device].embed(small)
        # The package squeezes a batch of one.
        return found.reshape(len(images), -1).float().clone()


def dreamsim_teacher(part: str, weights: Path | None, *, bf16: bool = False) -> DreamSimTeacher:
    """The teacher of a part of DreamSim, its checkpoints in ``weights`` or in percert's cache.

    Raises ``ValueError`` where the package or its weights cannot be had.
    """
    folder = default_folder() if weights is None else weights
    model = load_dreamsim(part, folder, "cpu")
    return DreamSimTeacher(part, folder, model, bf16=bf16)


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
