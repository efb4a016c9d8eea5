"""Files that clients send: read with limits, called by harmless names, never executed."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from fastapi import UploadFile
from torch import Tensor

from percert.images.load import decode_image

#: Longer names are cut.
LONGEST = 60


@dataclass(frozen=True)
class Upload:
    """An uploaded file: what to call it, and its bytes, or where these are.

    Sent to a worker process, it takes its bytes along, unless they lie at a path.
    """

    name: str
    held: bytes | Path | BinaryIO

    def read(self) -> bytes:
        """The bytes; not for the event loop, a disk may keep it waiting."""
        if isinstance(self.held, bytes):
            return self.held
        if isinstance(self.held, Path):
            return self.held.read_bytes()
        self.held.seek(0)
        return self.held.read()

    def image(self, pixels: int) -> Tensor:
        """The image in it, ``(3, h, w)`` in [0, 1]. ``ValueError`` says what is wrong with it."""
        return decode_image(self.read(), self.name, max_pixels=pixels)

    def keep(self, path: Path) -> "Upload":
        """The same, read from a copy at ``path`` from now on."""
        path.write_bytes(self.read())
        return Upload(self.name, path)

    def __reduce__(self) -> tuple[type["Upload"], tuple[str, bytes | Path]]:
        return Upload, (self.name, self.held if isinstance(self.held, Path) else self.read())


def upload_of(file: UploadFile, fallback: str) -> Upload:
    """The upload behind a form's file; its name is for showing, and no part of any path."""
    return Upload(shown_name(file.filename, fallback), file.file)


def shown_name(name: str | None, fallback: str) -> str:
    r"""The last part of a client's file name, without anything unprintable, or ``fallback``.

    >>> shown_name("../../etc/passwd", "reference"), shown_name("C:\\pictures\\a.png", "reference")
    ('passwd', 'a.png')
    >>> shown_name("..", "reference"), shown_name("\x1b[31mred.png", "reference")
    ('reference', '[31mred.png')
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    kept = "".join(c for c in last if c.isprintable()).strip()
    if not kept.strip(". "):
        return fallback
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"
