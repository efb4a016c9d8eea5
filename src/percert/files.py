"""Files that are whole or not there, and what names their bytes."""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: "os.PathLike[Any] | str", *, sync: bool = True) -> Iterator[Path]:
    """A file to write beside ``path``, which takes its place when everything is on the disk.

    An error or a kill leaves the old file, or none: never half of one. Without ``sync`` it does not
    wait for the disk: many files are written faster, and a machine that goes down may lose them.
    What is half-written is hidden and has no suffix, so that no search finds it. The folder is made
    where there is none. Who may read the file is what ``open`` would have given, whatever wrote it:
    safetensors, for one, lets only its owner.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/new/a.txt") as waiting:
    ...         _ = waiting.write_text("whole")
    ...     [file.name for file in Path(folder, "new").iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{secrets.token_hex(8)}.part")
    waiting.touch()
    ordinary = stat.S_IMODE(waiting.stat().st_mode)
    waiting.unlink()
    try:
        yield waiting
        if stat.S_IMODE(waiting.stat().st_mode) != ordinary:
            waiting.chmod(ordinary)
        if sync:
            with waiting.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(waiting, path)
    finally:
        waiting.unlink(missing_ok=True)


def write_whole(path: "os.PathLike[Any] | str", content: bytes | str) -> None:
    """Write bytes, or text as UTF-8: a kill leaves the old file or the new, never half."""
    with replacing(path) as waiting:
        waiting.write_bytes(content.encode() if isinstance(content, str) else content)


def file_sha256(path: "os.PathLike[Any] | str") -> str:
    """SHA-256 of the bytes of a file, 64 hexadecimal digits; read in pieces, however large it is.

    Raises ``OSError`` where it cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_sha256(file.name)[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
