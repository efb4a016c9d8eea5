"""The images and triplets of a set: what each is called, where it lies, and reading it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from percert.data.triplets import csv_triplets
from percert.extras import install_extra
from percert.images import ImageError, LeftOut, load_image, round_to_8bit, search_images
from percert.images.load import decode_image
from percert.images.walk import fitting_name, printable_path


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
    """An :class:`Item` as images ``(3, h, w)``: its own, and those of ``others``."""

    item: ImageItem
    image: Tensor
    others: tuple[Tensor, ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """What must agree for two subjects to go into one batch."""
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
    if images.suffix == ".parquet":
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


def read_sample(item: ImageItem) -> Sample:
    """The images of ``item``. Raises :class:`~percert.images.ImageError` for one that is bad."""
    others = tuple(load_image(path) for path in item.others)
    if item.row is None:
        return Sample(item, load_image(item.source), others)
    encoded = _parquet_image(item.source, item.row)
    if encoded is None:
        raise ImageError(item.name, f"no bytes in row {item.row} of {item.source}")
    return Sample(item, decode_image(encoded, item.name), others)


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
    file = _parquet_file(path)
    names = file.schema_arrow.names
    if "image" not in names:
        raise ValueError(f"{path}: expected a column image, found {', '.join(names)}")
    fields = {field.name for field in file.schema_arrow.field("image").type}
    if "bytes" not in fields:
        raise ValueError(f"{path}: expected a column image with bytes, found {sorted(fields)}")
    count = file.metadata.num_rows
    called: list[str | None] = [None] * count
    if "path" in fields:
        called = [row["path"] for row in file.read(columns=["image.path"])["image"].to_pylist()]
    if not all(called) or len(set(called)) < count:
        called = [f"{row:06d}" for row in range(count)]
    labels = file.read(columns=["label"])["label"].to_pylist() if "label" in names else []
    if not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{path}: expected integers in the column label")
    return [
        ImageItem(str(name), path, row, labels[row] if labels else None)
        for row, name in enumerate(called)
    ]


def _parquet_image(path: Path, row: int) -> bytes | None:
    first = 0
    metadata = _parquet_file(path).metadata
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if row < first + size:
            return _row_group(path, group)[row - first]
        first += size
    return None


@lru_cache(maxsize=1)
def _row_group(path: Path, group: int) -> list[bytes | None]:
    """The images are read in order, so the last group is kept."""
    table = _parquet_file(path).read_row_group(group, columns=["image.bytes"])
    return [row["bytes"] for row in table["image"].to_pylist()]


@lru_cache(maxsize=4)
def _parquet_file(path: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid  # type: ignore[import-untyped]  # it ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]  # as above
    except ModuleNotFoundError:
        raise ValueError(f"{path}: needs pyarrow: {install_extra('attacks')}") from None
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file that can be read ({error})") from None


def read_triplets(path: Path, images: Path | None = None) -> list[ImageItem]:
    """The triplets of :func:`~percert.data.triplets.csv_triplets` in ``path``, as items.

    An item's label is 0 where the majority calls the left one closer, 1 for the right one, and
    ``None`` for a draw or where nobody says.
    """
    return [
        ImageItem(one.name, one.reference, None, one.choice, None, (one.left, one.right))
        for one in csv_triplets(path, images=images)
    ]
