"""The images and triplets of a set: what each is called, where it lies, and reading it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import torch.nn.functional as F
from torch import Tensor

from percert.data.labelled_images import ParquetImages, is_parquet
from percert.data.triplets import csv_triplets
from percert.images import LeftOut, load_image, round_to_8bit, search_images
from percert.images.load import decode_image
from percert.images.walk import fitting_name, printable_path
from percert.runs.engine import Step, read_all


@dataclass(frozen=True)
class ImageItem:
    """One thing to attack, not read yet.

    ``name`` tells it apart from the others of its collection. ``source`` is an image file, or a
    parquet file of which it is ``row``. ``label`` and ``target`` are classes from 0 on, or a
    triplet's choice; ``others`` the image files that it is compared with (left, right).
    """

    name: str
    source: Path
    row: int | None = None
    label: int | None = None
    target: int | None = None
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """An :class:`ImageItem` as images ``(3, h, w)``: its own, and those of ``others``."""

    item: ImageItem
    image: Tensor
    others: tuple[Tensor, ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """What must agree for two samples to go into one batch."""
        return tuple(tuple(image.shape) for image in (self.image, *self.others))


def find_items(images: Path, left_out: list[LeftOut] | None = None) -> list[ImageItem]:
    """The images in a folder (searched recursively), in a parquet file, or a single image file.

    Names are paths from the folder, where they are no UTF-8 with escapes. What the search leaves
    out is added to ``left_out``. A parquet file has a column ``image`` (a struct with ``bytes``,
    and ``path``, which gives the name where all are there and differ), and perhaps integers
    ``label``. Raises ``ValueError`` where there is nothing to attack.

    >>> find_items(Path("no-such-folder"))
    Traceback (most recent call last):
    ValueError: no-such-folder: no such file or folder
    """
    if not images.exists():
        raise ValueError(f"{images}: no such file or folder")
    if is_parquet(images):
        return _parquet_items(images)
    found = search_images(images)
    if not found.paths:
        raise ValueError(f"{images}: no images found")
    if left_out is not None:
        left_out += found.left_out
    folder = images if images.is_dir() else images.parent
    return [
        ImageItem(printable_path(path.relative_to(folder).as_posix()), path) for path in found.paths
    ]


def items_at(paths: Sequence[Path], left_out: list[LeftOut] | None = None) -> list[ImageItem]:
    """The image files among several ``paths`` and in the folders among them, each by its own path.

    Files are kept whatever they are: reading one says what is wrong with it. What the search leaves
    out is added to ``left_out``. Raises ``ValueError`` where there is nothing.

    >>> [item.name for item in items_at([Path("b.jpg"), Path("a.png")])]
    ['b.jpg', 'a.png']
    """
    found = search_images(paths)
    if not found.paths:
        raise ValueError(f"{', '.join(map(str, paths))}: no images found")
    if left_out is not None:
        left_out += found.left_out
    return [ImageItem(printable_path(path), path) for path in found.paths]


def read_sample(item: ImageItem) -> Sample:
    """The images of ``item``. Raises :class:`~percert.images.ImageError` for one that is bad."""
    others = tuple(load_image(path) for path in item.others)
    if item.row is None:
        return Sample(item, load_image(item.source), others)
    encoded = _parquet(item.source).read(item.row, item.name)
    return Sample(item, decode_image(encoded, item.name), others)


def read_samples(items: Iterable[ImageItem]) -> Iterator[Sample | Step]:
    """The images of each of ``items``, or a step that says why one cannot be read."""
    return read_all(items, read_sample, lambda item: item.name, lambda item, error: error.reason)


def output_name(name: str) -> str:
    """The PNG's path below an attack's folder: ``name`` with ``.png`` behind, never outside of it.

    A name that is too long for a file is shortened.

    >>> output_name("a/b.png"), output_name("photo.jpg"), output_name("../../etc/x.png")
    ('a/b.png', 'photo.jpg.png', 'etc/x.png')
    """
    parts = [
        part.replace("\\", "_").replace(":", "_")
        for part in PurePosixPath(name).parts
        if part not in ("/", "//", "..", ".")
    ]
    *folders, last = parts or ["unnamed"]
    stem, suffix = (last[:-4], last[-4:]) if last.lower().endswith(".png") else (last, ".png")
    return "/".join([*map(fitting_name, folders), fitting_name(stem, suffix)])


def check_names(items: Iterable[ImageItem]) -> None:
    """Raise ``ValueError`` where two items would be one in records or in files.

    >>> check_names([ImageItem("a", Path("a")), ImageItem("a.png", Path("a.png"))])
    Traceback (most recent call last):
    ValueError: 'a' and 'a.png' would both be written to a.png; rename one
    """
    found: dict[str, str] = {}
    for item in items:
        path = output_name(item.name)
        if path in found:
            raise ValueError(
                f"{found[path]!r} and {item.name!r} would both be written to {path}; rename one"
            )
        found[path] = item.name


def resized(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """An image ``(3, h, w)`` at ``size``, bicubic with antialiasing and rounded to 8 bits."""
    if size is None or tuple(image.shape[1:]) == tuple(size):
        return image
    smaller = F.interpolate(image[None], size, mode="bicubic", antialias=True)
    return round_to_8bit(smaller.clamp(0, 1))[0]


def _parquet_items(path: Path) -> list[ImageItem]:
    images = _parquet(path)
    labels: list[int | None] = [*images.labels()] if images.has_labels else [None] * len(images)
    return [
        ImageItem(name, path, row, label)
        for row, (name, label) in enumerate(zip(images.names(), labels, strict=True))
    ]


@lru_cache(maxsize=4)
def _parquet(path: Path) -> ParquetImages:
    return ParquetImages(path)


def read_triplets(path: Path, images: Path | None = None) -> list[ImageItem]:
    """The triplets of :func:`~percert.data.triplets.csv_triplets` in ``path``, as items.

    An item's label is 0 where the majority calls the left one closer, 1 for the right one, and
    ``None`` for a draw or where nobody says.
    """
    return [
        ImageItem(one.name, one.reference, None, one.choice, None, (one.left, one.right))
        for one in csv_triplets(path, images=images)
    ]
