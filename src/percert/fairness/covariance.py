"""How the errors of the groups' accuracies are assumed to vary: the choice behind the regression.

The groups are independent, so each choice is a diagonal: one variance a group, up to a common
factor that the regression estimates from the residuals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Covariance:
    """One choice: ``formula`` in words, ``assumes`` what must hold, ``caution`` where it does not.

    The shares in ``caution`` are those of ``docs/results/audit-simulation.json``: how often the
    F-test at the level 5 % rejects where there is no slope, over 2,000 draws of 41 groups.
    """

    name: str
    formula: str
    assumes: str
    caution: str


COVARIANCES = {
    entry.name: entry
    for entry in (
        Covariance(
            "paper",
            "diag(1 / sqrt(n))",
            "the variance of a group's accuracy falls with the square root of its images",
            "too careful where only the luck of the draw is at work (2.4 % false alarms), too "
            "quick where groups differ of their own (7.6 %)",
        ),
        Covariance(
            "binomial",
            "diag(p (1 - p) / n)",
            "groups differ from the line by the luck of the draw of their images alone",
            "cries wolf where groups differ of their own, as they usually do: 17.6 % false alarms",
        ),
        Covariance(
            "between",
            "diag(tau^2 + p (1 - p) / n)",
            "groups differ from the line by a spread tau of their own and the luck of the draw",
            "held the level wherever it was tried (3.9 % to 5.5 %); trust it over the others",
        ),
        Covariance(
            "equal",
            "the identity: ordinary least squares",
            "every group's accuracy is equally uncertain",
            "held the level (4.8 % to 5.5 %), and sees less where sizes differ: a group of 50 "
            "images counts as much as one of 2,000",
        ),
        Covariance(
            "robust",
            "the identity, with heteroskedasticity-robust (HC3) errors",
            "nothing about the variances, but many groups",
            "held the level or stayed below it (3.6 % to 5.9 %), and sees less where sizes differ; "
            "not for a handful of groups",
        ),
    )
}

#: What the audit shows unless told otherwise; the first is the paper's, and the headline.
DEFAULT = ("paper", "binomial", "between", "robust")


def check_covariance(name: str) -> str:
    """Return ``name`` if it is one of ``COVARIANCES``, else raise ``ValueError``."""
    if name not in COVARIANCES:
        raise ValueError(
            f"covariance: expected one of {', '.join(COVARIANCES)}, or variances, found {name!r}"
        )
    return name


def paper_variances(n: Array) -> Array:
    """``1 / sqrt(n)``, section 4 of Human Imperceptible Attacks.

    >>> paper_variances(np.array([4.0, 100.0]))
    array([0.5, 0.1])
    """
    variances: Array = 1 / np.sqrt(n)
    return variances


def binomial_variances(accuracy: Array, n: Array) -> Array:
    """``p (1 - p) / n``: how much the share of n independent images varies.

    Where all images or none are classified rightly that would be 0, and the group would fix the
    line alone; there p is taken as (right + 1/2) / (n + 1), Jeffreys' estimate.

    >>> binomial_variances(np.array([0.5, 1.0]), np.array([100.0, 49.0])).round(6)
    array([0.0025  , 0.000202])
    """
    at_end = (accuracy <= 0) | (accuracy >= 1)
    share = np.where(at_end, (accuracy * n + 0.5) / (n + 1), accuracy)
    variances: Array = share * (1 - share) / n
    return variances
