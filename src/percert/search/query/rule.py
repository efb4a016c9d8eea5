"""The decision rule of a store: per-image thresholds for a wanted rate of false positives."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from percert.search.query.recommended import (
    WRONG,
    has_table,
    recommended_threshold,
    share_of_queries,
    wrong_rate,
)
from percert.search.query.threshold import AutoThreshold
from percert.search.tables.schema import StoreHeader


@dataclass(frozen=True)
class Rule:
    """The decision rule of a store: one threshold a stored image.

    A copy lies within ``threshold - weight b`` of a stored view, b being the likeness of that view
    to the ``background`` (its hash; ``source`` says where it is from; ``None`` where one threshold
    is for all). Of queries that are copies of nothing, the share ``wrong`` gets an answer from the
    store as it is; ``counted`` says whether so small a rate was counted when the metric was
    calibrated, or is extrapolated. Both are ``None`` where that is not known.
    """

    threshold: float
    weight: float = 0.0
    background: str | None = None
    source: str | None = None
    wrong: float | None = None
    counted: bool | None = None


def store_rule(
    header: StoreHeader,
    images: int,
    choose: Callable[[float], AutoThreshold],
    threshold: float | None,
    wrong: float | None,
    pictures: int = 1,
) -> Rule:
    """The rule of a store with ``header`` and so many ``images``.

    By the given ``threshold``; or for the rate ``wrong`` by the metric's table of strangers; or,
    where it has none for this store, by the callback ``choose``, which finds a threshold for a rate
    a pair from the stored images: the rate of a query is at most that of a pair times their number.
    Where so many ``pictures`` are asked for one query, each may have an equal part of its rate.
    """
    if threshold is not None and wrong is not None:
        raise ValueError("wrong: expected a rate or a threshold, found both")
    if threshold is None:
        wrong = WRONG if wrong is None else wrong
        if not 0 < wrong < 1:
            raise ValueError(f"wrong: expected a rate between 0 and 1, found {wrong:g}")
        rule = _rule_of_rate(header, images, choose, wrong / pictures)
    else:
        rule = _rule_of_threshold(header, images, threshold)
    rate = rule.wrong
    return rule if rate is None else replace(rule, wrong=min(1.0, rate * pictures))


def _rule_of_threshold(header: StoreHeader, images: int, threshold: float) -> Rule:
    highest = 2 + header.weight
    if not 0 <= threshold <= highest:
        raise ValueError(f"threshold: expected a number in [0, {highest:g}], found {threshold}")
    return _rule(header, threshold, wrong_rate(header, images, threshold))


def _rule_of_rate(
    header: StoreHeader, images: int, choose: Callable[[float], AutoThreshold], wrong: float
) -> Rule:
    if has_table(header):
        return recommended_rule(header, images, wrong)
    chosen = choose(wrong / max(1, images))
    return _rule(header, chosen.threshold, wrong, chosen.proven)


def _rule(
    header: StoreHeader, threshold: float, wrong: float | None, counted: bool | None = None
) -> Rule:
    named = header.background
    hash, source = (None, None) if named is None else (named.hash, named.source)
    return Rule(threshold, header.weight, hash, source, wrong, counted)


def recommended_rule(header: StoreHeader, images: int, wrong: float | None) -> Rule:
    """The rule by the metric's table of strangers; ``ValueError`` where it has none."""
    found = recommended_threshold(header, images, wrong)
    return _rule(header, found.threshold, found.wrong, found.counted)


#: The partner's part of the wrong answers that are bearable. So it finds what it would find alone,
#: and the certified metric hardly less than with all of them (``experiments/copies/rules.py``).
PARTNER = 0.95


def shared_rate(wrong: float | None) -> tuple[float, float]:
    """The rates of the certified metric and of its partner, which add up to ``wrong``.

    >>> [f"{rate:.2g}" for rate in shared_rate(1e-3)]
    ['5e-05', '0.00095']
    """
    wrong = WRONG if wrong is None else wrong
    return (1 - PARTNER) * wrong, PARTNER * wrong


def partner_share(rule: Rule, wrong: float | None) -> float:
    """The rate of wrong answers that a partner may add to ``rule``.

    Its part of ``wrong`` where that was named, else what goes with the rule's own rate where that
    is known, else its part of the default.
    """
    if wrong is None and rule.counted is not None and rule.wrong is not None:
        return min(1.0, rule.wrong * PARTNER / (1 - PARTNER))
    return shared_rate(wrong)[1]


def expected(rule: Rule) -> str:
    """The rule's rate of false positives as a sentence for people.

    >>> expected(Rule(0.5, 0.5, wrong=1e-3, counted=True))
    'Of queries that are copies of nothing here, 1 in 1,000 gets an answer.'
    >>> expected(Rule(0.5))
    'How many queries that are copies of nothing get an answer is not known.'
    """
    if rule.wrong is None:
        return "How many queries that are copies of nothing get an answer is not known."
    how = " (extrapolated)" if rule.counted is False else ""
    rate = share_of_queries(rule.wrong)
    return f"Of queries that are copies of nothing here, {rate} gets an answer{how}."
