"""Places to write to, looked at before the work begins."""

import os
from pathlib import Path

from percert.cli.failure import fail


def writable_folder(path: Path | None) -> Path | None:
    """``path``, a folder to write to; the command fails at once where it cannot become one."""
    if path is not None:
        if os.path.exists(path) and not os.path.isdir(path):
            fail(f"{path}: a file, expected a folder to write to")
        _check_place(path)
    return path


def writable_file(path: Path | None) -> Path | None:
    """``path``, a file to write; the command fails at once where it cannot become one."""
    if path is not None:
        if os.path.isdir(path):
            fail(f"{path}: a folder, expected the name of a file to write")
        _check_place(path.absolute().parent)
    return path


def _check_place(folder: Path) -> None:
    """Fail unless ``folder``, or else the nearest folder around it that exists, can be written."""
    around = folder.absolute()
    place = next(each for each in (around, *around.parents) if os.path.lexists(each))
    if not os.path.isdir(place):
        fail(f"{folder}: cannot be made, {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        fail(f"{folder}: no permission to write in {place}")
