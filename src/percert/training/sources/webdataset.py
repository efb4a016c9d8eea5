"""Images in the tars of a WebDataset: each tar is a shard."""

import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from percert.images import SUFFIXES
from percert.training.sources.source import Entry


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
