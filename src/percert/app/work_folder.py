"""The one folder that the server writes to: made when it starts, removed when it stops."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A new folder; until it is left, everything temporary of this process goes there as well.

    That takes in the large uploads that the web framework keeps in files, and matplotlib's cache.

    >>> with work_folder() as folder:
    ...     tempfile.gettempdir() == str(folder)
    True
    >>> folder.exists()
    False
    """
    folder = Path(tempfile.mkdtemp(prefix="percert-app-"))
    before, cache = tempfile.tempdir, os.environ.get("MPLCONFIGDIR")
    tempfile.tempdir = str(folder)
    os.environ["MPLCONFIGDIR"] = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        if cache is None:
            os.environ.pop("MPLCONFIGDIR", None)
        else:
            os.environ["MPLCONFIGDIR"] = cache
        shutil.rmtree(folder, ignore_errors=True)
