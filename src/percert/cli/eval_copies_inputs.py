"""What the command line says of an evaluation of copies, as objects."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from percert.cli.progress import with_progress
from percert.reports.budgets import parse_budget

if TYPE_CHECKING:
    from percert.data.copy_edits import Edit
    from percert.evaluation.copies.detector import Detector
    from percert.images import LeftOut


def parse_edits(text: str) -> "tuple[Edit, ...]":
    """A set of edits by its name, or single ones in a list.

    >>> [edit.name for edit in parse_edits("mirror, jpeg-50")]
    ['mirror', 'jpeg-50']
    """
    from percert.data.copy_edits import EDITS, HARD_EDITS, USUAL_EDITS, find_edit

    sets = {"usual": USUAL_EDITS, "hard": HARD_EDITS, "all": EDITS}
    if text in sets:
        return sets[text]
    names = dict.fromkeys(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise ValueError("--edits: expected usual, hard, all or names of edits, found none")
    return tuple(find_edit(name) for name in names)


def parse_budgets(text: str, side: int) -> tuple[float, ...]:
    """Lengths above 0, rising; of linf changes and decibels in pictures of ``side`` x ``side``.

    >>> parse_budgets("16,1/2,linf:8/255", 299)
    (0.5, 16.0, 16.247...)
    """
    try:
        budgets = [parse_budget(part) for part in text.split(",")]
    except ValueError:
        budgets = []
    if side == 0 and any(budget.kind != "l2" for budget in budgets):
        raise typer.BadParameter(
            "linf and dB are lengths of pictures of one size, and --side 0 names none",
            param_hint="--eps",
        )
    found = sorted({budget.length((side, side)) for budget in budgets})
    if not found or found[0] <= 0:
        raise typer.BadParameter(
            f"expected lengths above 0 such as 1,4,36/255, or linf:8/255, or 30dB, found {text!r}",
            param_hint="--eps",
        )
    return tuple(found)


def make_detectors(
    metric: str, checkpoint: Path | None, rivals: Sequence[str], device: str
) -> "list[Detector]":
    """The metric first, then the rivals; ``ValueError`` where two have one name."""
    from percert.evaluation.copies.hashes import create_detector, metric_detector

    found: list[Detector] = [metric_detector(metric, checkpoint, device)]
    for text in rivals:
        found.append(create_detector(text, device))
        if found[-1].name in [one.name for one in found[:-1]]:
            raise ValueError(f"--rival: {found[-1].name} is given twice")
    return found


def readable(
    paths: Sequence[Path], left_out: "list[LeftOut]"
) -> tuple[dict[Path, str], list[tuple[Path, str]]]:
    """The images among ``paths`` that can be read, each once and with a hash of its pixels, and
    those that cannot, and why. What the search leaves out is added to ``left_out``.
    """
    from percert.evaluation.copies.pictures import pixels_hash
    from percert.images import ImageError, iter_images, search_images

    searched = search_images(paths)
    left_out += searched.left_out
    files = list(dict.fromkeys(searched.paths))
    good: dict[Path, str] = {}
    bad: list[tuple[Path, str]] = []
    for path, found in with_progress(iter_images(files), len(files), "reading"):
        if isinstance(found, ImageError):
            bad.append((path, found.reason))
        else:
            good[path] = pixels_hash(found)
    return good, bad


def fingerprint(paths: Sequence[Path]) -> dict[str, Any]:
    """How many files, and a hash of their paths, sizes and times: whether they are the same."""
    digest = hashlib.sha256()
    for path in paths:
        stat = os.stat(path)
        digest.update(os.fsencode(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return {"count": len(paths), "sha256": digest.hexdigest()}


def weights_of(detector: "Detector") -> str | None:
    """The hash of a detector's weights, ``None`` for a hash, which has none."""
    from percert.lipschitz.network import weights_hash

    network = getattr(detector, "metric", None) or getattr(detector, "model", None)
    return None if network is None else weights_hash(network)
