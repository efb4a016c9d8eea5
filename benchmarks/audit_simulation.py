"""How often the audit's F-test cries wolf, and what it sees, on groups made up with known slope.

    python -m benchmarks.audit_simulation --out docs/results

41 groups of 50 to 2,000 images (log-uniform) and an attribute like the logarithm of GDP per capita
(normal, mean 9, standard deviation 1.4) are drawn anew each time; images are judged right or wrong
one by one. Writes ``audit-simulation.json`` and ``audit-simulation.png``. With ``--redraw`` the
figure alone is made, from the file that is there. A full run takes 5 to 10 minutes on one core.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.covariance import (
    COVARIANCES,
    Array,
    binomial_variances,
    paper_variances,
)
from percert.fairness.line import fit_line
from percert.reports.page import write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure

GROUPS = 41
SMALLEST, LARGEST = 50, 2000
LEVEL = 0.05
SLOPES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08)

#: How true accuracies lie about the line, and how sizes go with the attribute.
SCENARIOS = {
    "same": "every group has the true accuracy 0.7: nothing but the luck of the draw",
    "differ": "true accuracies uniform in 0.5 to 0.9, whatever the attribute",
    "differ, larger where higher": "the same, and log n correlates 0.6 with the attribute",
}


def draw_groups(
    rng: np.random.Generator, scenario: str, slope: float = 0.0
) -> tuple[Array, Array, Array]:
    """Accuracies, attributes and sizes of 41 groups whose true accuracies have this slope."""
    attribute = rng.normal(9.0, 1.4, GROUPS)
    latent = rng.normal(size=GROUPS)
    if scenario == "differ, larger where higher":
        latent = 0.6 * (attribute - 9.0) / 1.4 + 0.8 * latent
    sizes = np.round(SMALLEST * (LARGEST / SMALLEST) ** stats.norm.cdf(latent))
    true = np.full(GROUPS, 0.7) if scenario == "same" else rng.uniform(0.5, 0.9, GROUPS)
    true = np.clip(true + slope * (attribute - 9.0), 0.02, 0.98)
    return rng.binomial(sizes.astype(int), true) / sizes, attribute, sizes


def draw_as_assumed(rng: np.random.Generator, covariance: str) -> tuple[Array, Array, Array]:
    """Groups without slope whose errors are as the covariance says: here 0.05 must hold."""
    if covariance == "binomial":
        return draw_groups(rng, "same")
    _, attribute, sizes = draw_groups(rng, "same")
    draw = binomial_variances(np.full(GROUPS, 0.7), sizes)
    variances = {
        "paper": 0.02 * paper_variances(sizes),
        "between": 0.05**2 + draw,
        "equal": np.full(GROUPS, 0.05**2),
        "robust": draw,
    }[covariance]
    accuracy = 0.7 + rng.normal(size=GROUPS) * np.sqrt(variances)
    return np.clip(accuracy, 0, 1), attribute, sizes


def rejected(
    draws: int,
    seed: int,
    make: Callable[[np.random.Generator], tuple[Array, Array, Array]],
    covariances: tuple[str, ...],
) -> dict[str, float]:
    """The share of draws on which the F-test rejects at 0.05, by covariance."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(covariances, 0)
    for _ in range(draws):
        accuracy, attribute, sizes = make(rng)
        for covariance in covariances:
            line = fit_line(accuracy, attribute, sizes, covariance=covariance)
            found[covariance] += line.test.p_value < LEVEL
    return {name: count / draws for name, count in found.items()}


def simulate(draws: int, power_draws: int, seed: int) -> dict[str, Any]:
    """Everything that the JSON file holds."""
    names = tuple(COVARIANCES)
    started = time.perf_counter()
    as_assumed: dict[str, float] = {}
    for name in names:
        as_assumed |= rejected(draws, seed, partial(draw_as_assumed, covariance=name), (name,))
        _say(f"as assumed, {name}: {as_assumed[name]:.4f}")
    null = {}
    for scenario in SCENARIOS:
        null[scenario] = rejected(draws, seed, partial(draw_groups, scenario=scenario), names)
        _say(f"{scenario}: {null[scenario]}")
    power = {}
    for scenario in ("same", "differ"):
        power[scenario] = [
            {"slope": slope}
            | rejected(
                power_draws,
                seed + 1,
                partial(draw_groups, scenario=scenario, slope=slope),
                names,
            )
            for slope in SLOPES
        ]
        _say(f"power, {scenario}: {power[scenario]}")
    return {
        "what": "share of draws on which the F-test of the slope rejects at 0.05",
        "groups": GROUPS,
        "images": [SMALLEST, LARGEST],
        "draws": draws,
        "standard_error": round(float(np.sqrt(LEVEL * (1 - LEVEL) / draws)), 4),
        "power_draws": power_draws,
        "seed": seed,
        "scenarios": SCENARIOS,
        "as_assumed": as_assumed,
        "false_alarms": null,
        "power": power,
        "versions": {name: version(name) for name in ("numpy", "scipy", "statsmodels")},
        "seconds": round(time.perf_counter() - started, 1),
    }


def describe(result: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
    names = list(result["as_assumed"])
    shares = {"errors as assumed": result["as_assumed"]} | result["false_alarms"]
    lines = [
        "# False alarms and power of the audit's F-test",
        "",
        f"The share of draws on which the F-test of the slope rejects at 0.05: {result['groups']} "
        f"groups of {result['images'][0]} to {result['images'][1]:,} images, {result['draws']:,} "
        f"draws without slope (standard error {result['standard_error']}), "
        f"{result['power_draws']} draws for each slope. Made by `python -m "
        f"benchmarks.audit_simulation`, seed {result['seed']}, with "
        + ", ".join(f"{name} {found}" for name, found in result["versions"].items())
        + ".",
        "",
        "![False alarms and power](audit-simulation.png)",
        "",
        "## No slope: false alarms",
        "",
        *_table("true accuracies", names, {k: [v[n] for n in names] for k, v in shares.items()}),
        "",
        "- errors as assumed: drawn as the covariance says, for each its own",
        *(f"- {name}: {said}" for name, said in result["scenarios"].items()),
    ]
    for scenario, points in result["power"].items():
        rows = {f"{point['slope']:g}": [point[n] for n in names] for point in points}
        lines += ["", f"## Power, true accuracies: {scenario}", "", *_table("slope", names, rows)]
    return "\n".join(lines) + "\n"


def _table(heading: str, names: list[str], rows: dict[str, list[float]]) -> list[str]:
    return [
        f"| {heading} | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
        *(f"| {k} | " + " | ".join(f"{v:.4f}" for v in found) + " |" for k, found in rows.items()),
    ]


def draw_figure(result: dict[str, Any]) -> bytes:
    """False alarms on the left, power by slope on the right."""
    figure, axes = new_figure(12.0, 4.2, ncols=3)
    columns = {"errors as assumed": result["as_assumed"]} | result["false_alarms"]
    for place, shares in enumerate(columns.values()):
        for turn, covariance in enumerate(COVARIANCES):
            axes[0].plot(
                shares[covariance],
                -place - 0.13 * (turn - 2),
                "o",
                color=COLOURS[turn],
                label=covariance if place == 0 else None,
            )
    axes[0].axvspan(0.04, 0.06, color="0.9", zorder=0)
    axes[0].axvline(0.05, color="0.5", lw=0.8, zorder=0)
    ticks = [name.replace(", ", ",\n") for name in columns]
    axes[0].set_yticks([-place for place in range(len(columns))], ticks)
    axes[0].set(xlabel="rejected at 0.05", title="No slope: false alarms", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=len(COVARIANCES), frameon=False)
    for axis, (scenario, points) in zip(axes[1:], result["power"].items(), strict=True):
        for turn, covariance in enumerate(COVARIANCES):
            axis.plot(
                [point["slope"] for point in points],
                [point[covariance] for point in points],
                "o-",
                ms=4,
                color=COLOURS[turn],
            )
        axis.axhline(0.05, color="0.5", lw=0.8)
        axis.set(
            xlabel="true slope: accuracy per unit",
            ylabel="rejected at 0.05",
            title=f"Power, true accuracies {scenario}",
            ylim=(0, 1.02),
        )
    return figure_png(figure)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--power-draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--redraw", action="store_true", help="only the figure and the table")
    arguments = parser.parse_args()
    path = arguments.out / "audit-simulation.json"
    if arguments.redraw:
        result = json.loads(path.read_text(encoding="utf-8"))
    else:
        result = simulate(arguments.draws, arguments.power_draws, arguments.seed)
        write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    write_whole(path.with_suffix(".png"), draw_figure(result))
    write_whole(path.with_suffix(".md"), describe(result).encode())
    print(describe(result))


if __name__ == "__main__":
    main()
