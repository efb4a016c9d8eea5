"""Under which conditions a number was measured, and the files that hold it."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from percert.files import write_whole

PACKAGES = ("torch", "numpy", "pillow", "scipy", "imagehash", "pdqhash", "pyarrow")


@dataclass(frozen=True)
class Conditions:
    """Everything but the data that a measurement depends on."""

    commit: str
    versions: dict[str, str]
    machine: str
    threads: int
    seed: int


def conditions(seed: int) -> Conditions:
    """The conditions that hold now. A commit with uncommitted changes beside it ends in ``+``."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    machine = f"{_processor()}, {os.cpu_count()} cores, CPU"
    return Conditions(_commit(), versions, machine, torch.get_num_threads(), seed)


def earlier_weights(metrics: Iterable[str]) -> str:
    """What a page says of metrics whose weights are no longer those of the default, or nothing.

    >>> earlier_weights(["lipsim-tiny", "phash"])
    ''
    """
    if not any(name.startswith("lipsim-tiny-1") for name in metrics):
        return ""
    return (
        "`lipsim-tiny-1` is the default before it was [trained anew](../concepts/lipsim-tiny.md): "
        "nothing on this page was measured with its present weights."
    )


def write_result(path: Path, result: Any) -> None:
    """Write a dataclass or a dict as JSON, whole or not at all."""
    content = result if isinstance(result, dict) else asdict(result)
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "src", "experiments")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
