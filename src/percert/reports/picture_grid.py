"""Pictures side by side, as the bytes of a PNG. Needs matplotlib, and no display."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from percert.reports.plots import figure_png, new_figure

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
