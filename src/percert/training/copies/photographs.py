"""The images of a run, decoded once and kept as bytes in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.data.labelled_images import read_labelled_images
from percert.images import Resize, find_images, load_image
from percert.tensors import Images, Labels
from percert.training.batch_edits import random_crop
from percert.training.copies.recipe import Data


@dataclass(frozen=True)
class Pool:
    """Images ``(n, 3, s, s)`` as uint8, and what is the same photograph or class ``(n,)``."""

    images: Tensor
    labels: Labels

    def take(self, rows: Labels) -> Images:
        return self.images[rows].float() / 255


def photograph_pool(root: Path, data: Data) -> Pool:
    """Every photograph of the folder, squeezed to ``data.side``, but for those held out."""
    folder = root / data.photographs
    paths = [
        path
        for index, path in enumerate(find_images([folder]))
        if not data.hold_out or index % data.hold_out != data.hold_out - 1
    ]
    if not paths:
        raise ValueError(f"{folder}: no photographs found")
    resize = Resize((data.side, data.side), "bicubic")
    images = [_to_bytes(resize(load_image(path)[None]))[0] for path in paths]
    return Pool(torch.stack(images), torch.arange(len(images)))


def labelled_pool(root: Path, data: Data, seed: int) -> Pool:
    """``data.labelled_count`` images of the parquet file, drawn at random; none without a file."""
    if not data.labelled:
        return Pool(torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.long))
    labelled = read_labelled_images(root / data.labelled)
    count = min(data.labelled_count, len(labelled.labels))
    rows = np.random.default_rng(seed).choice(len(labelled.labels), count, replace=False)
    return Pool(_to_bytes(labelled.decode(rows)), torch.from_numpy(labelled.labels[rows]))


def draw_photographs(
    pool: Pool, count: int, size: int, generator: Generator
) -> tuple[Images, Labels]:
    """Random crops of random photographs, ``(count, 3, size, size)``, and their rows."""
    rows = torch.randint(len(pool.images), (count,), generator=generator)
    return random_crop(pool.take(rows), 0.55, 0.15, size, generator), rows


def draw_pairs(pool: Pool, count: int, size: int, generator: Generator) -> tuple[Images, Labels]:
    """``count`` images in pairs of one class (rows 2i and 2i + 1), enlarged, and their rows."""
    first = torch.randint(len(pool.images), (count // 2,), generator=generator)
    same = pool.labels[first][:, None] == pool.labels[None]
    second = torch.multinomial(same.float(), 1, generator=generator)[:, 0]
    rows = torch.stack((first, second), 1).flatten()
    larger = F.interpolate(pool.take(rows), size=(size, size), mode="bicubic").clamp(0, 1)
    return random_crop(larger, 0.75, 0.1, size, generator), rows


def _to_bytes(images: Images) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
