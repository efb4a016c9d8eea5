"""How many images a group an audit needs, before any are collected."""

from dataclasses import dataclass
from math import ceil

from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.optimize import brentq  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import LEVEL
from percert.fairness.equivalence import check_margin, noncentrality_chi2
from percert.fairness.regression import FEWEST_GROUPS

#: Beyond so many groups none is looked for.
MOST_GROUPS = 2000


@dataclass(frozen=True)
class SampleSize:
    """What one question takes: ``images`` a group, ``None`` where no number of them is enough.

    ``groups`` is then the number with which some number of images is, ``None`` where none is.
    """

    question: str
    images: int | None
    groups: int | None


@dataclass(frozen=True)
class PlanSettings:
    """What is expected: groups of one size, whose shares lie around ``rate``.

    ``gap`` is the difference to be found, ``margin`` the one within which the groups are to be
    shown fair, ``spread`` the standard deviation of the groups' true shares about the line, as
    estimates of the audit have it. Tests are at the level 0.05, with power ``power``.
    """

    groups: int
    rate: float
    gap: float = 0.05
    margin: float | None = None
    spread: float = 0.0
    power: float = 0.8

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise ValueError(f"groups: expected at least 2, found {self.groups}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate: expected a share in (0, 1), found {self.rate:g}")
        if not LEVEL < self.power < 1:
            raise ValueError(f"power: expected a share in ({LEVEL:g}, 1), found {self.power:g}")
        if self.spread < 0:
            raise ValueError(f"spread: expected at least 0, found {self.spread:g}")
        for name, value in (("gap", self.gap), ("margin", self.margin or self.gap)):
            try:
                check_margin(value)
            except ValueError as error:
                raise ValueError(f"{name}{str(error).removeprefix('margin')}") from None
        room = 2 * min(self.rate, 1 - self.rate)
        if self.gap > room + 1e-12:
            raise ValueError(
                f"gap: shares around {self.rate:g} can differ by {room:g} at most, found "
                f"{self.gap:g}"
            )


def plan(settings: PlanSettings) -> list[SampleSize]:
    """What it takes to find a gap, to find a line, and to show that groups are fair in a margin.

    >>> for need in plan(PlanSettings(groups=2, rate=0.5, gap=0.1, margin=0.1)):
    ...     print(need.images, need.question)
    393 find that two groups differ by 0.1
    429 show that no two groups differ by 0.1, where all are alike
    """
    needs = [
        SampleSize(
            f"find that two groups differ by {settings.gap:g}",
            images_for_gap(settings.groups, settings.rate, settings.gap, settings.power),
            None,
        )
    ]
    if settings.groups >= FEWEST_GROUPS:
        images = images_for_line(
            settings.groups, settings.rate, settings.gap, settings.spread, settings.power
        )
        needs.append(
            SampleSize(
                f"find a line that changes by {settings.gap:g} from the lowest to the highest "
                "attribute, evenly spaced",
                images,
                None if images is not None else groups_for_line(settings),
            )
        )
    if settings.margin is not None:
        needs.append(
            SampleSize(
                f"show that no two groups differ by {settings.margin:g}, where all are alike",
                images_for_margin(settings.groups, settings.rate, settings.margin, settings.power),
                None,
            )
        )
    return needs


def images_for_gap(groups: int, rate: float, gap: float, power: float = 0.8) -> int:
    """For the chi-square test of all groups to find that two differ by ``gap``, most hidden.

    The others lie in the middle, which of all places shows the gap least: the noncentrality is
    n gap^2 / (2 p (1 - p)).

    >>> images_for_gap(2, 0.5, 0.1)
    393
    """
    return ceil(2 * rate * (1 - rate) * noncentrality_chi2(groups - 1, power) / gap**2)


def images_for_margin(groups: int, rate: float, margin: float, power: float = 0.8) -> int:
    """For every pair to be shown within ``margin``, where all true shares are ``rate``.

    The largest difference seen is the range of ``groups`` normal shares, whose quantiles are those
    of the studentised range; it must stay z sqrt(2) standard errors below the margin.

    >>> images_for_margin(2, 0.5, 0.1)
    429
    """
    reach = float(stats.studentized_range.ppf(power, groups, 1e6))
    reach += float(stats.norm.isf(LEVEL)) * 2**0.5
    return ceil(rate * (1 - rate) * (reach / margin) ** 2)


def images_for_line(
    groups: int, rate: float, gap: float, spread: float = 0.0, power: float = 0.8
) -> int | None:
    """For the F-test to find a line that changes by ``gap`` over evenly spaced groups.

    ``None`` where the groups' own ``spread`` about the line hides it whatever the images: then it
    takes more groups.

    >>> images_for_line(20, 0.9, 0.1), images_for_line(20, 0.9, 0.1, spread=0.1)
    (43, None)
    """
    room = _variance_allowed(groups, gap, power) - spread**2
    return ceil(rate * (1 - rate) / room) if room > 0 else None


def groups_for_line(settings: PlanSettings) -> int | None:
    """The fewest groups with which some number of images finds the line."""
    for groups in range(settings.groups + 1, MOST_GROUPS + 1):
        if _variance_allowed(groups, settings.gap, settings.power) > settings.spread**2:
            return groups
    return None


def _variance_allowed(groups: int, gap: float, power: float) -> float:
    """Of a group about the line: with no more the F-test has the power."""
    squares = groups * (groups + 1) / (12 * (groups - 1))  # of 0 to 1 in equal steps
    limit = stats.f.isf(LEVEL, 1, groups - 2)
    size = brentq(lambda size: stats.ncf.sf(limit, 1, groups - 2, size) - power, 1e-9, 1e6)
    return float(gap**2 * squares / size)
