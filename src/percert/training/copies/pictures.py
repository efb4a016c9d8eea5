"""The pictures that are trained on: read from several sources at once, decoded once, in memory.

Every source is decoded by many threads and kept beside the run, as bytes of one size, so that a run
that goes on does not decode again.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from percert.device import usable_cores
from percert.files import replacing
from percert.images import Resize
from percert.images.load import decode_image
from percert.tensors import Images, Labels
from percert.training.copies.edits import random_crop
from percert.training.image_sources import (
    Entry,
    FolderSource,
    ImageSource,
    ParquetSource,
    open_images,
)

#: The label of what belongs to no class.
UNLABELLED = -1


@dataclass(frozen=True)
class PictureSource:
    """Pictures to train on, and how many of a step's are theirs.

    ``path`` counts from the data folder: a folder of pictures of any depth, parquet files or tars,
    as :func:`percert.training.image_sources.open_images` takes them. Pictures are kept at
    ``side`` x ``side``, squeezed. With ``classes`` they are drawn in pairs of one class: the column
    ``label`` of parquet files, or the folders directly below ``path``. Windows of at least
    ``crop`` of a side are cut out at random. ``count`` draws so many of them (0: all are trained
    on), ``hold_out`` = k leaves out every k-th, and ``leave_out`` the classes of these names (of
    parquet files: numbers).
    """

    path: str = "."
    share: int = 48
    side: int = 208
    classes: bool = False
    crop: float = 0.55
    count: int = 0
    hold_out: int = 0
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", tuple(self.leave_out))
        if self.share < 1 or self.side < 1 or not 0 < self.crop <= 1:
            raise ValueError(
                f"{self.path}: expected share and side of at least 1 and crop in (0, 1], found "
                f"{self.share}, {self.side} and {self.crop}"
            )
        if self.classes and self.share % 2:
            raise ValueError(
                f"{self.path}: expected an even share, for pairs of a class, found {self.share}"
            )


@dataclass(frozen=True)
class Pictures:
    """Pictures ``(n, 3, s, s)`` as uint8, and their classes ``(n,)``, -1 for none."""

    images: Tensor
    labels: Labels

    @cached_property
    def classes(self) -> int:
        """How many classes there are: asked for by every batch, which must not wait for a GPU."""
        return int(self.labels.max()) + 1

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Labels) -> Images:
        return self.images[rows].float() / 255

    def to(self, device: torch.device) -> "Pictures":
        return Pictures(self.images.to(device), self.labels.to(device))


def read_pictures(
    root: Path, source: PictureSource, seed: int, cache: Path, *, held_out: bool = False
) -> Pictures:
    """The pictures of ``source`` below ``root``, from the folder ``cache`` where they are there.

    Those that are trained on, or all that the source's ``hold_out`` leaves out of that.
    Raises ``ValueError`` for a source without pictures, a picture that cannot be read, and
    ``classes`` where a class has one picture alone.
    """
    place = open_images(source.path, root, mix=1 << 20)
    entries = [entry for shard in place.shards() for entry in place.entries(shard)]
    names = _classes(place, entries, root / source.path) if source.classes else [""] * len(entries)
    kept = [row for row, name in enumerate(names) if name not in source.leave_out]
    if source.hold_out or held_out:
        every = source.hold_out or len(kept) + 1
        kept = [r for i, r in enumerate(kept) if (i % every == every - 1) == held_out]
    if source.count and source.count < len(kept) and not held_out:
        chosen = np.random.default_rng(seed).choice(len(kept), source.count, replace=False)
        kept = [kept[row] for row in chosen]
    if not kept:
        raise ValueError(f"{root / source.path}: no pictures found")
    labels = torch.full((len(kept),), UNLABELLED)
    if source.classes:
        _, found = np.unique([names[row] for row in kept], return_inverse=True)
        labels = torch.from_numpy(found)
        if not held_out and int(labels.bincount().min()) < 2:
            raise ValueError(f"{root / source.path}: expected two pictures of a class, found one")
    return Pictures(_decoded(place, [entries[row] for row in kept], source.side, cache), labels)


def draw_pictures(
    pictures: Pictures, source: PictureSource, size: int, generator: Generator
) -> tuple[Images, Labels]:
    """Random windows of ``source.share`` pictures, ``(share, 3, size, size)``, and their rows.

    With classes, rows 2i and 2i + 1 are of one.
    """
    draw = partial(torch.randint, generator=generator, device=generator.device)
    rows = draw(len(pictures), (source.share // (1 + source.classes),))
    if source.classes:
        same = pictures.labels[rows][:, None] == pictures.labels[None]
        other = torch.multinomial(same.float(), 1, generator=generator)[:, 0]
        rows = torch.stack((rows, other), 1).flatten()
    return random_crop(pictures.take(rows), source.crop, 0.15, size, generator), rows


def _classes(place: ImageSource, entries: Sequence[Entry], root: Path) -> list[str]:
    """The class of each entry, by its name."""
    if isinstance(place, FolderSource):
        return [Path(entry.path).relative_to(root).parts[0] for entry in entries]
    if not isinstance(place, ParquetSource):
        raise ValueError(f"{root}: tars have no classes; expected folders or parquet files")
    labels = {
        (path, group): images.labels(group)
        for path, images in place.files.items()
        for group in range(len(images.groups))
    }
    return [str(labels[entry.path, entry.first][entry.second]) for entry in entries]


def _decoded(place: ImageSource, entries: Sequence[Entry], side: int, cache: Path) -> Tensor:
    key = hashlib.sha256(f"{side}".encode())
    for path in sorted({entry.path for entry in entries}):
        found = os.stat(path)
        key.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    key.update("".join(f"{entry}\n" for entry in entries).encode())
    kept = cache / f"pictures-{key.hexdigest()[:16]}.npy"
    if kept.exists():
        return torch.from_numpy(np.load(kept))
    sys.stderr.write(f"decoding {len(entries)} pictures\n")
    resize = Resize((side, side), "bicubic")

    def decode(entry: Entry) -> Tensor:
        image = decode_image(place.read(entry), str(entry))
        if image.shape[1:] != (side, side):
            image = resize(image[None])[0].clamp(0, 1)
        return (image * 255).round().to(torch.uint8)

    images = np.empty((len(entries), 3, side, side), np.uint8)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for row, image in enumerate(pool.map(decode, entries)):
            images[row] = image.numpy()
    cache.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as unfinished, open(unfinished, "wb") as stream:
        np.save(stream, images)
    return torch.from_numpy(images)
