"""From distances and radii of edited pictures to the numbers that are published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from percert.data.copy_edits import Edit
from percert.evaluation.copies_budget import SIDE, psnr
from percert.evaluation.copies_edited import background_of
from percert.evaluation.copies_point import (
    Distances,
    OperatingPoint,
    micro_average_precision,
    operating_point,
    rate,
)

#: The false-positive rates that thresholds are set for; certificates use the second.
RATES = (1e-2, 1e-3, 1e-4)
CERTIFIED_AT = 1e-3
#: l2 lengths in the pixels of a 299 x 299 image: LipSim's three, then powers of two.
BUDGETS = (36 / 255, 72 / 255, 108 / 255, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass(frozen=True)
class CertifiedRate:
    """The share of all copies that are found and proven to stay so within l2 ``eps``.

    ``psnr`` is the least PSNR in dB of such a change, ``None`` where eps is in the pixels of images
    of many sizes.
    """

    eps: float
    psnr: float | None
    rate: float


@dataclass(frozen=True)
class EditRates:
    """One edit, at its group's thresholds."""

    name: str
    family: str
    hard: bool
    tpr: list[float]
    certified: list[CertifiedRate]


@dataclass(frozen=True)
class GroupRates:
    """Some edits together. ``at_usual`` are the usual edits' thresholds."""

    name: str
    copies: int
    negatives: int
    micro_average_precision: float
    points: list[OperatingPoint]
    at_usual: list[OperatingPoint]
    certified: list[CertifiedRate]
    edits: list[EditRates]


def pairs(
    distances: Distances, edit: Edit, own: Sequence[int] | None = None
) -> tuple[Distances, Distances]:
    """The distances ``(n,)`` of the copies, and those of all other pairs.

    ``distances`` is ``(n, references)``: row i holds edited picture i, column ``own[i]`` (by
    default i) its original. A collage is no negative of the picture that it is pasted onto: that
    pair counts as neither.
    """
    count = len(distances)
    rows = np.arange(count)
    columns = rows if own is None else np.asarray(own)
    other = np.ones(distances.shape, dtype=bool)
    other[rows, columns] = False
    if edit.needs_other:
        other[rows, [columns[background_of(i, count)] for i in range(count)]] = False
    return distances[rows, columns], distances[other]


def split_pairs(
    edits: Sequence[Edit], distances: Mapping[str, Distances], own: Sequence[int] | None = None
) -> tuple[Distances, Distances]:
    """The copies and all other pairs of several edits together."""
    split = [pairs(distances[edit.name], edit, own) for edit in edits]
    positives, negatives = (np.concatenate(side) for side in zip(*split, strict=True))
    return positives, negatives


def group_rates(
    name: str,
    edits: Sequence[Edit],
    distances: Mapping[str, Distances],
    radii: Mapping[str, Distances],
    usual: Sequence[OperatingPoint] | None = None,
    *,
    own: Sequence[int] | None = None,
    budgets: Sequence[float] = BUDGETS,
    side: int = SIDE,
) -> GroupRates:
    """The rates of ``edits``. Their own negatives, all edits' together, set the thresholds.

    ``distances`` ``(n, references)`` are by the name of the edit; so are ``radii`` ``(n,)``, in the
    units of ``budgets``, 0 for what is missed; empty for a detector without certificates.
    """
    positives, negatives = split_pairs(edits, distances, own)
    points = [operating_point(positives, negatives, fpr) for fpr in RATES]
    return GroupRates(
        name=name,
        copies=positives.size,
        negatives=negatives.size,
        micro_average_precision=micro_average_precision(positives, negatives),
        points=points,
        at_usual=[
            OperatingPoint(
                point.fpr,
                point.threshold,
                rate(negatives, point.threshold),
                rate(positives, point.threshold),
            )
            for point in usual or points
        ],
        certified=certified_rates([radii[edit.name] for edit in edits], budgets, side)
        if radii
        else [],
        edits=[
            EditRates(
                edit.name,
                edit.family,
                edit.hard,
                [
                    rate(pairs(distances[edit.name], edit, own)[0], point.threshold)
                    for point in points
                ],
                certified_rates([radii[edit.name]], budgets, side) if radii else [],
            )
            for edit in edits
        ],
    )


def certified_threshold(
    edits: Sequence[Edit], distances: Mapping[str, Distances], own: Sequence[int] | None = None
) -> float:
    """The threshold of ``edits`` that certificates are made for."""
    return operating_point(*split_pairs(edits, distances, own), CERTIFIED_AT).threshold


def certified_rates(
    radii: Sequence[Distances], budgets: Sequence[float] = BUDGETS, side: int = SIDE
) -> list[CertifiedRate]:
    """The share of radii above each budget; empty without radii."""
    if not radii:
        return []
    together = np.concatenate(radii)
    return [
        CertifiedRate(eps, least_psnr(eps, side), float((together > eps).mean())) for eps in budgets
    ]


def least_psnr(eps: float, side: int) -> float | None:
    """The PSNR of ``eps`` at ``side``, ``None`` where there is none."""
    return psnr(eps, side) if side and eps > 0 else None
