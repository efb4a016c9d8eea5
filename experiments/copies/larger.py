"""A larger network beside the default, and both as one: copies in a collection.

    python -m experiments copies.larger --more MORE --work WORK --out docs/results

The photographs, edits, strangers and rules of copies.rules, at one pair of strangers in a million,
by the certified metrics alone. The two networks as one are (2 cos a f, sin a g) for the default f
and the larger g, the 2 being how much less f's input is than g's for the same tamper; that is as
certified as either. The rule of content belongs to one network and is not asked of two: a = 0 and
a = 90 are either network alone without it. Rows that copies.rules keeps in --work are used.
Writes copies-larger.json and .md.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from experiments.conditions import conditions, write_result
from experiments.copies.embedded import EmbeddedSet
from experiments.copies.proven_rules import (
    BUDGETS,
    RULES,
    Certified,
    EmbeddedPictures,
    ViewRule,
)
from experiments.copies.rivals import level_at
from experiments.copies.rules_report import Row, found_columns
from experiments.copies.sets import EDITS, QUERY_SETS, Sets, add_places
from percert.data.edit import Edit
from percert.evaluation.copies.rates import SIDE
from percert.files import write_whole
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.reports.table import Column, Table

RATE = 1e-6
DEGREES = (0, 30, 45, 60, 90)
ASKED_RULES = tuple(rule for rule in RULES if rule.name in ("whole", "thorough", "exhaustive"))


@dataclass(frozen=True)
class BothMetrics:
    """What certificates ask of a metric, of two whose embeddings are weighted and joined."""

    first: Sets
    second: Sets
    weights: tuple[float, float]
    constant: float = 0.0
    content: Content | None = None

    @property
    def feature_error(self) -> float:
        return self._joined(self.first.metric.feature_error, self.second.metric.feature_error)

    def bound(self, size: tuple[int, int]) -> LipschitzBound:
        bounds = self.first.metric.bound(size), self.second.metric.bound(size)
        value = self._joined(*(bound.value for bound in bounds)) * (1 + 1e-12)
        return LipschitzBound(value, f"{bounds[0].proof}; {bounds[1].proof}", size)

    def float_error(self, size: tuple[int, int]) -> float:
        return self._joined(*(one.metric.float_error(size) for one in (self.first, self.second)))

    def _joined(self, first: float, second: float) -> float:
        return math.hypot(self.weights[0] * first, self.weights[1] * second)


@dataclass(frozen=True, eq=False)
class Both:
    """Two networks' embeddings of the same pictures, weighted by the circle's point ``degrees``."""

    first: Sets
    second: Sets
    degrees: float

    @cached_property
    def metric(self) -> BothMetrics:
        size, angle = (SIDE, SIDE), math.radians(self.degrees)
        scale = self.second.metric.bound(size).value / self.first.metric.bound(size).value
        return BothMetrics(self.first, self.second, (scale * math.cos(angle), math.sin(angle)))

    @cache  # noqa: B019  # one for the whole run
    def certified(self, name: str) -> EmbeddedSet:
        return self._joined(self.first.certified(name), self.second.certified(name))

    @cache  # noqa: B019  # one for the whole run
    def certified_edit(self, edit: Edit) -> EmbeddedSet:
        return self._joined(self.first.certified_edit(edit), self.second.certified_edit(edit))

    def _joined(self, first: EmbeddedSet, second: EmbeddedSet) -> EmbeddedSet:
        weights = (np.float32(weight) for weight in self.metric.weights)
        parts = (weight * one.rows for weight, one in zip(weights, (first, second), strict=True))
        return EmbeddedSet(np.concatenate(list(parts), axis=-1), first.sizes)


def measure(name: str, pictures: EmbeddedPictures) -> list[dict[str, Any]]:
    """A row a rule: the shares found and certified of each group of edits."""
    certified = Certified(pictures)
    return [_row(name, certified, rule) for rule in ASKED_RULES]


def _row(name: str, certified: Certified, rule: ViewRule) -> dict[str, Any]:
    level = level_at(certified.stranger_scores(rule), RATE)
    row: dict[str, Any] = {"network": name, "views": rule.name}
    for group, edits in EDITS.items():
        found = np.concatenate([certified.copy_scores(rule, edit) > level for edit in edits])
        radii = np.concatenate([certified.radii(rule, edit, level) for edit in edits])
        row[group] = float(found.mean())
        row[f"{group} certified"] = [float((radii > eps).mean()) for eps in BUDGETS]
    print(row["network"], row["views"], row["usual"], row["augly"], flush=True)
    return row


def report(result: Mapping[str, Any]) -> str:
    """The page, as Markdown."""
    budgets = " / ".join(f"{eps:g}" for eps in result["budgets"])
    columns: list[Column[Row]] = [
        Column("network", itemgetter("network")),
        Column("views", itemgetter("views")),
        *found_columns(budgets),
    ]
    return "\n".join(
        (
            f"# A larger network: `{result['larger']}` beside `{result['default']}`\n",
            f"Measured by `python -m experiments copies.larger` on {result['photographs']} "
            f"photographs in a collection, copies of all of them and {result['strangers']} "
            f"strangers, at {result['rate']:.0e} a pair. Certified is the share of all copies that "
            f"is found and stays so for every change of l2 {budgets} (lengths at 299 px). "
            "a: both networks as one, (2 cos a f, sin a g), without the rule of content, by which "
            "about one copy in a hundred holds too little; 0 and 90 degrees are either of them "
            "alone without it.\n",
            Table.of(result["rows"], columns).markdown(),
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_places(parser)
    parser.add_argument("--limit", type=int, help="of each set, for a trial")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    default, larger = (
        Sets(options.data, options.more, options.work, name, limit=options.limit)
        for name in ("lipsim-tiny", "lipsim-base")
    )
    rows = [row for sets in (default, larger) for row in measure(sets.metric_name, sets)]
    for degrees in DEGREES:
        rows += measure(f"a = {degrees}", Both(default, larger, degrees))
    result = {
        "benchmark": "copies-larger",
        "default": default.metric_name,
        "larger": larger.metric_name,
        "photographs": len(default.paths("photographs")),
        "strangers": sum(len(default.paths(name)) for name in QUERY_SETS),
        "rate": RATE,
        "budgets": list(BUDGETS),
        "rows": rows,
    }
    write_result(options.out / "copies-larger.json", result | {"conditions": vars(conditions(0))})
    write_whole(options.out / "copies-larger.md", report(result))


if __name__ == "__main__":
    main()
