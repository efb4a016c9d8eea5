"""What an evaluation has computed so far, on the disk: a run that was killed goes on there."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from percert.certify.features import PixelFeatures
from percert.evaluation.copies_attacked import Outcome
from percert.evaluation.copies_detector import Described
from percert.evaluation.copies_edited import Chunk
from percert.evaluation.copies_gallery import Gallery
from percert.lipschitz.bound import LipschitzBound
from percert.reports.page import write_whole


@dataclass(frozen=True)
class Parts:
    """Results by name in ``folder``, each a file that is whole or not there; none is kept where
    ``folder`` is ``None``. Names with the same settings must mean the same result.
    """

    folder: Path | None = None

    def load(self, name: str) -> Any:
        """What was kept as ``name``: plain values and tensors. Ask :meth:`has` before."""
        return torch.load(self._path(name), weights_only=True)

    def save(self, name: str, packed: Any) -> None:
        """Keep plain values and tensors as ``name``, where there is a folder for them."""
        if self.folder is not None:
            buffer = io.BytesIO()
            torch.save(packed, buffer)
            write_whole(self._path(name), buffer.getvalue())

    def has(self, name: str) -> bool:
        """Whether ``name`` is kept."""
        return self.folder is not None and self._path(name).exists()

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise ValueError("parts: expected a folder that keeps them, found none")
        # A detector's name may hold anything, a file's path among it.
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.pt"


def pack_chunks(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """Plain values and tensors of described pictures."""
    return [
        {
            "places": list(chunk.places),
            "size": list(chunk.size),
            "vectors": chunk.described.vectors,
            "features": _pack_features(chunk.described.features),
        }
        for chunk in chunks
    ]


def unpack_chunks(kept: list[dict[str, Any]]) -> list[Chunk]:
    """The inverse of :func:`pack_chunks`."""
    return [
        Chunk(
            tuple(one["places"]),
            (one["size"][0], one["size"][1]),
            Described(one["vectors"], _unpack_features(one["features"])),
        )
        for one in kept
    ]


def pack_gallery(gallery: Gallery) -> dict[str, Any]:
    return {
        "vectors": gallery.vectors,
        "h": gallery.h,
        "constant": gallery.constant,
        "feature_error": gallery.feature_error,
        "content": gallery.content,
    }


def unpack_gallery(kept: dict[str, Any]) -> Gallery:
    return Gallery(**kept)


def pack_outcome(outcome: Outcome) -> dict[str, Any]:
    found = vars(outcome).items()
    return {name: None if value is None else torch.from_numpy(value) for name, value in found}


def unpack_outcome(kept: dict[str, Any]) -> Outcome:
    arrays = {
        name: None if value is None else np.asarray(value.numpy()) for name, value in kept.items()
    }
    return Outcome(**arrays)  # type: ignore[arg-type]  # the names are those of pack_outcome


def _pack_features(features: PixelFeatures | None) -> dict[str, Any] | None:
    if features is None:
        return None
    bound = features.bound
    return {
        "h": features.h,
        "constant": features.constant,
        "error": features.error,
        "content": features.content,
        "relative": features.relative,
        "bound": bound.value,
        "proof": bound.proof,
        "resolution": None if bound.resolution is None else list(bound.resolution),
    }


def _unpack_features(kept: dict[str, Any] | None) -> PixelFeatures | None:
    if kept is None:
        return None
    resolution = kept["resolution"]
    bound = LipschitzBound(
        kept["bound"], kept["proof"], None if resolution is None else tuple(resolution)
    )
    return PixelFeatures(
        kept["h"], kept["constant"], kept["error"], kept["relative"], bound, kept["content"]
    )
