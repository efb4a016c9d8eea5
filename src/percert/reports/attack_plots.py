"""Figures of attacks: distributions, shares, frontiers and matrices, as the bytes of a PNG.

Needs matplotlib, and no display.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from percert.reports.plots import COLOURS, Array, as_written, figure_png, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Values that span more than this factor are drawn on a log scale.
LOG_FROM = 30.0


def colours(count: int) -> list[Any]:
    """So many colours: few are told apart by everybody, many by most.

    >>> colours(2)
    ['#0072b2', '#d55e00']
    """
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps

    palette = [*COLOURS, *(colormaps["tab20b"](place) for place in range(20))]
    return [palette[place % len(palette)] for place in range(count)]


def boxes_and_cumulative(
    samples: Mapping[str, Array], counts: Mapping[str, int], *, value_label: str
) -> bytes:
    """A box an attack on the left; on the right, the share of its images within each distance.

    ``samples`` are the distances of the images that succeeded, ``counts`` how many were tried: a
    curve ends at the share that succeeded. Boxes are quartiles and median, whiskers go from the 5th
    to the 95th percentile. Colours are the same on both sides, the first on top.
    """
    shown = {name: values for name, values in samples.items() if len(values)}
    everything = np.concatenate([*shown.values(), np.zeros(0)])
    positive = everything[everything > 0]
    log = len(positive) > 0 and positive.max() > LOG_FROM * positive.min()
    figure, (left, right) = new_figure(
        11.0, max(3.4, 1.5 + 0.36 * len(samples)), ncols=2, width_ratios=(1, 1)
    )
    for place, ((name, values), colour) in enumerate(
        zip(samples.items(), colours(len(samples)), strict=True)
    ):
        if not len(values):
            continue
        values = np.sort(values)
        drawn = np.maximum(values, positive.min()) if log else values
        left.boxplot(
            drawn,
            positions=[len(samples) - place],
            orientation="horizontal",
            widths=0.6,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.6},
            medianprops={"color": "k", "lw": 1.6},
        )
        share = np.arange(1, len(values) + 1) / max(counts[name], len(values))
        style = ("-", "--", ":")[place // len(COLOURS) % 3]
        furthest = everything.max()
        right.step(
            np.concatenate([drawn[:1], drawn, [furthest]]),
            np.concatenate([[0.0], share, share[-1:]]),
            where="post",
            color=colour,
            ls=style,
            lw=1.8,
        )
    left.set_yticks(range(len(samples), 0, -1), list(samples), parse_math=False)
    left.set_ylim(0.4, len(samples) + 0.6)
    right.set(ylim=(0, 1.02), ylabel="share of the attacked images within")
    for axis in (left, right):
        axis.set_xlabel(value_label, parse_math=False)
        if log:
            axis.set_xscale("log")
        axis.grid(axis="x", color="0.9", lw=0.8)
        axis.set_axisbelow(True)
    return figure_png(figure)


def share_bars(
    groups: Mapping[str, Mapping[str, float]], *, value_label: str, title: str = ""
) -> bytes:
    """Horizontal bars from 0 to 1: a group of them for each outer name, a colour an inner one."""
    inner = list(dict.fromkeys(name for shares in groups.values() for name in shares))
    thick = 0.8 / max(1, len(inner))
    figure, axis = new_figure(8.5, 1.4 + len(groups) * (0.25 + 0.17 * len(inner)))
    for place, (name, colour) in enumerate(zip(inner, colours(len(inner)), strict=True)):
        at = [len(groups) - i + 0.4 - thick * (place + 0.5) for i in range(len(groups))]
        values = [shares.get(name, float("nan")) for shares in groups.values()]
        axis.barh(at, values, height=0.9 * thick, color=colour, label=name)
        for value, y in zip(values, at, strict=True):
            if np.isfinite(value):
                axis.text(value + 0.008, y, f"{value:.2f}", va="center", fontsize=7)
    axis.set_yticks(range(len(groups), 0, -1), list(groups), parse_math=False)
    axis.set(xlim=(0, 1.06), ylim=(0.45, len(groups) + 0.55), xlabel=value_label, title=title)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure_png(figure)


def frontier(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, str]]]],
    *,
    value_label: str,
    chance: Mapping[str, float] | None = None,
) -> bytes:
    """Cost against survival: a panel a defence, in it a family's points (survival, cost, note).

    Better is to the right and below. A family's points are joined in the order of their survival,
    the grey staircase is what no point beats; a dotted line at ``chance`` is the share of
    unattacked images that the defence alone spoils.
    """
    families = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    palette = dict(zip(families, colours(len(families)), strict=True))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = new_figure(
        4.9 * columns + 2.6, 4.2 * lines, ncols=columns, nrows=lines, squeeze=False
    )
    for axis, (defence, panel) in zip(grid.ravel(), panels.items(), strict=False):
        points = [(s, c) for found in panel.values() for s, c, _ in found if c > 0]
        _staircase(axis, points)
        for name, found in panel.items():
            drawn = sorted((s, c, note) for s, c, note in found if c > 0)
            axis.plot(
                [s for s, _, _ in drawn],
                [c for _, c, _ in drawn],
                "o-",
                color=palette[name],
                ms=6,
                lw=1.3,
            )
            for s, c, note in drawn:
                axis.annotate(note, (s, c), xytext=(5, 3), textcoords="offset points", fontsize=8)
        if chance is not None and defence in chance:
            axis.axvline(chance[defence], color="0.6", ls=":", lw=1.2)
        axis.set(title=defence, xlabel="share that survives", yscale="log", xlim=(-0.02, 1.02))
        axis.set_ylabel(value_label, parse_math=False)
        axis.grid(color="0.93", lw=0.8)
        axis.set_axisbelow(True)
    for axis in grid.ravel()[len(panels) :]:
        axis.set_visible(False)
    from matplotlib.lines import Line2D

    legend = figure.legend(
        [Line2D([], [], color=palette[name], marker="o") for name in families],
        families,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
    )
    as_written(legend)
    return figure_png(figure)


def _staircase(axis: "Axes", points: Sequence[tuple[float, float]]) -> None:
    """The least cost of all points that survive at least so often."""
    if not points:
        return
    best: list[tuple[float, float]] = []
    for survival, cost in sorted(points, reverse=True):
        if not best or cost < best[-1][1]:
            best.append((survival, cost))
    steps = best[::-1]
    axis.step(
        [0.0, *(s for s, _ in steps)],
        [steps[0][1], *(c for _, c in steps)],
        where="pre",
        color="0.75",
        lw=5,
        zorder=0,
        solid_capstyle="butt",
    )


def share_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Array,
    *,
    row_label: str = "",
    column_label: str = "",
) -> bytes:
    """A matrix of shares from 0 to 1, ``(rows, columns)``, each in its cell; NaN is grey."""
    figure, axis = new_figure(
        3.4 + 1.15 * len(columns) + 0.06 * max(map(len, rows)), 1.8 + 0.42 * len(rows)
    )
    from matplotlib import colormaps

    axis.imshow(
        np.ma.masked_invalid(shares),
        cmap=colormaps["viridis"].with_extremes(bad="0.85"),
        vmin=0,
        vmax=1,
        aspect="auto",
    )
    for (i, j), value in np.ndenumerate(shares):
        text = f"{value:.2f}" if np.isfinite(value) else "-"
        dark = not np.isfinite(value) or value > 0.6
        axis.text(j, i, text, ha="center", va="center", color="k" if dark else "w", fontsize=9)
    axis.set_yticks(range(len(rows)), list(rows), parse_math=False)
    axis.set_xticks(range(len(columns)), list(columns), parse_math=False, rotation=20, ha="right")
    axis.set_xlabel(column_label)
    axis.set_ylabel(row_label)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure_png(figure)
