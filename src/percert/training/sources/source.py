"""What a source of training images is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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
