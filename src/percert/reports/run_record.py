"""``run.json``: what was run, with what, and how long it took."""

import json
import os
import platform
import secrets
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import percert

#: Packages whose versions say how numbers came about, where they are installed.
PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "torchvision",
    "timm",
    "piq",
    "pyarrow",
    "ray",
    "pandas",
    "scipy",
    "statsmodels",
)


def write_run(
    folder: str | Path,
    *,
    command: list[str],
    seed: int | None,
    device: str,
    seconds: float,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Write ``run.json`` into ``folder``, whole or not at all.

    Beside what is given it holds the versions of percert, Python and the packages that matter, the
    commit where percert runs from a git checkout (``None`` elsewhere; ``-dirty`` where files that
    git knows were changed), and the time. ``settings`` are those on which the results depend.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_run(folder, command=["percert"], seed=0, device="cpu", seconds=1.5, images=3)
    ...     found = read_run(folder)
    >>> found["seconds"], found["images"], {"numpy", "percert"} <= set(found["versions"])
    (1.5, 3, True)
    """
    record = {
        "command": command,
        "settings": dict(settings or {}),
        "seed": seed,
        "device": device,
        "seconds": seconds,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": _versions(),
        "commit": _commit(),
        **more,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(8)}.part"
    try:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, folder / "run.json")
    finally:
        temporary.unlink(missing_ok=True)


def read_run(folder: str | Path) -> dict[str, Any] | None:
    """What :func:`write_run` wrote into ``folder``, or ``None`` where there is no ``run.json``.

    Raises ``ValueError`` for a file that is not JSON.
    """
    path = Path(folder) / "run.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    return found


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "percert": percert.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the checkout that percert is imported from."""
    here = Path(percert.__file__).resolve().parent
    if not any((folder / ".git").exists() for folder in here.parents[:3]):
        return None  # installed, perhaps inside of somebody else's checkout
    try:
        said = [
            subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", str(here)),
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[0] + ("-dirty" if said[1] else "")
