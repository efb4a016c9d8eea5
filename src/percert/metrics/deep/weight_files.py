"""Published weights: where they are looked for, and how they are fetched and checked."""

import importlib.util
import os
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from percert.files import file_sha256, replacing

#: Names a folder of weights, searched before all others.
FOLDER_VARIABLE = "PERCERT_WEIGHTS"
#: Set to anything, nothing is fetched.
OFFLINE_VARIABLE = "PERCERT_OFFLINE"
TIMEOUT = 20.0
#: Modules whose packages carry heads, and the folder inside; they are looked into, never imported.
PACKAGES = {"lpips": "weights", "DISTS_pytorch": "."}


class UnavailableError(ValueError):
    """What a metric needs from outside, published weights or their package, is not here."""


@dataclass(frozen=True)
class WeightFile:
    """One published file. ``names`` are what it may be called, its own name first.

    ``sha256`` holds the first digits of its hash, at least 8, or all; a file without is never
    fetched by percert, because nothing would say that it is the right one.
    """

    names: tuple[str, ...]
    what: str
    url: str
    sha256: str = ""


def find_weights(file: WeightFile, metric: str, given: Path | None = None) -> Path:
    """The path of ``file``, fetched if need be.

    ``given`` is the file itself or a folder that has it, and the only place then. Otherwise it is
    looked for in the folder that ``PERCERT_WEIGHTS`` names, in percert's cache, among torch hub's
    checkpoints and in the installed packages ``lpips`` and ``DISTS-pytorch``; then fetched into the
    cache, where its hash is known and ``PERCERT_OFFLINE`` is not set. Raises
    :class:`UnavailableError`, a ``ValueError``, that says what to fetch, and where to put it, where
    that does not work.
    """
    if given is not None and given.is_file():
        return given
    if given is not None and not given.is_dir():
        raise ValueError(f"{metric}: {given}: no such file or folder")
    places = search_path() if given is None else [given]
    for place in places:
        for name in file.names:
            if (place / name).is_file():
                return place / name
    reason = ""
    if given is None and file.sha256 and not os.environ.get(OFFLINE_VARIABLE):
        try:
            return fetch(file, cache_folder())
        except OSError as error:
            reason = f" Fetching it failed ({error})."
    raise UnavailableError(
        f"{metric}: needs {file.names[0]} ({file.what}), which is not in "
        f"{', '.join(map(str, places))}.{reason} Fetch {file.url} and put it there, or into a "
        "folder and give that as checkpoint"
    )


def cache_folder() -> Path:
    """Where fetched weights are kept: ``~/.cache/percert``, or below ``XDG_CACHE_HOME``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "percert"


def search_path() -> list[Path]:
    """The folders that :func:`find_weights` looks into, first to last."""
    named = os.environ.get(FOLDER_VARIABLE)
    places = [Path(named)] if named else []
    places += [cache_folder(), Path(torch.hub.get_dir()) / "checkpoints"]
    for module, inside in PACKAGES.items():
        package = importlib.util.find_spec(module)
        if package is not None and package.origin is not None:
            places.append(Path(package.origin).parent / inside)
    return places


def fetch(file: WeightFile, folder: Path) -> Path:
    """Fetches ``file`` into ``folder``. Whole and checked, or not at all.

    Raises ``OSError`` where it cannot be had, ``ValueError`` where its hash is another.
    """
    target = folder / file.names[0]
    with replacing(target) as waiting:
        with (
            waiting.open("wb") as out,
            urllib.request.urlopen(file.url, timeout=TIMEOUT) as response,
        ):
            shutil.copyfileobj(response, out)
        found = file_sha256(waiting)
        if not found.startswith(file.sha256):
            raise ValueError(
                f"{file.url}: expected a file whose sha256 begins with {file.sha256}, found {found}"
            )
    return target
