"""The one error of reading and writing image files."""

import os
from pathlib import Path


class ImageError(ValueError):
    """A file that cannot be read as an image, or written as one: which file, and why.

    ``path`` and ``reason`` are kept apart for lists of bad files; the message is both. It survives
    pickling, so that it can come back from a worker process.

    >>> str(ImageError("holiday.gif", "a GIF file"))
    'holiday.gif: a GIF file'
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Refused(Exception):
    """Bytes that are not decoded, and why; becomes an :class:`ImageError` with the file's name."""
