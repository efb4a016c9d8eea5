"""Rates from distances and radii of edited pictures: ROC, average precision, certified rates.

Distances, so lower is closer; budgets are l2 lengths, at an image's size and in decibel.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from percert.data.copy_edits import Edit
from percert.evaluation.copies.pictures import background_of

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """``distance <= threshold`` is called a copy. ``fpr_found`` is at most ``fpr``, which it meets
    as nearly as ties allow; ``tpr`` is the share of copies that are found.
    """

    fpr: float
    threshold: float
    fpr_found: float
    tpr: float


def threshold_at(negatives: Distances, fpr: float) -> float:
    """The largest threshold at which at most ``fpr`` of the ``negatives`` count as copies.

    With k = floor(fpr * N) negatives allowed, it lies just below the (k + 1)-th smallest: ties at
    that value are all refused, so the rate found never exceeds ``fpr``. Raises ``ValueError``
    without negatives, or where one is NaN.

    >>> threshold_at(np.array([0.1, 0.2, 0.2, 0.3]), 0.5) < 0.2
    True
    """
    if negatives.size == 0 or np.isnan(negatives).any():
        raise ValueError(f"negatives: expected distances without NaN, found {negatives.size}")
    if not 0 <= fpr < 1:
        raise ValueError(f"fpr: expected a rate in [0, 1), found {fpr}")
    # The product of 0.29 and 100 is 28.999...: a rate that was meant to allow 29 allows 29.
    allowed = int(np.floor(fpr * negatives.size * (1 + 1e-12)))
    next_one = np.partition(negatives.ravel(), allowed)[allowed]
    return float(np.nextafter(next_one, -np.inf))


def operating_point(positives: Distances, negatives: Distances, fpr: float) -> OperatingPoint:
    """The true-positive rate at a false-positive rate of at most ``fpr``."""
    threshold = threshold_at(negatives, fpr)
    return OperatingPoint(fpr, threshold, rate(negatives, threshold), rate(positives, threshold))


def rate(distances: Distances, threshold: float) -> float:
    """The share of ``distances`` that count as copies."""
    return float((distances <= threshold).mean())


def micro_average_precision(positives: Distances, negatives: Distances) -> float:
    """Average precision over all pairs of all queries in one ranking (DISC21, Eq. 2).

    Each copy contributes the precision at its rank, divided by the number of copies. Among equal
    distances the negatives are ranked first, so that a tie is never worth anything.

    >>> micro_average_precision(np.array([0.1, 0.3]), np.array([0.2, 0.9]))  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    if positives.size == 0:
        raise ValueError("positives: expected at least one copy, found none")
    ranked = np.sort(positives.ravel())
    before = np.searchsorted(np.sort(negatives.ravel()), ranked, side="right")
    found = np.arange(1, ranked.size + 1)
    return float((found / (found + before)).mean())


def roc_curve(
    positives: Distances, negatives: Distances, points: int = 121
) -> list[tuple[float, float]]:
    """(false-positive rate, true-positive rate) at thresholds for ``points`` rates, 1/N to 1.

    The rates are spread evenly over the logarithm, and the first point is that of no false positive
    at all. Each is what :func:`operating_point` gives at that rate.

    >>> roc_curve(np.array([0.1, 0.3]), np.array([0.2, 0.4]), 2)
    [(0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    near, far = np.sort(positives.ravel()), np.sort(negatives.ravel())
    wanted = np.geomspace(1 / far.size, 1, points)
    allowed = np.unique(np.floor(wanted * far.size * (1 + 1e-12)).astype(np.int64))
    found = []
    for count in (0, *allowed.tolist()):
        threshold = np.inf if count >= far.size else np.nextafter(far[count], -np.inf)
        passed = np.searchsorted(far, threshold, side="right") / far.size
        found.append((float(passed), float((near <= threshold).mean())))
    return found


#: The side of the square images that budgets are stated for where images have many sizes.
SIDE = 299


def scaled(eps: float, size: tuple[int, int], side: int = SIDE) -> float:
    """``eps`` for images of ``size`` (height, width): the same PSNR as at ``side`` x ``side``.

    A ``side`` of 0 takes ``eps`` as it is, an l2 length in the pixels of every image.

    >>> scaled(16.0, (598, 598)), scaled(16.0, (598, 598), side=0)
    (32.0, 16.0)
    """
    if side == 0:
        return eps
    height, width = size
    return eps * math.sqrt(height * width) / side


def psnr(eps: float, side: int = SIDE) -> float:
    """The least PSNR in dB of a change of l2 length ``eps`` at ``side`` x ``side``.

    >>> round(psnr(16.2), 1)
    30.1
    """
    return 20 * math.log10(math.sqrt(3) * side / eps)


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
