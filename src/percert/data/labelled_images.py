"""Encoded images and labels: parquet files as Hugging Face has them, and MNIST's idx files."""

import gzip
import os
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.check import one_line
from percert.extras import install_extra
from percert.images.formats import ImageError
from percert.images.load import decode_image, open_file
from percert.tensors import Images

#: Rows of a parquet file that are read at once.
ROWS = 256

#: The codes of an idx file's types that hold bytes: unsigned ones.
UNSIGNED_BYTE = 0x08


@dataclass(frozen=True, eq=False)
class Digits:
    """``images`` ``(n, 3, 28, 28)`` in [0, 1], three equal channels; ``labels`` ``(n,)``."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor | slice) -> "Digits":
        """Some of them, in that order."""
        return Digits(self.images[index], self.labels[index])


def read_mnist(folder: Path, part: str = "t10k") -> Digits:
    """The digits of ``folder``: ``part`` is ``"t10k"`` (the test set) or ``"train"``.

    Reads ``PART-images-idx3-ubyte`` and ``PART-labels-idx1-ubyte``, gzipped (``.gz``) or not. The
    grey values are repeated in three channels, which is what an image is here; the SSIM of two such
    images is that of the grey ones. Raises ``ValueError`` where a file is missing, cut short or of
    another format, or where images and labels do not go together.
    """
    pixels = read_idx(_find(folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{folder}: expected images (n, height, width) and n labels, found "
            f"{tuple(pixels.shape)} and {tuple(labels.shape)}"
        )
    grey = pixels.float() / torch.full((), 255.0)
    return Digits(grey[:, None].repeat(1, 3, 1, 1), labels.long())


def read_idx(path: Path) -> Tensor:
    """The bytes of an idx file (``.gz`` or plain), in its shape, uint8.

    The format: two zero bytes, the type (8: unsigned bytes, the only one read here), the number of
    dimensions, each dimension in 4 bytes, most significant first, then the values in C order.
    Raises ``ValueError`` for anything else, and for a length that does not fit the header.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path}: expected an idx file, found other bytes at its start")
    kind, dimensions = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise ValueError(f"{path}: expected unsigned bytes (type 8), found type {kind}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{path}: expected a header of {start} bytes, found {len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != prod(shape):
        raise ValueError(
            f"{path}: expected {prod(shape)} values of shape {shape}, found {len(content) - start}"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).view(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise ValueError(f"{folder}: expected a file {name}.gz or {name}, found neither")


def is_parquet(path: Path) -> bool:
    """Whether ``path`` is read as a parquet file of images."""
    return path.suffix.lower() == ".parquet"


class ParquetImages:
    """The images in the column ``column`` of a parquet file, still encoded, by their rows.

    The convention of Hugging Face ``datasets``: bytes, or structs with ``bytes``, and perhaps a
    column ``label`` of integers. Without a ``column`` it is ``image``, or, where there is none, the
    only one that can hold images. Opening reads the metadata alone: ``groups`` are the rows of each
    row group, ``size`` and ``mtime_ns`` those of the file. Of what :meth:`read` has read the last
    ``kept`` row groups stay in memory; it is safe from several threads. Raises
    :class:`~percert.images.ImageError` for a file that is none or lacks the column (with
    ``labelled``, one of the two), and ``ValueError`` where pyarrow is missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        column: str | None = None,
        labelled: bool = False,
        kept: int = 1,
        extra: str = "attacks",
    ) -> None:
        self.path, self.kept = path, kept
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
            import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above
        except ModuleNotFoundError:
            raise ValueError(f"{path}: needs pyarrow: {install_extra(extra)}") from None
        with open_file(path) as stream:
            found = os.fstat(stream.fileno())
            try:
                metadata = pq.read_metadata(stream)
                schema = metadata.schema.to_arrow_schema()
            except (pa.ArrowException, OSError) as error:
                why = f"not a parquet file that can be read ({one_line(error)})"
                raise ImageError(path, why) from None
        self.size, self.mtime_ns = found.st_size, found.st_mtime_ns
        self.has_labels = "label" in schema.names
        self.column = column = column or _image_column(schema)
        if column not in schema.names or (labelled and not self.has_labels):
            expected = f"columns {column} and label" if labelled else f"a column {column}"
            raise ImageError(path, f"expected {expected}, found {', '.join(schema.names)}")
        self.has_paths = pa.types.is_struct(kind := schema.field(column).type) and "path" in {
            field.name for field in kind
        }
        if pa.types.is_struct(kind) and "bytes" not in {field.name for field in kind}:
            inside = ", ".join(field.name for field in kind)
            raise ImageError(path, f"expected a column {column} with bytes, found {inside}")
        ends = [0]
        for group in range(metadata.num_row_groups):
            ends.append(ends[-1] + metadata.row_group(group).num_rows)
        self.groups = [range(start, end) for start, end in pairwise(ends)]
        self._starts = ends[:-1]
        self._read: OrderedDict[int, list[bytes | None]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.groups[-1].stop if self.groups else 0

    def iter_group(self, group: int) -> Iterator[bytes | None]:
        """The images of a row group, :data:`ROWS` in memory at once; ``None`` for no bytes.

        A row may name a file instead of holding one. It is not followed: whoever made the parquet
        file would choose what is read here.
        """
        for value in self._values(self.column, group):
            encoded = value.get("bytes") if isinstance(value, dict) else value
            yield encoded if isinstance(encoded, bytes) else None

    def read(self, row: int, name: str = "") -> bytes:
        """The image of a row. Raises :class:`~percert.images.ImageError`, of ``name``, for one
        without bytes.
        """
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            held = self._read.get(group)
            if held is None:
                held = self._read[group] = list(self.iter_group(group))
            self._read.move_to_end(group)
            while len(self._read) > self.kept:
                self._read.popitem(last=False)
        encoded = held[row - self.groups[group].start]
        if encoded is None:
            raise ImageError(name or self.path, f"no bytes in row {row} of {self.path}")
        return encoded

    def labels(self, group: int | None = None) -> list[int]:
        """The labels of a row group, or of all rows; ``ValueError`` where they are no integers."""
        if not self.has_labels:
            raise ImageError(self.path, "expected a column label, found none")
        chosen = range(len(self.groups)) if group is None else [group]
        found = [value for one in chosen for value in self._values("label", one)]
        if not all(isinstance(value, int) for value in found):
            raise ValueError(f"{self.path}: expected integers in the column label")
        return found

    def names(self) -> list[str]:
        """What each row is called: by its ``path``, where all have one and no two the same, and
        else by its number.
        """
        if self.has_paths:
            groups = range(len(self.groups))
            found = [
                value["path"] for g in groups for value in self._values(f"{self.column}.path", g)
            ]
            if all(found) and len(set(found)) == len(found):
                return list(map(str, found))
        return [f"{row:06d}" for row in range(len(self))]

    def _values(self, column: str, group: int) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_file(self.path) as stream:
                parts = pq.ParquetFile(stream).iter_batches(
                    batch_size=ROWS, row_groups=[group], columns=[column]
                )
                for part in parts:
                    yield from part.column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            why = f"row group {group}: damaged ({one_line(error)})"
            raise ImageError(self.path, why) from error


def _image_column(schema: Any) -> str:
    """``image``, or the only column of bytes or of structs with ``bytes``."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return "bytes" in {field.name for field in kind}
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field.type)]
    return "image" if "image" in schema.names or len(found) != 1 else str(found[0])


@dataclass(frozen=True)
class LabelledImages:
    """Encoded images of a file and their labels ``(n,)``; decoded when asked for."""

    encoded: list[bytes]
    labels: npt.NDArray[np.int64]
    source: str = "images"

    def decode(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """``(n, 3, h, w)`` float32 in [0, 1] of the images at ``indices``, which have one size.

        Read as by :func:`percert.images.load_image`, whose error names the row of a bad one.
        """
        return torch.stack(
            [decode_image(self.encoded[index], f"{self.source}: row {index}") for index in indices]
        )


def read_labelled_images(path: Path) -> LabelledImages:
    """All of a parquet file with columns ``image`` and ``label``, encoded. Needs pyarrow.

    Raises ``ValueError`` where a column is missing, and for a row without an image.
    """
    images = ParquetImages(path, labelled=True, extra="train")
    encoded = [images.read(row) for row in range(len(images))]
    return LabelledImages(encoded, np.asarray(images.labels(), np.int64), str(path))


def semantic_triplets(
    labels: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """``(count, 3)`` indices: a reference, another of its class, and one of another class.

    References are drawn without repetition while they last. Raises ``ValueError`` where a class has
    one image only, or there is a single class.

    >>> reference, same, other = semantic_triplets(np.array([0, 0, 1, 1]), 1, 0)[0]
    >>> bool(reference != same), bool(same // 2 == reference // 2), bool(other // 2 == same // 2)
    (True, True, False)
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        raise ValueError(
            f"labels: expected at least 2 classes of at least 2 images, "
            f"found {len(classes)} and {sizes.min() if len(sizes) else 0}"
        )
    generator = np.random.default_rng(seed)
    rounds = -(-count // len(labels))
    references = np.concatenate([generator.permutation(len(labels)) for _ in range(rounds)])
    triplets = []
    for reference in references[:count]:
        alike = np.flatnonzero(labels == labels[reference])
        same = generator.choice(alike[alike != reference])
        other = generator.choice(np.flatnonzero(labels != labels[reference]))
        triplets.append((reference, same, other))
    return np.array(triplets, dtype=np.int64).reshape(count, 3)
