"""Sources of encoded training images: folders, WebDataset tars and parquet files, in shards.

Only names are kept in memory, a few shards' at a time; bytes are read when an image is asked for.
"""

import glob
import os
import re
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from percert.data.labelled_images import ParquetImages
from percert.images import SUFFIXES
from percert.images.walk import LeftOut, list_folder, walk


class Entry(NamedTuple):
    """Where one encoded image lies: bytes in a file, or a row of a parquet file's row group."""

    path: str
    first: int = 0
    second: int = 0

    def __str__(self) -> str:
        return f"{self.path} ({self.first}, {self.second})" if self.second else self.path


class ImageSource(Protocol):
    """Encoded images in shards. Only a few shards' entries are ever in memory, and no images.

    A shard is a folder, a tar or a row group; their list is short and in a fixed order. Reading is
    safe from several threads.
    """

    def shards(self) -> Sequence[str]: ...

    def entries(self, shard: str, /) -> Sequence[Entry]: ...

    def read(self, entry: Entry, /) -> bytes: ...


class FolderSource:
    """The image files below ``root``, such as ImageNet's ``train/CLASS/NAME.JPEG``.

    Searched as by :func:`percert.images.search_images`. Only the folders' names are kept, and what
    was ``left_out``; files are listed a folder at a time. Raises ``ValueError`` where there is no
    image.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder")
        self.root = root
        self.left_out: list[LeftOut] = []
        self._shards: list[str] = []
        for folder in walk(root):
            self.left_out += folder.left_out
            if folder.images:
                self._shards.append(str(folder.path))
        if not self._shards:
            raise ValueError(f"{root}: no images found")

    def shards(self) -> Sequence[str]:
        return self._shards

    def entries(self, shard: str, /) -> Sequence[Entry]:
        return [Entry(os.path.join(shard, name)) for name in list_folder(Path(shard)).images]

    def read(self, entry: Entry, /) -> bytes:
        try:
            return Path(entry.path).read_bytes()
        except OSError as error:
            raise ValueError(f"{entry.path}: cannot be read ({error.strerror})") from None


class TarSource:
    """The image files in uncompressed tars, such as ``train-0000.tar``.

    Headers are read a tar at a time, and an image's bytes when it is asked for: the headers'
    offsets lead straight to them. Other members (``.cls``, ``.json``) are passed over. Raises
    ``ValueError`` for a tar that is damaged, or compressed, where nothing can be found without
    unpacking all that stands before it.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        if not files:
            raise ValueError("tars: expected at least one, found none")
        for path in files:
            if not path.is_file():
                raise ValueError(f"{path}: no such file")
        self._shards = [str(path) for path in files]

    def shards(self) -> Sequence[str]:
        return self._shards

    def entries(self, shard: str, /) -> Sequence[Entry]:
        found = []
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    name = PurePosixPath(member.name)
                    if (
                        member.isreg()
                        and not name.name.startswith(".")
                        and name.suffix.lower() in SUFFIXES
                    ):
                        found.append(Entry(shard, member.offset_data, member.size))
        except (tarfile.TarError, OSError) as error:
            raise ValueError(f"{shard}: not an uncompressed tar that is whole ({error})") from None
        return found

    def read(self, entry: Entry, /) -> bytes:
        with open(entry.path, "rb") as stream:
            stream.seek(entry.first)
            encoded = stream.read(entry.second)
        if len(encoded) != entry.second:
            raise ValueError(f"{entry}: the tar ends too early")
        return encoded


class ParquetSource:
    """The images of parquet files (:class:`~percert.data.labelled_images.ParquetImages`): each row
    group is a shard.

    A row group is read when the first of its images is, and the last ``kept`` of all files stay in
    memory. Raises ``ValueError`` for a file that is none, or lacks the column.
    """

    def __init__(self, files: Sequence[Path], *, column: str = "image", kept: int = 4) -> None:
        self.kept = kept
        self.files = {
            str(path): ParquetImages(path, column=column, extra="train") for path in files
        }
        self._rows = {
            f"{path}#{group}": (path, group, len(rows))
            for path, images in self.files.items()
            for group, rows in enumerate(images.groups)
        }
        self._groups: OrderedDict[tuple[str, int], list[bytes | None]] = OrderedDict()
        self._lock = threading.Lock()
        if not self._rows:
            raise ValueError(f"{', '.join(map(str, files)) or 'parquet'}: no rows found")

    def shards(self) -> Sequence[str]:
        return list(self._rows)

    def entries(self, shard: str, /) -> Sequence[Entry]:
        path, group, rows = self._rows[shard]
        return [Entry(path, group, row) for row in range(rows)]

    def read(self, entry: Entry, /) -> bytes:
        with self._lock:
            key = (entry.path, entry.first)
            values = self._groups.get(key)
            if values is None:
                values = self._groups[key] = list(self.files[entry.path].iter_group(entry.first))
            self._groups.move_to_end(key)
            while len(self._groups) > self.kept:
                self._groups.popitem(last=False)
        encoded = values[entry.second]
        if encoded is None:
            raise ValueError(f"{entry}: expected an image's bytes, found none")
        return encoded


_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def open_images(spec: str, root: Path, *, mix: int = 4) -> ImageSource:
    """The source at ``spec``, counted from the folder ``root``.

    A folder of images (of any depth); a folder, file or pattern (``train-*.parquet``) of parquet
    files; the same of tars, where ``train-{0000..0146}.tar`` is a range as WebDataset writes it.
    ``mix`` is how many shards are shuffled together. Raises ``ValueError`` where nothing is found.
    """
    if not spec:
        raise ValueError("images: expected a folder, parquet files or tars, found ''")
    place = root / spec
    if place.is_dir():
        files = sorted(place.glob("*.parquet")) or sorted(place.glob("*.tar"))
        if not files:
            return FolderSource(place)
    else:
        files = _expand(str(place))
    if not files:
        raise ValueError(f"{place}: no such folder or files")
    kinds = {path.suffix for path in files}
    if kinds == {".parquet"}:
        return ParquetSource(files, kept=mix + 1)
    if kinds == {".tar"}:
        return TarSource(files)
    raise ValueError(
        f"{place}: expected a folder of images, .parquet or .tar files, "
        f"found {', '.join(sorted(kinds))}"
    )


def _expand(pattern: str) -> list[Path]:
    found = _RANGE.search(pattern)
    if found is None:
        return [Path(path) for path in sorted(glob.glob(pattern))]
    first, last = found.groups()
    paths = []
    for number in range(int(first), int(last) + 1):
        middle = str(number).zfill(len(first))
        paths += _expand(pattern[: found.start()] + middle + pattern[found.end() :])
    return paths


class LabelledParquet:
    """A :class:`ParquetSource` with labels, which alone are kept in memory, a row group at a time.

    Partners come from the same row group: rows should be in no order of classes. Raises
    ``ValueError`` for another kind of source.
    """

    def __init__(self, source: ImageSource, what: str) -> None:
        if not isinstance(source, ParquetSource):
            raise ValueError(f"{what}: expected parquet files with labels")
        self._source = source
        self._labels: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
        self.read = source.read
        self.shards = source.shards

    def entries(self, shard: str, /) -> Sequence[Entry]:
        """The entries that have a partner: whose class is there twice, and is not the only one."""
        entries = self._source.entries(shard)
        if not entries:
            return []
        labels = self._of(entries[0])
        _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            return []
        return [e for e, known in zip(entries, counts[which] > 1, strict=True) if known]

    def same_and_other(self, entry: Entry, generator: np.random.Generator) -> tuple[Entry, Entry]:
        """Another image of ``entry``'s class, and one of another class, of the same row group."""
        labels = self._of(entry)
        alike = labels == labels[entry.second]
        same = np.flatnonzero(alike)
        partner = int(generator.choice(same[same != entry.second]))
        other = int(generator.choice(np.flatnonzero(~alike)))
        return entry._replace(second=partner), entry._replace(second=other)

    def _of(self, entry: Entry) -> npt.NDArray[np.int64]:
        key = (entry.path, entry.first)
        if key not in self._labels:
            labels = self._source.files[entry.path].labels(entry.first)
            self._labels[key] = np.asarray(labels, dtype=np.int64)
        return self._labels[key]
