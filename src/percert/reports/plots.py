"""Figures that several reports draw, as the bytes of a PNG. Needs matplotlib, and no display."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from percert.extras import install_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

#: Distinguishable by people with any kind of colour vision (Okabe and Ito; then grey and wine).
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    *("#999999", "#882255"),
)

Array = npt.NDArray[np.float64]
#: So many groups have a bar of their own at most.
BARS = 40


def new_figure(width: float = 7.0, height: float = 4.5, **grid: Any) -> tuple["Figure", Any]:
    """A figure of so many inches and its axes, apart from pyplot's global state.

    ``grid`` goes to ``Figure.subplots``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(f"figures need matplotlib: {install_extra('report')}") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(**grid)
    for axis in np.atleast_1d(axes).ravel():
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_written(legend: "Legend") -> None:
    """Show names as they are, a ``$`` among them, and not as formulas."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def figure_png(figure: "Figure", dpi: int = 144) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": "percert"})
    return buffer.getvalue()


def boxes(
    samples: Mapping[str, Array],
    *,
    value_label: str,
    reference: tuple[str, float] | None = None,
    title: str = "",
) -> bytes:
    """One horizontal box a sample, its points over it, and a dashed line at ``reference``."""
    figure, axis = new_figure(height=1.6 + 0.75 * len(samples))
    rng = np.random.default_rng(0)  # only keeps points of a box from covering one another
    # The first on top.
    for place, (values, colour) in enumerate(zip(samples.values(), COLOURS * 9, strict=False)):
        at = len(samples) - place
        axis.boxplot(
            values,
            positions=[at],
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            medianprops={"color": "k"},
        )
        jitter = rng.uniform(-0.16, 0.16, len(values))
        axis.plot(values, at + jitter, "o", ms=4, color=colour, alpha=0.55, mew=0)
    name_rows(axis, list(samples))
    if reference is not None:
        axis.axvline(reference[1], color=COLOURS[0], ls="--", lw=1.5, label=reference[0])
    axis.axvline(0, color="0.7", lw=0.8, zorder=0)
    axis.set(xlabel=value_label, title=title)
    if reference is not None:
        axis.legend(frameon=False, loc="best")
    return figure_png(figure)


def name_rows(axis: "Axes", names: list[str]) -> None:
    """Write ``names`` beside the rows len(names), ..., 1: the first on top."""
    axis.set_yticks(range(len(names), 0, -1), names, parse_math=False)
    axis.set_ylim(0.4, len(names) + 0.6)


def share_bars(counts: Mapping[str, float], *, smallest_share: float = 0.01) -> bytes:
    """Horizontal bars of the shares of ``counts``, the largest on top.

    Those below ``smallest_share``, and those beyond :data:`BARS`, are one grey bar together. Raises
    ``ValueError`` for counts without a positive sum.
    """
    total = sum(counts.values())
    if total <= 0:
        raise ValueError("shares: expected counts with a positive sum")
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    named = [entry for entry in ordered if entry[1] >= smallest_share * total][:BARS]
    rest = [count for _, count in ordered[len(named) :]]
    if len(rest) == 1:
        named, rest = ordered, []
    bars = [*named, *([(f"{len(rest)} others together", sum(rest))] if rest else [])]
    figure, axis = new_figure(height=0.9 + 0.24 * len(bars))
    places = range(len(bars), 0, -1)
    colours = [COLOURS[0]] * len(named) + [COLOURS[7]] * bool(rest)
    axis.barh(places, [100 * count / total for _, count in bars], color=colours, height=0.75)
    for place, (_, count) in zip(places, bars, strict=True):
        axis.annotate(
            f"{count / total:.1%}",
            (100 * count / total, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    name_rows(axis, [name for name, _ in bars])
    axis.set(xlabel="share of the images, %")
    axis.margins(x=0.12)
    axis.set_xlim(left=0)
    return figure_png(figure)


Picture = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cell:
    """A column of a grid: its ``title``, and ``pictures`` from top to bottom.

    Pictures are ``(h, w, 3)`` or, for a map in shades of grey, ``(h, w)``, in [0, 1].
    """

    title: str
    pictures: tuple[Picture, ...]


def picture_grid(cells: Sequence[Cell], *, title: str = "", across: int = 5) -> bytes:
    """The cells from left to right, at most ``across`` a line, at about their own resolution.

    Raises ``ValueError`` where there is nothing to show.
    """
    if not cells:
        raise ValueError("pictures: expected at least one, found none")
    deep = max(len(cell.pictures) for cell in cells)
    lines = -(-len(cells) // across)
    across = -(-len(cells) // lines)  # lines of about the same length
    height, width = cells[0].pictures[0].shape[:2]
    side = 2.35
    figure, grid = new_figure(
        side * across + 0.2,
        lines * (deep * side * height / width + 0.42) + 0.3 * bool(title),
        nrows=lines * deep,
        ncols=across,
        squeeze=False,
    )
    for axis in grid.ravel():
        axis.set_axis_off()
    for place, cell in enumerate(cells):
        line, column = divmod(place, across)
        for level, picture in enumerate(cell.pictures):
            axis = grid[line * deep + level, column]
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if level == 0:
                axis.set_title(cell.title, fontsize=8, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure_png(figure, dpi=130)


def amplified(
    changes: Sequence[Picture], *, percentile: float = 99.5
) -> tuple[list[Picture], float]:
    """The changes, ``(h, w, 3)`` or ``(h, w)``, around grey, times one factor; and that factor.

    The factor makes the ``percentile`` of the largest change full black or white.

    >>> shown, factor = amplified([np.full((2, 2, 3), 0.01, np.float32)])
    >>> round(factor), shown[0].max().round(2).item()
    (50, 1.0)
    """
    largest = max((float(np.percentile(np.abs(c), percentile)) for c in changes), default=0.0)
    factor = 0.5 / largest if largest > 0 else 1.0
    return [np.clip(0.5 + factor * change, 0, 1).astype(np.float32) for change in changes], factor
