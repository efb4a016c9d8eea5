"""Figures of groups: dots about a line with its band, and shares with their intervals."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from percert.reports.plots import BARS, COLOURS, Array, figure_png, name_rows, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

#: Where a name may stand about its dot, nearest first: directions in degrees, distances in points.
_DIRECTIONS = (30, 150, 330, 210, 90, 270, 0, 180)
_DISTANCES = (7, 14, 24, 38, 56, 80)


def scatter_with_line(
    x: Array,
    y: Array,
    sizes: Array,
    line: tuple[float, float],
    *,
    x_label: str,
    y_label: str,
    size_label: str,
    names: Sequence[str] = (),
    band: Callable[[Array], Array] | None = None,
    title: str = "",
) -> bytes:
    """Dots coloured by ``sizes`` on a log scale, and ``line`` = (intercept, slope) through them.

    Where all sizes are the same there is no scale of colours. ``band`` says how far the line may
    reach up and down at given x. ``names``, one a dot, are written beside those with a name that is
    not empty, where they cover neither dots nor each other.
    """
    from matplotlib.colors import LogNorm, Normalize

    figure, axis = new_figure()
    low, high = float(np.min(sizes)), float(np.max(sizes))
    scale = LogNorm(low, high) if high > low > 0 else Normalize(low - 1, high + 1)
    dots = axis.scatter(
        x, y, c=sizes, norm=scale, cmap="viridis", s=42, edgecolor="k", lw=0.4, zorder=3
    )
    bottom, top = axis.get_ylim()
    at = np.linspace(float(np.min(x)), float(np.max(x)), 101)
    middle = line[0] + line[1] * at
    axis.plot(at, middle, color=COLOURS[1], lw=2)
    if band is not None:
        reach = band(at)
        axis.fill_between(at, middle - reach, middle + reach, color=COLOURS[1], alpha=0.15, lw=0)
        # A band that knows nothing must not press the dots together.
        room = 0.6 * (top - bottom)
        axis.set_ylim(
            max(min(bottom, float((middle - reach).min())), bottom - room),
            min(max(top, float((middle + reach).max())), top + room),
        )
    axis.set(xlabel=x_label, ylabel=y_label, title=title)
    if high > low:
        bar = figure.colorbar(dots, label=size_label)
        bar.ax.yaxis.set_major_formatter("{x:.0f}")
        bar.ax.yaxis.set_minor_formatter("{x:.0f}" if high < 12 * low else "")
    name_dots(figure, axis, x, y, names)
    return figure_png(figure)


def name_dots(
    figure: "Figure", axis: "Axes", x: Array, y: Array, names: Sequence[str]
) -> list["Bbox"]:
    """Write each name that is not empty where it covers no dot and no other name; their boxes.

    A name goes to the nearest free place about its dot, with a thin line where that is not beside
    it. Where all is full it takes the place that covers least.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    points = axis.transData.transform(np.column_stack([x, y]))
    unit = figure.dpi / 72
    taken = [
        Bbox.from_bounds(px - 4 * unit, py - 4 * unit, 8 * unit, 8 * unit) for px, py in points
    ]
    inside = axis.get_window_extent()
    boxes = []
    for place, name in enumerate(names):
        if not name:
            continue
        text: Any = axis.annotate(
            name,
            (x[place], y[place]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
            ha="left",
            va="bottom",
            zorder=4,
        )
        text.set_in_layout(False)
        size = text.get_window_extent()
        best: tuple[float, tuple[float, float], Bbox] | None = None
        for distance in _DISTANCES:
            for degrees in _DIRECTIONS:
                dx, dy = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
                # The box lies wholly on its side of the dot.
                left = points[place][0] + distance * dx * unit - size.width * (1 - dx) / 2
                low = points[place][1] + distance * dy * unit - size.height * (1 - dy) / 2
                box = Bbox.from_bounds(left, low, size.width, size.height)
                out = size.width * size.height - _common(box, inside)
                covered = sum(_common(box, other) for other in taken) + 4 * out
                if best is None or covered < best[0]:
                    best = (covered, (left, low), box)
            if best is not None and best[0] == 0:
                break
        assert best is not None
        _, (left, low), box = best
        offset = (left - points[place][0]) / unit, (low - points[place][1]) / unit
        text.set_position(offset)
        away = np.hypot(*(np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2 - points[place])) / unit
        if away > 14 + size.width / unit / 2:
            inverse = axis.transData.inverted()
            nearest = np.clip(points[place], [box.x0, box.y0], [box.x1, box.y1])
            end = inverse.transform(nearest)
            axis.plot([x[place], end[0]], [y[place], end[1]], color="0.5", lw=0.6, zorder=2)
        taken.append(box)
        boxes.append(box)
    return boxes


def _common(box: "Bbox", other: "Bbox") -> float:
    """The area that both cover."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def interval_bars(
    names: Sequence[str], values: Array, low: Array, high: Array, *, label: str, middle: float
) -> bytes:
    """A bar from ``middle`` to each value, with the interval from ``low`` to ``high`` across it.

    From the highest value down. Of more than :data:`~percert.reports.plots.BARS` groups the highest
    and the lowest are drawn, and it is said how many are not.
    """
    order = np.argsort(-values, kind="stable")
    hidden = max(0, len(order) - BARS)
    if hidden:
        order = np.concatenate([order[: BARS // 2], order[-BARS // 2 :]])
    figure, axis = new_figure(height=1.1 + 0.2 * max(len(order), 6))
    places = np.arange(len(order), 0, -1)
    below = values[order] < middle
    colours = [COLOURS[1] if under else COLOURS[0] for under in below]
    axis.barh(places, values[order] - middle, left=middle, color=colours, height=0.62, alpha=0.45)
    reach = np.stack([values[order] - low[order], high[order] - values[order]])
    axis.errorbar(
        values[order], places, xerr=np.maximum(reach, 0), fmt="o", ms=3, color="0.15", lw=1
    )
    axis.axvline(middle, color="0.4", lw=0.8)
    name_rows(axis, [names[place] for place in order])
    if hidden:
        cut = len(order) - BARS // 2 + 0.5
        axis.axhline(cut, color="0.4", lw=0.8, ls=":")
        axis.annotate(
            f"{hidden} more between",
            (1, cut),
            xycoords=axis.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize=8,
        )
    axis.tick_params(axis="y", labelsize=8)
    axis.set(xlabel=label)
    return figure_png(figure)
