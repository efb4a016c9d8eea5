"""How often the audit's tests cry wolf, what they see, and whether its intervals hold: on a grid.

    python -m experiments fairness.audit_level --out docs/results

Groups with normal attributes and log-uniform sizes are drawn, then whether each image is right,
once for every draw. A cell is a number of groups, a range of sizes, an accuracy, the correlation of
(the logarithm of) size and attribute, and the standard deviation of the groups' log odds. Cells
that are through are kept in ``--runs``, so that a killed run goes on. Writes ``audit-level.json``,
``.md`` and ``.png``; with ``--redraw`` the last two alone. A full run takes about 20 minutes on one
core.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.binomial import wilson
from percert.fairness.intervals import clopper_pearson, extreme_ends
from percert.fairness.least_squares import COVARIANCES, Array, design_of
from percert.fairness.regression import fit_lines
from percert.files import write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.table import Column, Table

Result: TypeAlias = dict[str, Any]

LEVEL, CONFIDENCE = 0.05, 0.95
GROUPS = (5, 10, 20, 50, 200)
SIZES = ((20, 200), (20, 2000), (200, 2000))
ACCURACIES = (0.5, 0.8, 0.9, 0.98)
CORRELATIONS = (0.0, 0.6, 0.95)
SPREADS = (0.0, 0.25, 0.5)
#: Designs (attributes and sizes) that share the draws of a cell.
DESIGNS = 4
#: Errors that each group expects in cells where the level has to be 4 to 6 %.
ENOUGH = 5
#: Slopes for the power: log odds a standard deviation of the attribute.
SLOPES = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4)


def draw_design(
    rng: np.random.Generator, groups: int, sizes: tuple[int, int], correlation: float
) -> tuple[Array, Array]:
    """An attribute and the sizes of the groups, ``(groups,)`` each."""
    attribute = rng.normal(size=groups)
    towards = (attribute - attribute.mean()) / attribute.std()
    latent = correlation * towards + np.sqrt(1 - correlation**2) * rng.normal(size=groups)
    low, high = sizes
    return attribute, np.round(low * (high / low) ** stats.norm.cdf(latent))


def rejected(accuracy: Array, attribute: Array, n: Array) -> dict[str, int]:
    """How many rows of ``accuracy`` each covariance's test rejects at 0.05."""
    design = design_of(attribute)
    varied = accuracy[np.ptp(accuracy, axis=1) > 0]
    return {
        name: int((fit_lines(varied, design, n, name).p_value < LEVEL).sum())
        for name in COVARIANCES
    }


def covered(accuracy: Array, n: Array, true: Array) -> dict[str, float]:
    """How many rows have the truth within each interval of the extremes, and of single groups."""
    right = np.round(accuracy * n).astype(int)
    ends = [np.empty_like(accuracy), np.empty_like(accuracy)]
    singly = np.zeros(len(accuracy))
    for place, size in enumerate(n):
        # A group of n images has n + 1 possible shares: each interval is computed once.
        shares = np.arange(size + 1) / size
        sizes = np.full_like(shares, size)
        for end, of in zip(
            ends, clopper_pearson(shares, sizes, CONFIDENCE ** (1 / len(n))), strict=True
        ):
            end[:, place] = of[right[:, place]]
        low, high = (end[right[:, place]] for end in wilson(shares, sizes, CONFIDENCE))
        singly += (low <= true[:, place]) & (true[:, place] <= high)
    worst, best = true.min(1), true.max(1)
    truths = (worst, best, best - worst, worst / best)
    found: dict[str, float] = {
        name: int(((low <= truth) & (truth <= high)).sum())
        for name, (low, high), truth in zip(
            ("worst", "best", "gap", "ratio"), extreme_ends(*ends), truths, strict=True
        )
    }
    return found | {"wilson": float(singly.sum() / len(n))}


def cells() -> Iterator[tuple[int, tuple[int, int], float]]:
    """What has designs of its own: groups, sizes, correlation."""
    return product(GROUPS, SIZES, CORRELATIONS)


def measure(
    groups: int, sizes: tuple[int, int], correlation: float, draws: int, seed: int
) -> list[dict[str, Any]]:
    """Every accuracy and spread of these groups."""
    rng = np.random.default_rng([seed, groups, *sizes, round(100 * correlation)])
    designs = [draw_design(rng, groups, sizes, correlation) for _ in range(DESIGNS)]
    each = draws // DESIGNS
    rows = []
    for share, spread in product(ACCURACIES, SPREADS):
        alarms = dict.fromkeys(COVARIANCES, 0)
        held: dict[str, float] = {}
        for attribute, n in designs:
            odds = np.log(share / (1 - share)) + spread * rng.normal(size=(each, groups))
            true = 1 / (1 + np.exp(-odds))
            accuracy = rng.binomial(n.astype(int), true) / n
            for name, count in rejected(accuracy, attribute, n).items():
                alarms[name] += count
            some = slice(0, max(1, each // 5))
            for name, held_by in covered(accuracy[some], n, true[some]).items():
                held[name] = held.get(name, 0) + held_by / len(true[some]) / DESIGNS
        rows.append(
            {
                "groups": groups,
                "sizes": list(sizes),
                "accuracy": share,
                "correlation": correlation,
                "spread": spread,
                "errors": round(min(float(n.min()) for _, n in designs) * (1 - share), 2),
                "alarms": {name: count / (each * DESIGNS) for name, count in alarms.items()},
                "coverage": {name: round(value, 4) for name, value in held.items()},
            }
        )
    return rows


def power(draws: int, seed: int) -> list[dict[str, Any]]:
    """The share of draws with a slope that each covariance's test rejects."""
    rows = []
    for groups, spread, slope in product((10, 50), (0.0, 0.25), SLOPES):
        rng = np.random.default_rng([seed, groups, round(100 * spread)])
        found = dict.fromkeys(COVARIANCES, 0)
        for _ in range(DESIGNS):
            attribute, n = draw_design(rng, groups, (20, 2000), 0.6)
            odds = np.log(4) + spread * rng.normal(size=(draws // DESIGNS, groups))
            true = 1 / (1 + np.exp(-(odds + slope * (attribute - attribute.mean()))))
            accuracy = rng.binomial(n.astype(int), true) / n
            for name, count in rejected(accuracy, attribute, n).items():
                found[name] += count
        shares = {name: count / (draws // DESIGNS * DESIGNS) for name, count in found.items()}
        rows.append({"groups": groups, "spread": spread, "slope": slope, "rejected": shares})
    return rows


def simulate(draws: int, seed: int, runs: Path | None = None) -> dict[str, Any]:
    """Everything that the JSON file holds."""
    rows: list[dict[str, Any]] = []
    for groups, sizes, correlation in cells():
        kept = None
        if runs is not None:
            kept = runs / f"{draws}-{seed}-{groups}-{sizes[0]}-{sizes[1]}-{correlation}.json"
        if kept is not None and kept.exists():
            rows += json.loads(kept.read_text(encoding="utf-8"))
            continue
        found = measure(groups, sizes, correlation, draws, seed)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, json.dumps(found).encode())
        rows += found
        worst = max(row["alarms"]["between"] for row in found)
        _say(f"{groups} groups of {sizes}, correlation {correlation}: between at most {worst:.4f}")
    return {
        "what": "share of draws without a slope on which each test rejects at 0.05, and coverage",
        "draws": draws,
        "designs": DESIGNS,
        "seed": seed,
        "enough": ENOUGH,
        "cells": rows,
        "power": power(draws, seed),
        "versions": {name: version(name) for name in ("numpy", "scipy")},
    }


def summary(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Lowest, mean and highest level by number of groups and whether each expects enough errors."""
    rows = []
    for groups, enough in product(GROUPS, (True, False)):
        some = [
            cell
            for cell in result["cells"]
            if cell["groups"] == groups and (cell["errors"] >= result["enough"]) == enough
        ]
        for name in COVARIANCES:
            shares = np.array([cell["alarms"][name] for cell in some])
            if len(shares):
                rows.append(
                    {
                        "groups": groups,
                        "enough": enough,
                        "cells": len(shares),
                        "covariance": name,
                        "lowest": float(shares.min()),
                        "mean": float(shares.mean()),
                        "highest": float(shares.max()),
                        "within": float(((shares >= 0.04) & (shares <= 0.06)).mean()),
                    }
                )
    return rows


def describe(result: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
    error = np.sqrt(LEVEL * (1 - LEVEL) / result["draws"])
    names = list(COVARIANCES)
    found = summary(result)
    cells = [
        {row["covariance"]: row for row in found if (row["groups"], row["enough"]) == kind}
        for kind in product(GROUPS, (True, False))
    ]

    def one(of: str) -> Callable[[Result], Any]:
        return lambda by_name: by_name[names[0]][of]

    alarms: list[Column[Result]] = [
        Column("groups", one("groups"), "d"),
        Column(
            "errors a group",
            one("enough"),
            lambda enough: f"{'at least' if enough else 'below'} {result['enough']}",
            side="left",
        ),
        Column("cells", one("cells"), "d"),
        *(Column[Result](name, itemgetter(name), _range, side="left") for name in names),
    ]
    power: list[Column[Result]] = [
        *(Column[Result](of, itemgetter(of), "g") for of in ("groups", "spread", "slope")),
        *(Column(name, _rejected(name), ".3f") for name in names),
    ]
    lines = [
        "# False alarms, power and coverage of the audit of groups",
        "",
        f"The share of draws without a slope on which the F-test rejects at 0.05, in "
        f"{len(result['cells'])} cells of {result['draws']:,} draws each (standard error "
        f"{error:.4f}), over {result['designs']} draws of attribute and sizes: "
        f"{', '.join(map(str, GROUPS))} groups; sizes log-uniform from 20 to 200, 20 to 2,000, 200 "
        "to 2,000; accuracy 0.5, 0.8, 0.9, 0.98; correlation of log size and attribute 0, 0.6, "
        "0.95; standard deviation of the groups' log odds 0, 0.25, 0.5. Made by `python -m "
        f"experiments fairness.audit_level`, seed {result['seed']}, with "
        + ", ".join(f"{name} {found}" for name, found in result["versions"].items())
        + ".",
        "",
        "![False alarms and power](audit-level.png)",
        "",
        "## No slope: false alarms",
        "",
        f"Lowest / mean / highest over the cells, by whether each group expects at least "
        f"{result['enough']} errors.",
        "",
        Table.of(filter(None, cells), alarms).markdown().rstrip(),
    ]
    held = {
        name: min(cell["coverage"][name] for cell in result["cells"])
        for name in ("worst", "best", "gap", "ratio", "wilson")
    }
    lines += [
        "",
        "## Coverage of the 95 % intervals",
        "",
        f"The lowest of all cells ({result['draws'] // 5:,} draws each): worst group "
        f"{held['worst']:.3f}, best group {held['best']:.3f}, gap {held['gap']:.3f}, ratio "
        f"{held['ratio']:.3f}; Wilson's interval of one group, on average over a cell's groups, "
        f"{held['wilson']:.3f}.",
        "",
        "## Power",
        "",
        "Accuracy about 0.8, 20 to 2,000 images a group, correlation 0.6; slopes in log odds for "
        "one standard deviation of the attribute.",
        "",
        Table.of(result["power"], power).markdown(),
    ]
    return "\n".join(lines)


def _range(row: Result) -> str:
    return f"{row['lowest']:.3f} / {row['mean']:.3f} / {row['highest']:.3f}"


def _rejected(name: str) -> Callable[[Result], float]:
    return lambda row: float(row["rejected"][name])


def draw_figure(result: dict[str, Any]) -> bytes:
    """Every cell's false alarms by covariance on the left, power on the right."""
    figure, axes = new_figure(12.0, 4.2, ncols=2)
    rng = np.random.default_rng(0)
    for turn, name in enumerate(COVARIANCES):
        shares = np.array([cell["alarms"][name] for cell in result["cells"]])
        place = -turn + 0.5 * (rng.random(len(shares)) - 0.5)
        axes[0].plot(shares, place, ".", ms=3, alpha=0.5, color=COLOURS[turn])
    axes[0].axvspan(0.04, 0.06, color="0.9", zorder=0)
    axes[0].axvline(LEVEL, color="0.5", lw=0.8, zorder=0)
    axes[0].set_yticks([-turn for turn in range(len(COVARIANCES))], list(COVARIANCES))
    axes[0].set(xlabel="rejected at 0.05", title="No slope: a dot a cell", xlim=(0, None))
    for turn, name in enumerate(COVARIANCES):
        some = [row for row in result["power"] if (row["groups"], row["spread"]) == (50, 0.25)]
        axes[1].plot(
            [row["slope"] for row in some],
            [row["rejected"][name] for row in some],
            "o-",
            ms=4,
            color=COLOURS[turn],
            label=name,
        )
    axes[1].axhline(LEVEL, color="0.5", lw=0.8)
    axes[1].set(
        xlabel="true slope: log odds a standard deviation",
        ylabel="rejected at 0.05",
        title="Power: 50 groups that differ (0.25)",
        ylim=(0, 1.02),
    )
    axes[1].legend(frameon=False)
    return figure_png(figure)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--runs", type=Path, default=None, help="keep what is through here")
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--redraw", action="store_true", help="only the figure and the table")
    arguments = parser.parse_args()
    path = arguments.out / "audit-level.json"
    if arguments.redraw:
        result = json.loads(path.read_text(encoding="utf-8"))
    else:
        result = simulate(arguments.draws, arguments.seed, arguments.runs)
        write_whole(path, (json.dumps(result) + "\n").encode())
    write_whole(path.with_suffix(".png"), draw_figure(result))
    write_whole(path.with_suffix(".md"), describe(result).encode())
    print(describe(result))


if __name__ == "__main__":
    main()
