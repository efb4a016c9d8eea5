"""Images in folders: each folder that holds some is a shard."""

import os
from collections.abc import Sequence
from pathlib import Path

from percert.images.walk import LeftOut, list_folder, walk
from percert.training.sources.source import Entry


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
