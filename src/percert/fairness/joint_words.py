"""What a joint regression of groups allows to say, and its tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from percert.fairness.conclusions import LEVEL, df_text, interval_column, p_words
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.fairness.joint import Category, JointLine, Term


def _beside(held: Sequence[str]) -> str:
    return f" with {_and(held)} held fixed" if held else ""


def _and(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> _and(["a"]), _and(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def joint_null(name: str, held: Sequence[str], outcome: str, categories: bool) -> str:
    """The null hypothesis of one term."""
    if categories:
        return f"Across the groups, {outcome} is the same for every {name}{_beside(held)}."
    return f"Across the groups, {outcome} does not depend linearly on {name}{_beside(held)}."


def joint_may(
    term: "Term", p_adjusted: float, groups: int, held: Sequence[str], outcome: str, tests: int = 1
) -> str:
    """What the test of one term allows to say; ``p_adjusted`` decides."""
    said = p_words(term.test.p_value, p_adjusted, tests)
    low_high = "" if term.interval is None else (
        f"between {term.interval[0]:+.4g} and {term.interval[1]:+.4g}"
    )  # fmt: skip
    if p_adjusted < LEVEL:
        head = (
            f"Rejected at the level {LEVEL:g} ({said}): over these {groups} groups{_beside(held)}, "
            f"{outcome} is associated with {term.name}"
        )
        if term.slope is not None:
            return f"{head}: {term.slope:+.4g} for each unit, {low_high}."
        means = sorted(term.categories, key=lambda entry: entry.mean)
        return (
            f"{head}: {means[0].mean:.4f} for {means[0].name} at the lowest, {means[-1].mean:.4f} "
            f"for {means[-1].name} at the highest. Which of the others differ is not tested."
        )
    alone = (
        f" Without them it would count as found (p = {term.alone:.4g} alone): it goes with them."
        if held and term.alone < LEVEL
        else ""
    )
    kept = "" if term.slope is None else f" Slopes {low_high} are compatible with them."
    return (
        f"Not rejected at the level {LEVEL:g} ({said}): these {groups} groups do not show that "
        f"{outcome} depends on {term.name}{_beside(held)}, nor that it does not.{alone}{kept}"
    )


def joint_may_not(held: Sequence[str]) -> str:
    """What the test of one term does not allow to say."""
    adjusted = (
        f" Holding {_and(held)} fixed is right where that comes before the attribute or beside it; "
        "where it follows from the attribute, it hides part of what the attribute does."
        if held
        else ""
    )
    return (
        "Not that the attribute causes the difference: what was not measured was not allowed for, "
        "and of columns that go together (inflation above 5) no regression tells which one it is."
        + adjusted
    )


def joint_table(line: "JointLine", confidence: float, *, short: bool = False) -> Table:
    """Every column of one joint regression."""
    statistic, df, p_value = line.beyond
    columns: list[Column[Term]] = [
        Column("column", lambda term: term.name),
        Column("role", lambda term: "attribute" if term.tested else "covariate"),
        Column("slope", lambda term: term.slope, "+.4g", missing=""),
        interval_column(confidence, lambda term: term.interval, "+.4g"),
        Column(
            "slope a standard deviation",
            lambda term: term.per_sd,
            "+.4g",
            missing="",
            short="slope a sd",
            wide=True,
        ),
        Column("F", lambda term: term.test.statistic, ".4g"),
        Column("df", lambda term: term.test.df, df_text),
        Column("p without the others", lambda term: term.alone, ".4g", short="p without"),
        Column("p beside them", lambda term: term.test.p_value, ".4g", short="p beside"),
        Column(
            "p, Holm", lambda term: term.test.p_adjusted if term.tested else None, ".4g", missing=""
        ),
        Column("inflation", lambda term: term.inflation, ".2f"),
    ]
    mixed = f" Shares are adjusted for the mix of {_and(line.strata)}." if line.strata else ""
    return Table.of(
        line.terms,
        columns,
        f"{line.model}: all columns in one regression, covariance {line.covariance}, R² "
        f"{line.r2:.3f}. Holm's method counts the attributes; covariates are allowed for, not "
        f"tested.{mixed} Inflation: how much the other columns widen the variance. That groups "
        f"differ beyond these columns: chi-square {statistic:.4g}, df {df}, p = {p_value:.4g}.",
        short=short,
    )


def categories_table(term: "Term", confidence: float, outcome: str) -> Table:
    """The means of one term's categories."""
    columns: list[Column[Category]] = [
        Column(term.name, lambda entry: entry.name),
        Column("groups", lambda entry: entry.groups, "d"),
        Column("images", lambda entry: entry.images, ","),
        Column(f"mean {outcome.removeprefix('the ')}", lambda entry: entry.mean, ".4f"),
        interval_column(confidence, lambda entry: entry.interval, ".4f"),
    ]
    return Table.of(
        term.categories,
        columns,
        f"Groups by {term.name}, at the mean of all other columns. The intervals are of each mean "
        "by itself, not of differences.",
    )
