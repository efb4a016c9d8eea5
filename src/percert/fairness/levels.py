"""How often each test rejects where there is no slope, on the user's own groups: simulated."""

from dataclasses import dataclass

import numpy as np

from percert.fairness.covariance import pooled
from percert.fairness.line import fit_lines
from percert.fairness.regression import Array, design_of
from percert.fairness.result import LEVEL


@dataclass(frozen=True)
class Level:
    """The share of draws without a slope in which the F-test of a covariance rejects at 0.05.

    ``alike`` is with groups that all have one true accuracy, ``differing`` with groups whose log
    odds differ with standard deviation ``spread``, whatever their attribute: what was estimated.
    """

    covariance: str
    alike: float
    differing: float
    spread: float
    draws: int


def simulated_levels(
    accuracy: Array,
    attribute: Array,
    n: Array,
    covariances: tuple[str, ...],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> list[Level]:
    """The level of each covariance's test for groups with these sizes and this attribute.

    ``accuracy``, ``attribute`` and ``n`` are ``(groups,)``: only the share of all images that are
    right and the spread of the groups about the line are taken from ``accuracy``. A covariance that
    cannot be tested with these groups (``fit_line`` refuses it) is passed over.

    >>> n, x = np.full(12, 100.0), np.arange(12.0)
    >>> (level,) = simulated_levels(np.linspace(0.7, 0.8, 12), x, n, ("binomial",), draws=500)
    >>> 0.02 < level.alike < 0.08
    True
    """
    design = design_of(attribute)
    share = float(pooled(accuracy[None], n)[0])
    tau = fit_lines(accuracy[None], design, n, "between").tau
    assert tau is not None  # of this covariance it always is
    # A small spread of accuracies is p (1 - p) times that of log odds.
    spread = float(tau[0]) / (share * (1 - share))
    usable = [name for name in covariances if name != "robust" or not design.one_group_fixes_it]
    found: dict[str, list[float]] = {name: [] for name in usable}
    for sd in (0.0, spread):
        drawn = draw_accuracies(np.random.default_rng(seed), share, sd, n, draws)
        varied = drawn[np.ptp(drawn, axis=1) > 0]  # without any spread nothing is tested
        for name in usable:
            p_values = fit_lines(varied, design, n, name).p_value
            found[name].append(float((p_values < LEVEL).sum()) / draws)
    return [
        Level(name, alike, differing, spread, draws) for name, (alike, differing) in found.items()
    ]


def draw_accuracies(
    rng: np.random.Generator, share: float, spread: float, n: Array, draws: int
) -> Array:
    """Accuracies ``(draws, groups)`` of groups whose log odds have mean that of ``share``."""
    odds = np.log(share / (1 - share)) + spread * rng.normal(size=(draws, len(n)))
    accuracies: Array = rng.binomial(n.astype(int), 1 / (1 + np.exp(-odds))) / n
    return accuracies
