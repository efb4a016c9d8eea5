"""How the errors of the groups' accuracies are assumed to vary: the choice behind the regression.

The groups are independent, so each choice is a diagonal: one variance a group, up to a common
factor that the regression estimates from the residuals.
"""

from dataclasses import dataclass

import numpy as np

from percert.fairness.regression import Array


@dataclass(frozen=True)
class Covariance:
    """One choice: ``formula`` in words, ``assumes`` what must hold, ``caution`` where it does not.

    How often each rejects where there is no slope depends on the groups: every audit simulates it
    on its own (``percert.fairness.levels``), ``docs/results/audit-level.md`` on a grid.
    """

    name: str
    formula: str
    assumes: str
    caution: str


COVARIANCES = {
    entry.name: entry
    for entry in (
        Covariance(
            "between",
            "diag(tau^2 + p (1 - p) / n), p the share of all images",
            "groups differ from the line by a spread tau of their own and the luck of the draw",
            "holds its level by simulation of these very groups: trust it over the others",
        ),
        Covariance(
            "paper",
            "diag(1 / sqrt(n))",
            "the variance of a group's accuracy falls with the square root of its images",
            "gives large groups too little weight where only the luck of the draw is at work, and "
            "too much where groups differ of their own",
        ),
        Covariance(
            "binomial",
            "diag(p (1 - p) / n), p the share of all images",
            "groups differ from the line by the luck of the draw of their images alone",
            "cries wolf where groups differ of their own, as they usually do",
        ),
        Covariance(
            "equal",
            "the identity: ordinary least squares",
            "every group's accuracy is equally uncertain",
            "sees less where sizes differ: a group of 50 images counts as much as one of 2,000",
        ),
        Covariance(
            "robust",
            "the identity, with heteroskedasticity-robust (HC3) errors",
            "nothing about the variances, but many groups",
            "sees less where sizes differ; not for a handful of groups",
        ),
    )
}

#: What the audit shows unless told otherwise. The first decides: the one that holds its level.
DEFAULT = ("between", "paper", "binomial", "robust")


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
    """``p (1 - p) / n`` with the share p of all images: how much the share of n images varies.

    Not each group's own share: a group that happens to be all right would then seem the most
    certain of all, and where sizes go with the attribute that alone makes a slope.

    >>> binomial_variances(np.array([0.5, 1.0]), np.array([100.0, 100.0])).round(6)
    array([0.001875, 0.001875])
    """
    share = pooled(accuracy[None], n)
    variances: Array = share * (1 - share) / n
    return variances


def pooled(accuracy: Array, n: Array) -> Array:
    """The share of all images that are right, a number for each row of ``(draws, groups)``.

    It is kept away from 0 and 1 by half an image, where its variance would be 0.
    """
    total = float(n.sum())
    share: Array = np.clip(accuracy @ n / total, 0.5 / total, 1 - 0.5 / total)
    return share
