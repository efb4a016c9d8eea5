"""Whether the audit's other intervals hold the truth, and its other tests their level: on a grid.

    python -m experiments fairness.audit_intervals --out docs/results

``fairness.audit_level`` draws the F-test of one attribute, the extremes of groups and Wilson's
intervals. Here is the rest of what a report prints: the slope's interval where there is a slope,
several attributes jointly, the mixed-effects logistic regression, two versions on the same images,
equivalence at its margin, calibration, the mix of classes, and what a slope generalises to. A cell
is a number of groups, an accuracy and a spread of the groups. Cells that are through are kept in
``--runs``. Writes ``audit-intervals.json`` and ``.md``. About half an hour on one core.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.calibration import group_calibration
from percert.fairness.equivalence import pairs_p_value, slope_within
from percert.fairness.joint import fit_joint
from percert.fairness.least_squares import Array
from percert.fairness.mix import adjust_for_mix
from percert.fairness.mixed_logistic import fit_mixed
from percert.fairness.regression import CannotEstimate, fit_line
from percert.fairness.resampling import SetShares, generalise
from percert.fairness.versions import change_intervals, gap_change_interval, mcnemar
from percert.files import write_whole
from percert.reports.table import Column, Table

LEVEL, CONFIDENCE = 0.05, 0.95
GROUPS = (6, 12, 40)
ACCURACIES = (0.8, 0.95)
#: Standard deviations of the groups' log odds.
SPREADS = (0.0, 0.3)
SIZES = (20, 2000)
#: Sizes and attributes that share the draws of a cell.
DESIGNS = 4
#: Trainings that stand for all that there might be.
TRAININGS = 200
#: What the slope and the versions are worth, in log odds.
EFFECT = 0.2


@dataclass(frozen=True)
class MiddleGroup:
    """``share`` is the accuracy of a group in the middle."""

    groups: int
    share: float
    spread: float


@dataclass(frozen=True, eq=False)
class World:
    """Groups of a cell: ``n`` images each, an attribute ``x``, and ``z``, which goes with it."""

    cell: MiddleGroup
    n: Array
    x: Array
    z: Array

    @property
    def middle(self) -> float:
        """Log odds of a group in the middle."""
        return float(np.log(self.cell.share / (1 - self.cell.share)))

    @property
    def unit(self) -> float:
        """How much of a share is one of log odds, there."""
        return self.cell.share * (1 - self.cell.share)

    def luck(self, rng: np.random.Generator) -> Array:
        """By how much the groups differ, in log odds."""
        drawn: Array = self.cell.spread * rng.normal(size=self.cell.groups)
        return drawn

    def shares(self, rng: np.random.Generator, true: Array) -> Array:
        """Accuracies of images drawn from groups whose true ones are ``true``."""
        found: Array = rng.binomial(self.n.astype(int), np.clip(true, 0.001, 0.999)) / self.n
        return found


def draw_world(rng: np.random.Generator, cell: MiddleGroup) -> World:
    """Sizes and attributes of a cell's groups."""
    low, high = SIZES
    x = rng.normal(size=cell.groups)
    return World(
        cell,
        np.round(low * (high / low) ** rng.random(cell.groups)),
        x,
        0.6 * x + 0.8 * rng.normal(size=cell.groups),
    )


#: What one draw found: a name, and whether the truth was held (or the test was right).
Found = Iterator[tuple[str, bool]]


def _holds(interval: tuple[float, float], truth: float) -> bool:
    return bool(interval[0] <= truth <= interval[1])


def slopes(rng: np.random.Generator, world: World) -> Found:
    """The lines: alone, beside another attribute that goes with it, and on the logit."""
    n, x, groups = world.n, world.x, world.cell.groups
    noise = world.luck(rng)
    slope = EFFECT * world.unit
    share = world.shares(rng, world.cell.share + slope * x + world.unit * noise)
    yield "slope of one attribute", _holds(fit_line(share, x, n).interval, slope)
    joint = fit_joint(share, n, {"x": x, "z": world.z}, draws=1)
    for term, truth in zip(joint.terms, (slope, 0.0), strict=True):
        assert term.interval is not None
        yield "slopes of two attributes jointly", _holds(term.interval, truth)
    kinds = np.array(["a", "b", "c"])[np.arange(groups) % 3]
    without = world.shares(rng, world.cell.share + world.unit * noise)
    if np.ptp(without):
        by_kind = fit_joint(without, n, {"category": kinds}, draws=1).terms[0]
        yield "category without an effect: not rejected", by_kind.test.p_value >= LEVEL
    logits = world.shares(rng, 1 / (1 + np.exp(-(world.middle + EFFECT * x + noise))))
    with suppress(CannotEstimate):  # which is said instead of an interval
        yield "slope of the mixed logistic model", _holds(fit_mixed(logits, x, n).interval, EFFECT)


def versions(rng: np.random.Generator, world: World) -> Found:
    """Two versions of a model on the same images, the second better where the first was worst."""
    n, sizes = world.n.astype(int), world.n
    odds = world.middle + world.luck(rng)
    before = 1 / (1 + np.exp(-odds))
    won, lost = 0.3 * (1 - before) * (odds < np.median(odds)), 0.05 * before
    parts = np.stack([before - lost, won, lost, 1 - before - won], 1)
    drawn = np.stack([rng.multinomial(size, row) for size, row in zip(n, parts, strict=True)])
    both, gains, losses = drawn.T[:3].astype(float)
    change = won - lost
    low, high = change_intervals(gains, losses, sizes, (1 - CONFIDENCE) / 2)
    for place in range(len(n)):
        held = _holds((low[place], high[place]), change[place])
        yield "change of a group between versions", held
    right = np.stack([both + losses, both + gains])
    gap = np.ptp(before + change) - np.ptp(before)
    interval = gap_change_interval(right, both, sizes, CONFIDENCE)
    yield "change of the gap between versions", _holds(interval, float(gap))
    swaps = rng.binomial(n, 0.1)
    wins = rng.binomial(swaps, 0.5).astype(float)
    for p_value in mcnemar(wins, swaps - wins):
        yield "version without an effect: not rejected (McNemar)", bool(p_value >= LEVEL)


def equivalence(rng: np.random.Generator, world: World) -> Found:
    """At the margin exactly fairness within it is not to be shown, but in 5 % of draws."""
    cell, n, x = world.cell, world.n, world.x
    margin = min(0.1, 0.9 * (1 - cell.share))
    true = np.full(cell.groups, cell.share)
    true[rng.choice(cell.groups, 2, replace=False)] += [-margin / 2, margin / 2]
    p_value = pairs_p_value(world.shares(rng, true), n, margin)
    yield "groups apart by the margin: not shown within it", p_value >= LEVEL
    line = cell.share + margin * ((x - x.min()) / np.ptp(x) - 0.5)
    share = world.shares(rng, line + world.unit * world.luck(rng))
    if np.ptp(share):
        test = slope_within(share, x, n, margin).test
        assert test is not None
        yield "line as steep as the margin: not shown within it", test.p_value >= LEVEL


def calibration(rng: np.random.Generator, world: World) -> Found:
    """Probabilities that are right, and the excess where they are not."""
    n, share = world.n.astype(int), world.cell.share
    group = np.repeat(np.arange(len(n)).astype(str), n)
    p = rng.beta(4 * share, 4 * (1 - share), len(group)).clip(1e-4, 1 - 1e-4)
    rows = pd.DataFrame({"group": group, "probability": p})
    rows["positive"] = (rng.random(len(p)) < p).astype(int)
    found = group_calibration(rows, draws=0)
    for entry in found.groups:
        yield "right probabilities: not rejected (Cox)", entry.p_value >= LEVEL
    yield "groups alike in their excess: not rejected", found.alike[2] >= LEVEL
    wrong = np.clip(p - 0.1, 0, 1)
    rows["positive"] = (rng.random(len(p)) < wrong).astype(int)
    away = pd.Series(wrong - p).groupby(group).mean()
    for entry in group_calibration(rows, draws=0).groups:
        held = _holds(entry.interval, float(away[entry.group]))
        yield "excess of a group's positives", held


def mix(rng: np.random.Generator, world: World) -> Found:
    """Groups that differ in nothing but how many images of hard classes they have."""
    n = world.n.astype(int)
    odds = world.middle + np.linspace(-1, 1, 5)
    mixes = rng.dirichlet(np.full(5, 2.0), len(n))
    group = np.repeat(np.arange(len(n)).astype(str), n)
    kind = np.concatenate([rng.choice(5, s, p=row) for s, row in zip(n, mixes, strict=True)])
    right = (rng.random(len(group)) < 1 / (1 + np.exp(-odds[kind]))).astype(float)
    found = adjust_for_mix(group.tolist(), kind.astype(str).tolist(), right)
    yield "mix of classes alone differs: not rejected (CMH)", found.p_value >= LEVEL
    table = pd.crosstab(group, right).to_numpy()
    if table.shape[1] == 2:
        plain = float(stats.chi2_contingency(table, correction=False)[1])
        yield "the same without adjustment (for comparison)", plain >= LEVEL


def reaches(rng: np.random.Generator, world: World) -> Found:
    """What a slope generalises to: images, groups, trainings, and all of them."""
    n, groups, models = world.n.astype(int), world.cell.groups, 10
    x = rng.normal(size=groups)  # other groups are another draw of these as well
    slope = EFFECT * world.unit
    true = world.cell.share + slope * x + world.unit * world.luck(rng)
    weights = world.n
    middle = weights @ x / weights.sum()
    along = weights * (x - middle) / (weights * (x - middle) ** 2).sum()
    group = np.repeat(np.arange(groups), n)
    own = 0.5 * slope * rng.normal(size=models)  # a training has a slope of its own
    each = np.clip(true + own[:, None] * x, 0, 1)
    luck = rng.random(len(group))  # that of the images is common to all trainings
    right = luck < each[:, group]
    shares = np.stack([np.bincount(group, row, groups) / n for row in right])
    found = generalise(
        [SetShares(shares @ along, weights, right.mean(0))], group, x,
        of="accuracy", attribute_name="x", draws=400, seed=int(rng.integers(2**31)),
    )  # fmt: skip
    # Of all trainings, on these very images, of which few answer where nearly all are right.
    usual = 0.5 * slope * stats.norm.ppf((np.arange(TRAININGS) + 0.5) / TRAININGS)
    answered = luck < np.clip(true + usual[:, None] * x, 0, 1)[:, group]
    truths = {
        "other trainings": float(along @ (np.bincount(group, answered.mean(0), groups) / n)),
        "other images of these groups": float(along @ each.mean(0)),
        "other groups": float(slope + own.mean()),
        "other trainings, images and groups": slope,
    }
    for reach in found.reaches:
        yield f"slope, for {reach.of}", _holds(reach.interval, truths[reach.of])


STATEMENTS: tuple[Callable[[np.random.Generator, World], Found], ...] = (
    slopes, versions, equivalence, calibration, mix, reaches,
)  # fmt: skip


def measure(cell: MiddleGroup, draws: int, seed: int) -> dict[str, Any]:
    """The share of draws in which each statement held, and of how many."""
    rng = np.random.default_rng(
        [seed, cell.groups, round(100 * cell.share), round(100 * cell.spread)]
    )
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(DESIGNS):
        world = draw_world(rng, cell)
        for _ in range(draws // DESIGNS):
            for statement in STATEMENTS:
                for name, good in statement(rng, world):
                    held[name].append(good)
    return {
        "groups": cell.groups,
        "accuracy": cell.share,
        "spread": cell.spread,
        "held": {name: round(float(np.mean(values)), 4) for name, values in held.items()},
        "draws": {name: len(values) for name, values in held.items()},
    }


def simulate(draws: int, seed: int, runs: Path | None = None) -> dict[str, Any]:
    """Everything that the JSON file holds."""
    cells = []
    for groups, share, spread in product(GROUPS, ACCURACIES, SPREADS):
        kept = None if runs is None else runs / f"{draws}-{seed}-{groups}-{share}-{spread}.json"
        if kept is not None and kept.exists():
            cells.append(json.loads(kept.read_text(encoding="utf-8")))
            continue
        found = measure(MiddleGroup(groups, share, spread), draws, seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, json.dumps(found).encode())
        cells.append(found)
        print(f"{groups} groups, accuracy {share}, spread {spread}", file=sys.stderr, flush=True)
    versions_used = {name: version(name) for name in ("numpy", "scipy", "pandas")}
    return {"draws": draws, "seed": seed, "cells": cells, "versions": versions_used}


def describe(result: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
    cells = result["cells"]

    def over(name: str, groups: int | None = None) -> list[float]:
        return [
            cell["held"][name]
            for cell in cells
            if name in cell["held"] and groups in (None, cell["groups"])
        ]

    columns: list[Column[str]] = [
        Column("interval, or test", lambda name: name),
        *(
            Column(
                f"{groups} groups",
                lambda name, groups=groups: (  # type: ignore[misc]  # bound now, not when called
                    f"{min(over(name, groups)):.3f} / {np.mean(over(name, groups)):.3f}"
                ),
                side="right",
            )
            for groups in GROUPS
        ),
        Column("all", lambda name: float(np.mean(over(name))), ".3f"),
    ]
    table = Table.of(list(cells[0]["held"]), columns)
    error = np.sqrt(LEVEL * (1 - LEVEL) / result["draws"])
    used = ", ".join(f"{name} {found}" for name, found in result["versions"].items())
    return (
        "# Coverage and level of what else the audit prints\n\n"
        "The share of draws in which a 95 % interval holds the truth, or in which a test at 0.05 "
        "does not reject what is true; either is to be 0.95 or more. Lowest / mean over cells of "
        f"{' and '.join(map(str, ACCURACIES))} accuracy and groups that differ by "
        f"{' and '.join(map(str, SPREADS))} (standard deviation of log odds), {result['draws']:,} "
        f"draws each (standard error of a cell {error:.3f}), sizes log-uniform from "
        f"{SIZES[0]} to {SIZES[1]:,}, {DESIGNS} draws of sizes and attributes. Made by `python -m "
        f"experiments fairness.audit_intervals`, seed {result['seed']}, with {used}.\n\n"
        f"{table.markdown()}\n"
        "What the F-test of one attribute, the extremes of groups and Wilson's intervals do: "
        "[audit-level](audit-level.md).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--runs", type=Path, default=None, help="keep what is through here")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result = simulate(arguments.draws, arguments.seed, arguments.runs)
    path = arguments.out / "audit-intervals.json"
    write_whole(path, (json.dumps(result) + "\n").encode())
    write_whole(path.with_suffix(".md"), describe(result).encode())
    print(describe(result))


if __name__ == "__main__":
    main()
