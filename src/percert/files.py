"""What names the bytes of a file."""

import hashlib
import os
from typing import Any


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
