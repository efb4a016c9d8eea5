"""What a statistical test found, in numbers and in words: what may and may not be concluded.

Every sentence follows the p-value after the correction for the tests beside it. Also the columns
that tables of tests share.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from percert.reports.table import Column, Row, finite

#: The level of significance of every sentence here, and of the paper (section 4).
LEVEL = 0.05


@dataclass(frozen=True)
class TestResult:
    """One test: its numbers, the hypothesis that it tests, and what follows from it.

    ``df`` are the degrees of freedom: (1, 39) for an F-test, (49,) for a t-test, () where there are
    none. ``p_adjusted`` is the p-value after the correction for the tests beside it, and the one
    that decides; ``p_value`` where there are none. ``effect`` is the size of what was found,
    ``effect_name`` says in which unit, and ``interval`` is its two-sided confidence interval.
    ``null`` is the hypothesis under test as a sentence. ``may`` says what may be concluded,
    ``may_not`` what may not.
    """

    name: str
    statistic: float
    df: tuple[float, ...]
    p_value: float
    p_adjusted: float
    effect: float
    effect_name: str
    interval: tuple[float, float] | None
    null: str
    may: str
    may_not: str

    #: pytest collects classes by this name unless told otherwise.
    __test__ = False

    @property
    def significant(self) -> bool:
        """Whether the null hypothesis is rejected at the level 0.05, after adjustment."""
        return self.p_adjusted < LEVEL

    def adjusted(self, p_adjusted: float, may: str) -> "TestResult":
        """The same test beside others: its adjusted p-value, and what then may be concluded."""
        return replace(self, p_adjusted=p_adjusted, may=may)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that JSON cannot hold becomes ``None``."""
        fields: dict[str, Any] = finite(self)
        return fields


#: Fewer groups than this are called few.
FEW = 20


def slope_null(attribute: str, outcome: str = "accuracy") -> str:
    """The null hypothesis of the F-test."""
    return f"Across the groups, {outcome} does not depend linearly on {attribute}: the slope is 0."


def p_words(p_value: float, p_adjusted: float, tests: int) -> str:
    """The p-value that decides, and where it was adjusted the one that it came from.

    >>> p_words(0.02, 0.04, 2)
    "p = 0.04 by Holm's method for 2 tests, 0.02 alone"
    """
    if tests < 2:
        return f"p = {p_value:.4g}"
    return f"p = {p_adjusted:.4g} by Holm's method for {tests} tests, {p_value:.4g} alone"


def slope_may(
    p_value: float,
    p_adjusted: float,
    slope: float,
    interval: tuple[float, float],
    groups: int,
    attribute: str,
    confidence: float,
    tests: int = 1,
    outcome: str = "accuracy",
) -> str:
    """What the F-test of one model allows to say; ``p_adjusted`` decides."""
    between = (
        f"between {interval[0]:+.4g} and {interval[1]:+.4g} ({confidence:.0%} confidence interval)"
    )
    p_said = p_words(p_value, p_adjusted, tests)
    if p_adjusted < LEVEL:
        sign = "higher" if slope > 0 else "lower"
        return (
            f"Rejected at the level {LEVEL:g} ({p_said}): over these {groups} groups, "
            f"{outcome} is associated with {attribute}. It is {sign} where {attribute} is higher: "
            f"{slope:+.4g} for each unit, {between}."
        )
    alone = (
        " Alone it would count as found; beside the other tests it does not."
        if p_value < LEVEL
        else ""
    )
    return (
        f"Not rejected at the level {LEVEL:g} ({p_said}): these {groups} groups do not "
        f"show that {outcome} depends on {attribute}.{alone} They do not show that it does not, "
        f"either: slopes {between} are compatible with them."
    )


def within_may(
    p_value: float,
    p_adjusted: float,
    margin: float,
    within: float,
    attribute: str | None,
    outcome: str = "accuracy",
    tests: int = 1,
) -> str:
    """What a test of being fair within ``margin`` allows to say.

    ``within`` is the smallest margin that these data would show to be kept.
    """
    what = outcome.removeprefix("the ")
    least = f"{within:.4g}" + ("" if tests < 2 else " (alone)")
    p_said = p_words(p_value, p_adjusted, tests)
    if p_adjusted < LEVEL:
        kept = (
            f"no two groups differ in {what} by {margin:g}"
            if attribute is None
            else f"over the {attribute} of these groups {what} changes by less than {margin:g} "
            "along the line"
        )
        return (
            f"Rejected at the level {LEVEL:g} ({p_said}): fair within {margin:g}: {kept}. The "
            f"smallest margin that these data show to be kept is {least}."
        )
    return (
        f"Not rejected at the level {LEVEL:g} ({p_said}): not shown to be fair within {margin:g}. "
        f"The smallest margin that these data show to be kept is {least}."
    )


def within_may_not() -> str:
    """What a test of being fair within a margin does not allow to say."""
    return (
        "Not that there is no difference: within the margin there may be one, and it may be shown "
        "as well. How much is acceptable is a judgement, no statistic: the margin counts if it was "
        "chosen before looking. Not for other data, classes or models than those tested."
    )


def slope_may_not(attribute: str, groups: int) -> str:
    """What the F-test of one model does not allow to say."""
    few = (
        f" {groups} groups are few: one alone can make or unmake the result (see Cook's distance)."
        if groups < FEW
        else ""
    )
    return (
        f"Not that {attribute} causes the difference: this is an association across groups, which "
        "also differ in what is pictured, how, and by whom. Not that it holds within a group, or "
        "for single images. Not for other data, classes or models than those tested. The "
        "covariance of the groups' errors is an assumption: look at the others beside it, and "
        "choose one before looking." + few
    )


def holm_note(attributes: int) -> str:
    """What is said where several attributes are tested."""
    return (
        f"{attributes} attributes were tested on the same predictions, so that one in twenty would "
        "come out significant by chance alone. The p-values beside them are Holm's: they hold the "
        f"chance of any false alarm among them at {LEVEL:g}. Only those decide."
    )


def models_note(models: int) -> str:
    """What is said where several models of one set are tested one by one."""
    return (
        f"{models} models were tested one by one. They were judged on the same images, so their "
        "tests are no independent repetitions: that many are significant says how much the finding "
        "depends on the luck of training, not how sure it is for other images."
    )


def two_groups_note() -> str:
    """What is said where there are attributes, but two groups."""
    return (
        "Two groups: a line through two points has no error to test it with. Whether the groups "
        "differ, and by how much, is tested instead; whether that goes with their attribute, two "
        "groups cannot tell."
    )


def outcome_note(name: str, meaning: str, positive: str | None) -> str:
    """What is said of another outcome than accuracy, and of the class that counts as positive.

    >>> outcome_note("accuracy", "the share of images whose answer is right", "Female")
    'The class Female counts as positive in rates and equalised odds.'
    """
    counts = f"The class {positive} counts as positive in rates and equalised odds."
    if name == "accuracy":
        return counts
    return (
        f"The outcome is {meaning}. Higher is not everywhere better: that depends on its use."
        + ("" if positive is None else f" {counts}")
    )


def skipped_note(attribute: str, why: str) -> str:
    """What is said of a covariance that these groups do not allow."""
    return f"{attribute}: {why}."


def pairs_note(pairs: str, paired: bool, ours: int, theirs: int) -> str:
    """What is said of how the models of two sets were paired."""
    if not paired:
        return (
            f"The {ours} and {theirs} models are not paired, so Welch's test decides."
            if pairs == "none"
            else f"The {ours} and {theirs} models cannot be paired by {pairs}, so Welch's test "
            "decides."
        )
    by = "of the same name" if pairs == "name" else "in the same place of both files"
    return (
        f"Models {by} are taken as a pair, {ours} of them, and the paired test decides. That is "
        "right where the two share a seed or a start; otherwise ask for no pairs."
    )


def comparison_null(name: str, other: str, magnitude: bool) -> str:
    """The one-sided null hypothesis between two sets of models."""
    what = "mean size of the slopes" if magnitude else "mean slope"
    return f"The {what} of {name} is at least that of {other}."


def comparison_may(
    p_value: float,
    p_adjusted: float,
    name: str,
    other: str,
    difference: float,
    interval: tuple[float, float] | None,
    magnitude: bool,
    confidence: float,
    tests: int = 1,
) -> str:
    """What a one-sided test between two sets allows to say: smaller, the opposite, or neither.

    ``difference`` and ``interval`` are the mean of ``other`` less that of ``name``. Where the
    interval lies wholly below 0 the sets do show something, though not what was asked.
    """
    what = "slopes' size" if magnitude else "slope"
    p_said = p_words(p_value, p_adjusted, tests)
    if p_adjusted < LEVEL:
        return (
            f"Rejected at the level {LEVEL:g} ({p_said}): trained again in the same way, "
            f"on the same data, the mean {what} of {name} would be smaller than that of {other}; "
            f"here by {difference:.4g}{_reach(interval, confidence)}."
        )
    head = (
        f"Not rejected at the level {LEVEL:g} ({p_said}): these models do not show that "
        f"the mean {what} of {name} is smaller than that of {other}"
    )
    if interval is not None and interval[1] < 0:
        turned = (-interval[1], -interval[0])
        return (
            f"{head}. They show the opposite: it is larger, here by {-difference:.4g}"
            f"{_reach(turned, confidence)}."
        )
    compatible = (
        ""
        if interval is None
        else f" ({confidence:.0%} confidence interval: {interval[0]:+.4g} to {interval[1]:+.4g})"
    )
    return (
        f"{head} (here by {difference:.4g}), nor that it is not: both are compatible with "
        f"them{compatible}."
    )


def _reach(interval: tuple[float, float] | None, confidence: float) -> str:
    if interval is None:
        return ""
    return (
        f", between {interval[0]:.4g} and {interval[1]:.4g} ({confidence:.0%} confidence interval)"
    )


def comparison_may_not(
    name: str, any_negative: bool, magnitude: bool, outcome: str = "accuracy"
) -> str:
    """What a test between two sets does not allow to say."""
    sign = (
        " Some slopes are negative: a smaller slope is then not a fairer one, as only 0 means no "
        "dependence; compare their sizes."
        if any_negative and not magnitude
        else ""
    )
    return (
        "Only the randomness of training was sampled: all models share the training data, the "
        "images and the groups, so nothing follows for other data, images or groups. With enough "
        "models the smallest difference becomes significant: look at its size. Not that "
        f"{name} is fair: its slope may well differ from 0, and a slope can also fall because "
        f"{outcome} falls for all." + sign
    )


def interval_column(confidence: float, ends: Callable[[Row], Any], format: str) -> Column[Row]:
    """The column of confidence intervals that ``ends`` gives as (low, high)."""
    return Column(f"{confidence:.0%} interval", ends, format, short="interval")


def statistic_columns(statistic: str, test: Callable[[Row], TestResult]) -> list[Column[Row]]:
    """The numbers of a test that is one of several."""
    return [
        Column(statistic, lambda row: test(row).statistic, ".4g"),
        Column("df", lambda row: test(row).df, df_text),
        Column("p alone", lambda row: test(row).p_value, ".4g"),
        Column("p, Holm", lambda row: test(row).p_adjusted, ".4g"),
    ]


def df_text(values: tuple[float, ...]) -> str:
    """Degrees of freedom: whole ones as they are.

    >>> df_text((1.0, 39.0)), df_text((47.81349,))
    ('1, 39', '47.81')
    """
    return ", ".join(f"{value:g}" if value == int(value) else f"{value:.4g}" for value in values)
