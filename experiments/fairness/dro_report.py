"""What :mod:`experiments.fairness.dro` found: audits, a page, a figure."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.groups import group_table
from percert.fairness.p_values import holm
from percert.fairness.predictions import check_predictions
from percert.fairness.regression import GroupLine, fit_line
from percert.fairness.slope_tests import compare_slopes
from percert.files import write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.table import Column, Table

SETS = ("undefended", "pgd", "human-perc-ot")
#: Is the first closer to a slope of 0 than the second?
PAIRS = (("human-perc-ot", "undefended"), ("human-perc-ot", "pgd"), ("pgd", "undefended"))
GROUPS = 10
SMALLEST = 50


def audits(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    attributes: Mapping[str, Any],
    labels: Any,
    attacked: Any,
) -> dict[str, Any]:
    """Accuracies of all sets, and for each attribute slopes, and the tests between sets.

    ``rows``: by set, one a model, predictions ``clean`` on all test images and ``attacked`` on
    those at the indices ``attacked``.
    """
    chosen = {"clean": np.arange(len(labels)), "attacked": attacked}
    accuracy = {
        name: {
            kind: _spread([float((row[kind] == labels[chosen[kind]]).mean()) for row in models])
            for kind in chosen
        }
        for name, models in rows.items()
    }
    found: dict[str, Any] = {}
    for attribute, values in attributes.items():
        for kind, index in chosen.items():
            found[f"{attribute}, {kind}"] = _audit(
                rows, attribute, values[index], labels[index], kind
            )
    keys = [(entry, pair) for entry in found for pair in found[entry]["tests"]]
    adjusted = holm([found[entry]["tests"][pair]["p_value"] for entry, pair in keys])
    for (entry, pair), value in zip(keys, adjusted, strict=True):
        found[entry]["tests"][pair]["p_holm"] = value
    return {"accuracy": accuracy, "audits": found}


def _audit(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    attribute: str,
    values: Any,
    labels: Any,
    kind: str,
) -> dict[str, Any]:
    edges = np.quantile(values, np.linspace(0, 1, GROUPS + 1)[1:-1])
    group = np.searchsorted(edges, values, side="right")
    names = [f"decile {place + 1:02d}" for place in range(GROUPS)]
    table = pd.DataFrame(
        {attribute: [float(values[group == place].mean()) for place in range(GROUPS)]},
        index=pd.Index(names, name="group"),
    )

    def frame(name: str) -> pd.DataFrame:
        return check_predictions(
            pd.concat(
                [
                    pd.DataFrame(
                        {
                            "model": f"{name}-{number:02d}",
                            "image": [str(place) for place in range(len(labels))],
                            "group": [names[place] for place in group],
                            "label": labels,
                            "prediction": row[kind],
                        }
                    )
                    for number, row in enumerate(rows[name])
                ],
                ignore_index=True,
            )
        )

    # What percert.fairness.audit does, without the usual measures of each of so many models.
    audited = group_table(
        pd.concat([frame(name) for name in rows], ignore_index=True), table, smallest=SMALLEST
    )
    lines: dict[str, list[GroupLine]] = {name: [] for name in rows}
    by_group = {}
    for name, models in rows.items():
        columns = [f"{name}-{number:02d}" for number in range(len(models))]
        by_group[name] = audited.accuracy[columns].mean(axis=1).tolist()
        lines[name] = [
            fit_line(
                audited.accuracy[column].to_numpy(float),
                audited.attributes[attribute].to_numpy(float),
                audited.n.to_numpy(float),
                covariance="paper",
                attribute_name=attribute,
            )
            for column in columns
        ]
    slopes: dict[str, dict[str, Any]] = {
        name: {
            "slopes": [line.slope for line in lines[name]],
            "rejected": sum(line.test.p_value < 0.05 for line in lines[name]),
        }
        for name in SETS
    }
    (line,) = lines["theta_0"]
    start = {"slope": line.slope, "p_value": line.test.p_value, "f": line.test.statistic}
    tests = {}
    for ours, theirs in PAIRS:
        comparison = compare_slopes(
            np.array(slopes[ours]["slopes"]),
            np.array(slopes[theirs]["slopes"]),
            name=ours,
            other=theirs,
            paired=True,  # model i of every set has seed i
            magnitude=True,
        )
        primary = comparison.deciding
        tests[f"{ours} < {theirs}"] = {
            "null": primary.null,
            "t": primary.statistic,
            "df": list(primary.df),
            "p_value": primary.p_value,
            "effect": primary.effect,
            "welch_p": comparison.welch.p_value,
            "permutation_p": comparison.permutation.p_value,
            "smallest_difference": comparison.power.smallest_difference,
        }
    return {
        "groups": [
            {
                "group": name,
                "n": int((group == place).sum()),
                attribute: float(table.iloc[place, 0]),
            }
            for place, name in enumerate(names)
        ],
        "accuracy_by_group": by_group,
        "slopes": {name: slopes[name] | _spread(slopes[name]["slopes"]) for name in SETS},
        "theta_0": start,
        "tests": tests,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
    }


def write_markdown(path: Path, result: Mapping[str, Any]) -> None:
    """Tables of a result of :mod:`experiments.fairness.dro`."""
    settings = result["settings"]
    models = settings["models"]
    rounds = [(name, one) for name in SETS for one in result["datasets"][name]["rounds"]]
    accuracy: list[Column[str]] = [
        Column("set", str),
        Column("clean", lambda name: result["accuracy"][name]["clean"], _pm),
        Column("attacked", lambda name: result["accuracy"][name]["attacked"], _pm),
        Column("1 - SSIM needed", lambda name: result["least_visible"][name]["ssim"], ".4f"),
        Column("l2 needed", lambda name: result["least_visible"][name]["l2"], ".3f"),
        Column("CPU s a model", result["model_cpu_seconds"].get, ".1f", ""),
    ]
    lines = [
        "# Distributionally robust training and groups, measured",
        "",
        "Made by `python -m experiments fairness.dro`. "
        f"{len(settings['classes'])} classes of Tiny ImageNet at 32 x 32, "
        f"{settings['train_a_class']} photographs each to train on, {settings['test_a_class']} to "
        f"judge by; {models} models a set, from one theta_0. Groups are deciles of the test "
        "photographs' luminance and colourfulness; nothing here is about countries or people.",
        "",
        _verdict(result),
        "",
        "## Accuracy",
        "",
        f"Mean and standard deviation over models. Attacked: `{settings['judged_by']}`. Last "
        "columns: medians of the least visible attack that Human_Perc_OT finds on one model.",
        "",
        Table.of((*SETS, "theta_0"), accuracy).markdown(),
        "## Making D",
        "",
        Table.of(rounds, ROUNDS).markdown(),
        "## Clusters",
        "",
        *_clusters(result["cluster_speedup"]),
        "",
    ]
    for name, entry in result["audits"].items():
        start = entry["theta_0"]
        lines += [
            f"## Slopes of accuracy on {name}",
            "",
            Table.of(SETS, _slopes(entry["slopes"], models)).markdown(),
            f"theta_0: slope {start['slope']:+.4f}, F = {start['f']:.3f}, "
            f"p = {start['p_value']:.4f}.",
            "",
            Table.of(entry["tests"].items(), TESTS).markdown(),
        ]
    write_whole(path, ("\n".join(lines)).encode())


ROUNDS: tuple[Column[tuple[str, Mapping[str, Any]]], ...] = (
    Column("D", lambda one: one[0]),
    Column("round", lambda one: one[1]["round"], "d"),
    Column("wrong before", lambda one: one[1]["wrong"], "d"),
    Column("attacked", lambda one: one[1]["attacked"], "d"),
    Column("succeeded", lambda one: one[1]["succeeded"], "d"),
    Column("median 1 - SSIM", lambda one: one[1]["cost"], ".4g", ""),
    Column("CPU s", lambda one: one[1]["cpu_seconds"], ".4g", ""),
)
TESTS: tuple[Column[tuple[str, Mapping[str, Any]]], ...] = (
    Column("is the slope of ... smaller in size", lambda one: one[0]),
    Column("t", lambda one: one[1]["t"], ".3f"),
    Column("df", lambda one: one[1]["df"][0], "g"),
    Column("p, one-sided", lambda one: one[1]["p_value"], ".4g"),
    Column("p, Holm over all", lambda one: one[1]["p_holm"], ".4g"),
)


def _slopes(found: Mapping[str, Any], models: int) -> list[Column[str]]:
    return [
        Column("set", str),
        Column("mean slope", lambda name: found[name]["mean"], "+.4f"),
        Column("sd", lambda name: found[name]["sd"], ".4f"),
        Column("F-tests below 0.05", lambda name: f"{found[name]['rejected']} of {models}"),
    ]


def _verdict(result: Mapping[str, Any]) -> str:
    tests = [test for entry in result["audits"].values() for test in entry["tests"].values()]
    rejected = sum(test["p_holm"] < 0.05 for test in tests)
    return (
        f"Of {len(tests)} one-sided tests between sets, corrected by Holm's method, {rejected} "
        "reject their hypothesis at 0.05. The paper finds that training on Human_Perc_OT makes "
        "slopes smaller than training on PGD does; here nothing of the kind is shown unless one "
        "of these does. Seconds are those of one core's own time; the machine was shared."
    )


def _clusters(found: Mapping[str, Any]) -> list[str]:
    with_, without = found["with"], found["without"]
    share = with_["spared"] / max(1, with_["spared"] + with_["attacked"])
    ratio = without["cpu_seconds"] / with_["cpu_seconds"]
    attacked = f"{with_['attacked']} and {with_['centres']} centres"
    spared = f"{with_['spared']} ({share:.1%} of those to attack)"
    rounds: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "images attacked": lambda one: attacked if one is with_ else str(one["attacked"]),
        "images spared": lambda one: spared if one is with_ else "0",
        "attack seconds by the clock": lambda one: f"{one['attack_seconds']:.1f}",
        "CPU s of the round": lambda one: _number(one["cpu_seconds"]),
        "median 1 - SSIM, all": lambda one: _number(one["cost"]),
        "of the spared": lambda one: _number(one["cost_spared"]) if one is with_ else "",
    }
    columns: list[Column[str]] = [
        Column("", str),
        Column("without", lambda name: rounds[name](without)),
        Column("with", lambda name: rounds[name](with_)),
    ]
    return [
        "The first round of Human_Perc_OT, the same draws and the same models, with clusters of "
        "about 5 images and without.",
        "",
        Table.of(rounds, columns).markdown(),
        f"CPU seconds without over with, steps and clustering included: {ratio:.2f}. The clock's "
        "depend on what else the machine did.",
    ]


def _pm(entry: Mapping[str, float]) -> str:
    return f"{entry['mean']:.3f} ± {entry['sd']:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def draw(path: Path, result: Mapping[str, Any]) -> None:
    """Accuracy by decile, and the slopes of all models, for each attribute and kind."""
    entries = result["audits"]
    figure, axes = new_figure(9.5, 3.0 * len(entries), nrows=len(entries), ncols=2)
    rng = np.random.default_rng(0)
    for row, (name, entry) in enumerate(entries.items()):
        attribute = name.split(",")[0]
        at = [group[attribute] for group in entry["groups"]]
        left, right = axes[row]
        for place, (key, colour) in enumerate(zip(SETS, COLOURS, strict=False)):
            left.plot(at, entry["accuracy_by_group"][key], "o-", color=colour, label=key, ms=4)
            values = entry["slopes"][key]["slopes"]
            spot = len(SETS) - place
            right.boxplot(
                values,
                positions=[spot],
                orientation="horizontal",
                widths=0.55,
                showfliers=False,
                medianprops={"color": "k"},
            )
            jitter = spot + rng.uniform(-0.16, 0.16, len(values))
            right.plot(values, jitter, "o", ms=4, color=colour, alpha=0.55, mew=0)
        right.axvline(entry["theta_0"]["slope"], color="k", ls="--", lw=1, label="theta_0")
        right.axvline(0, color="0.7", lw=0.8)
        right.set_yticks(range(len(SETS), 0, -1), SETS)
        right.set(xlabel=f"slope of accuracy, {name}")
        left.set(xlabel=f"{attribute} of the decile", ylabel=f"accuracy, {name.split(', ')[1]}")
        if not row:
            left.legend(frameon=False, fontsize=8)
            right.legend(frameon=False, fontsize=8)
    write_whole(path, figure_png(figure, 110))
