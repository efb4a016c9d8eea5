"""Audits of groups side by side: their lines, and the groups' accuracies."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from percert.reports.page import Block, Figure, Paragraph, Section, Table
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.report_runs import Run


def audits_section(runs: Sequence[Run]) -> Section:
    """Runs of ``percert audit groups``: slopes and tests, accuracies by group, and a figure."""
    blocks: list[Block] = [_lines(runs)]
    accuracies = {run.name: _by_group(run) for run in runs}
    groups = sorted({group for found in accuracies.values() for group in found})
    blocks.append(
        Table(
            (("group", "left"), *((f"{name}: n, accuracy", "right") for name in accuracies)),
            tuple(
                (
                    group,
                    *(
                        f"{found[group][0]:,}, {found[group][1]:.4f}" if group in found else "-"
                        for found in accuracies.values()
                    ),
                )
                for group in groups
            ),
            "Accuracy of the groups, the mean over a run's models.",
        )
    )
    blocks.append(
        Figure(
            _dots(accuracies, groups),
            "Accuracy of every group, a colour a run.",
            f"Dots of the accuracies of {len(groups)} groups in {len(runs)} runs",
        )
    )
    blocks.append(
        Paragraph(
            "Slopes of different models on the same images share those images: that one is smaller "
            "is tested by comparing sets of models (percert audit groups --against), and not by "
            "looking at two p-values.",
            "warning",
        )
    )
    return Section("Audits of groups", tuple(blocks))


def _lines(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        for line in _found(run):
            rows.append(
                (
                    run.name,
                    str(line["model"]),
                    str(line["covariance"]),
                    f"{line['slope']:+.4f}",
                    f"{line['interval'][0]:+.4f} to {line['interval'][1]:+.4f}",
                    f"{line['f']:.3f}",
                    f"{line['p_value']:.4g}",
                )
            )
    return Table(
        (
            ("run", "left"),
            ("model", "left"),
            ("covariance", "left"),
            ("slope", "right"),
            ("interval", "right"),
            ("F", "right"),
            ("p", "right"),
        ),
        tuple(rows),
        "The line through the groups, for every model, attribute and covariance that was asked "
        "for (up to 12 lines a run; the run's own audit.json has all of them).",
    )


def _found(run: Run) -> list[dict[str, Any]]:
    try:
        answer = json.loads((run.folder / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    lines = [line for line in answer.get("models", []) if line.get("f") is not None]
    return lines[:12]


def _by_group(run: Run) -> dict[str, tuple[int, float]]:
    values: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for row in run.rows:
        values.setdefault(str(row["group"]), []).append(float(row["accuracy"]))
        sizes[str(row["group"])] = int(row["n"])
    return {group: (sizes[group], float(np.mean(found))) for group, found in values.items()}


def _dots(accuracies: dict[str, dict[str, tuple[int, float]]], groups: Sequence[str]) -> bytes:
    figure, axis = new_figure(8.0, 1.4 + 0.24 * len(groups))
    place = {group: len(groups) - at for at, group in enumerate(groups)}
    for turn, (name, found) in enumerate(accuracies.items()):
        axis.plot(
            [accuracy for _, accuracy in found.values()],
            [place[group] for group in found],
            "o",
            color=COLOURS[turn % len(COLOURS)],
            alpha=0.8,
            label=name.replace("$", r"\$").lstrip("_"),
        )
    axis.set_yticks(range(len(groups), 0, -1), list(groups), parse_math=False)
    axis.grid(axis="x", color="0.9", lw=0.8)
    axis.set(xlabel="accuracy")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure_png(figure)
