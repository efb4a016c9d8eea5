"""What a statistical test found, in numbers and in words."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from percert.reports.finite import finite

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
        fields = asdict(self)
        fields["df"] = list(self.df)
        fields["interval"] = None if self.interval is None else list(self.interval)
        return {key: finite(value) for key, value in fields.items()}
