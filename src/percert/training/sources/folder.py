"""Images in folders: each folder that holds some is a shard."""

import os
from collections.abc import Sequence
from pathlib import Path

from percert.images import SUFFIXES
from percert.training.sources.source import Entry


class FolderSource:
    """The image files below ``root``, such as ImageNet's ``train/CLASS/NAME.JPEG``.

    Only the folders' names are kept; files are listed a folder at a time. Hidden files and folders
    are left out, links to folders are not followed. Raises ``ValueError`` where there is no image.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder")
        self.root = root
        self._shards: list[str] = []
        for folder, inside, names in os.walk(root):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            if any(_is_image(name) for name in names):
                self._shards.append(folder)
        if not self._shards:
            raise ValueError(f"{root}: no images found")

    def shards(self) -> Sequence[str]:
        return self._shards

    def entries(self, shard: str, /) -> Sequence[Entry]:
        names = sorted(entry.name for entry in os.scandir(shard) if _is_image(entry.name))
        return [Entry(os.path.join(shard, name)) for name in names]

    def read(self, entry: Entry, /) -> bytes:
        try:
            return Path(entry.path).read_bytes()
        except OSError as error:
            raise ValueError(f"{entry.path}: cannot be read ({error.strerror})") from None


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
