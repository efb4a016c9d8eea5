"""Thresholds at a false-positive rate, ROC and average precision: distances, lower is closer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
