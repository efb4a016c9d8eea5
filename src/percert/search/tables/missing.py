"""Whether what a store calls a file is there."""

import os
import stat
from functools import lru_cache
from pathlib import Path

from percert.search.ingest.sources import count_rows, key_path


def is_missing(key: str) -> bool:
    """Whether what a store calls ``key`` is not there: no file, or no such row.

    What cannot be looked at (no permission, a disk that fails) is not missing.

    >>> is_missing("/no/such/file.png"), is_missing(os.path.abspath(__file__))
    (True, False)
    """
    path, row = key_path(key)
    return _is_missing(path, row)


def _is_missing(path: Path, row: int | None) -> bool:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    if row is None:
        return False
    rows = _rows(path, found.st_size, found.st_mtime_ns)
    return rows is not None and row >= rows


@lru_cache(maxsize=1024)
def _rows(path: Path, size: int, mtime_ns: int) -> int | None:
    """The rows of a parquet file as it is now, ``None`` where it cannot be read."""
    try:
        return count_rows(path)
    except (OSError, ValueError):
        return None
