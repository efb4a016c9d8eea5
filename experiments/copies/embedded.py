"""Embeddings of whole sets of pictures in views, kept on the disk part by part."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from percert.data.copy_edits import Edit, apply_edit
from percert.evaluation.copies.pictures import background_of
from percert.files import replacing
from percert.images import load_image
from percert.lipschitz.network import fold
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.ingest.views import find_view

#: Pictures of a part: what a run that is stopped does again.
PART = 200
Arrays = npt.NDArray[np.float32]
#: One picture as ``(1, 3, h, w)`` in [0, 1]; the number is its place in the set.
Picture = Callable[[int], Tensor]
#: Pictures to rows ``(n, v, k)``.
Embed = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class EmbeddedSet:
    """The rows ``(n, v, k)`` of a set, and the (height, width) ``(n, 2)`` of its pictures."""

    rows: Arrays
    sizes: npt.NDArray[np.int64]


def kept(
    folder: Path, name: str, count: int, picture: Picture, embed: Embed, *, half: bool = False
) -> EmbeddedSet:
    """The rows of ``count`` pictures, computed where ``folder`` does not have them.

    ``half`` keeps them in half precision, which moves a cosine by 1e-4 at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, sizes = [], []
    for start in range(0, count, PART):
        path = folder / f"{name}-{start}.npz"
        if not path.exists():
            some = [picture(place) for place in range(start, min(start + PART, count))]
            found = embed(some).float().numpy()
            with replacing(path) as waiting, waiting.open("wb") as file:
                np.savez(
                    file,
                    rows=found.astype(np.float16) if half else found,
                    sizes=np.array([one.shape[-2:] for one in some]),
                )
            print(f"{name}: {min(start + PART, count)} of {count}", flush=True)
        with np.load(path) as held:
            rows.append(held["rows"].astype(np.float32))
            sizes.append(held["sizes"])
    return EmbeddedSet(np.concatenate(rows), np.concatenate(sizes))


def of_files(paths: Sequence[Path]) -> Picture:
    """The pictures in files."""
    return lambda place: load_image(paths[place])[None].float()


def of_edit(paths: Sequence[Path], edit: Edit, seed: int = 0) -> Picture:
    """The pictures in files under ``edit``."""

    def opened(place: int) -> Image.Image:
        with Image.open(paths[place]) as file:
            return file.convert("RGB")

    def picture(place: int) -> Tensor:
        other = opened(background_of(place, len(paths))) if edit.needs_other else None
        made = np.asarray(apply_edit(edit, opened(place), seed, place, other))
        return torch.from_numpy(made.copy()).permute(2, 0, 1)[None].float() / 255

    return picture


def by_metric(metric: EmbeddingMetric, views: Sequence[str], *, exact: bool = False) -> Embed:
    """Raw embeddings in ``views``; in single precision unless ``exact``, at twice the cost."""
    folded = fold(metric)
    if not exact:
        folded = folded.float()
    network = cast(nn.Module, folded.network)
    precision = torch.float64 if exact else torch.float32
    cuts = [find_view(name) for name in views]

    def embed(pictures: Sequence[Tensor]) -> Tensor:
        small = [metric.resize(cut(one), dtype=precision) for one in pictures for cut in cuts]
        with torch.inference_mode():
            h = torch.cat([network(some) for some in torch.split(torch.cat(small), 32)])
        return h.view(len(pictures), len(views), -1)

    return embed


def by_each(describe: Callable[[Tensor], Tensor]) -> Embed:
    """Rows of pictures one by one, as a descriptor or a hash gives them."""

    def embed(pictures: Sequence[Tensor]) -> Tensor:
        with torch.inference_mode():
            return torch.stack([describe(one) for one in pictures])

    return embed


def pictures_in(folder: Path) -> list[Path]:
    """All pictures below ``folder``, in order."""
    kinds = (".png", ".jpg", ".jpeg")
    found = sorted(one for one in folder.rglob("*") if one.suffix.lower() in kinds)
    if not found:
        raise ValueError(f"{folder}: expected pictures, found none")
    return found


def fingerprint(*parts: object) -> str:
    """Sixteen digits that stand for ``parts``."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
