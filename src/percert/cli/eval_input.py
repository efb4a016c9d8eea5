"""What the verbs of ``percert eval`` that measure a metric are given: triplets, budgets, sizes."""

from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from percert.reports.budgets import parse_budget

if TYPE_CHECKING:
    from percert.data.triplets import Triplet


class Kind(str, Enum):
    """What lies at SOURCE."""

    AUTO = "auto"
    NIGHT = "night"
    BAPPS = "bapps"
    CSV = "csv"
    DISTORTIONS = "distortions"


def read_eps(text: str, size: tuple[int, int] | None) -> tuple[float, ...]:
    """l2 lengths of a list such as ``36/255,linf:1/255,48dB`` in images of ``size``, in order.

    >>> read_eps("1/4, linf:1/255", (299, 299))
    (0.25, 2.0309...)
    """
    budgets = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            budgets.append(parse_budget(part))
        except ValueError as error:
            raise ValueError(f"--eps: {error}") from None
    if size is None and any(budget.kind != "l2" for budget in budgets):
        raise ValueError(
            "--eps: linf and dB are lengths of images of one size: name it with --size"
        )
    # Ten digits, as attacks are told it; no shorter than what it is to cover.
    lengths = (
        budget.value if budget.kind == "l2" else budget.length(size or (1, 1)) * (1 + 1e-9)
        for budget in budgets
    )
    return tuple(dict.fromkeys(float(f"{length:.10g}") for length in lengths))


def read_budgets(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a list such as ``36/255,0.5``, each once, in order.

    >>> read_budgets("1/4, 1", "--l2")
    (0.25, 1.0)
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = float(Fraction(part))
        except (ValueError, ZeroDivisionError):
            value = -1.0
        if value < 0:
            raise ValueError(f"{option}: expected numbers such as 0.5 or 36/255, found {part!r}")
        found.append(float(f"{value:.10g}"))  # as attacks are told it
    return tuple(dict.fromkeys(found))


def read_size(text: str | None) -> tuple[int, int] | None:
    """``224`` or ``192x256`` as (height, width)."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    try:
        found = int(height), int(width or height)
    except ValueError:
        found = 0, 0
    if min(found) < 1:
        raise ValueError(f"--size: expected H or HxW such as 224, found {text!r}")
    return found


def triplets_of(
    source: Path,
    kind: Kind,
    split: str | None,
    images: Path | None,
    distortions: tuple[str, ...],
    seed: int,
) -> "Iterator[Triplet]":
    """The triplets at ``source``, found out from what lies there where ``kind`` does not say."""
    from percert.data.judgements import bapps_folders, bapps_triplets, night_triplets
    from percert.data.triplets import csv_triplets, distortion_triplets

    if kind is Kind.AUTO:
        if not source.exists():
            raise ValueError(f"{source}: no such file or folder")
        if source.suffix.lower() == ".csv":
            kind = Kind.CSV
        elif (source / "data.csv").is_file():
            kind = Kind.NIGHT
        elif source.is_dir() and bapps_folders(source, "all"):
            kind = Kind.BAPPS
        else:
            kind = Kind.DISTORTIONS
    if kind is Kind.NIGHT:
        return night_triplets(source, split or "test")  # type: ignore[arg-type]  # it checks
    if kind is Kind.BAPPS:
        return bapps_triplets(source, split or "val")  # type: ignore[arg-type]  # it checks
    if kind is Kind.CSV:
        return csv_triplets(source, images=images, split=None if split == "all" else split)
    return distortion_triplets(source, distortions=distortions, seed=seed)
