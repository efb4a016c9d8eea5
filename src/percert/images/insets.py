"""Pictures inside a picture: screenshots, collages, photographs pasted onto others or framed.

The straight edges of a pasted picture run along all of a rectangle. Which rectangles are found
depends on the pixels, so nothing is proven of that: a tamper may hide an edge. What is asked of the
part that was found is proven as of any picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.check import check_images

#: The longer side that edges are looked for at.
SIDE = 256
#: How much neighbouring pixels differ across an edge, in the channel that differs most.
STEP = 0.03
#: How much pixels of a margin differ: files of 8 bits round, and JPEG a little more.
EVEN = 0.012
#: The share of a side that is an edge, and the least share of the image's side that a side has.
ALONG, LEAST = 0.85, 0.2
#: In fewer pixels a picture shows little, and resembles much.
SMALLEST = 64
#: Lines of one direction that rectangles are made of, and how near two of them may lie.
LINES, APART = 14, 2
#: Rectangles that share more than this part of what they cover are the same.
SAME = 0.7
#: At most so many are found.
MOST = 3

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Inset:
    """A rectangle of an image, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: Tensor) -> Tensor:
        """The part of ``(..., h, w)`` inside."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def find_insets(image: Tensor, most: int = MOST) -> tuple[Inset, ...]:
    """The rectangles of ``(3, h, w)`` in [0, 1] that look like pictures of their own.

    At most ``most``, the clearest first; each side has :data:`SMALLEST` pixels and a fifth of the
    image's, or more, without margins of one colour. Many ordinary photographs have one, too:
    windows and signs have such edges. Raises ``ValueError`` for what is no image.

    >>> image = 0.03 * torch.rand(3, 120, 160, generator=torch.Generator().manual_seed(0))
    >>> image[:, 20:100, 40:144] += 0.5
    >>> find_insets(image)[0]
    Inset(left=40, top=20, width=104, height=80)
    """
    check_images(image[None], "image")
    height, width = image.shape[-2:]
    if min(height, width) < SMALLEST:
        return ()
    scale = min(1.0, SIDE / max(height, width))
    edge = round(1 / scale - 1)  # as far as a line may lie beside its edge
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = torch.nn.functional.interpolate(image[None].float(), size, mode="area")[0]
    pixels = small.cpu().double().numpy()
    upright = _steps(pixels)
    level = _steps(pixels.transpose(0, 2, 1))
    boxes = _rectangles(_Lines.of(upright), _Lines.of(level), (SMALLEST + 2 * edge) * scale)
    found: list[tuple[int, int, int, int]] = []
    for left, right, top, bottom in boxes:
        if all(_shared((left, right, top, bottom), other) < SAME for other in found):
            found.append((left, right, top, bottom))
        if len(found) == most:
            break
    across, down = width / size[1], height / size[0]
    whole = [
        Inset(
            round(left * across) + edge,
            round(top * down) + edge,
            round(right * across) - round(left * across) - 2 * edge,
            round(bottom * down) - round(top * down) - 2 * edge,
        )
        for left, right, top, bottom in found
    ]
    shown = [_without_margins(image, one) for one in whole]
    return tuple(one for one in shown if one is not None)


def _without_margins(image: Tensor, inset: Inset) -> Inset | None:
    """The part within margins of one colour, as players and viewers add them.

    The rectangle itself where less than :data:`SMALLEST` pixels would be left of a side; ``None``
    where all of it is of one colour.
    """
    part = inset.cut(image)
    shown = ((part - part[:, :1, :1]).abs() > EVEN).any(0)
    rows, columns = (shown.any(axis).nonzero()[:, 0] for axis in (1, 0))
    if len(rows) == 0:
        return None
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    if min(height, width) < SMALLEST:
        return inset
    return Inset(inset.left + left, inset.top + top, width, height)


def _steps(pixels: Array) -> npt.NDArray[np.bool_]:
    """``(w + 1, h)``: whether there is an edge left of each pixel; none at the borders."""
    _, height, width = pixels.shape
    found = np.zeros((width + 1, height), dtype=bool)
    found[1:width] = (np.abs(np.diff(pixels, axis=2)).max(0) > STEP).T
    return found


@dataclass(frozen=True)
class _Lines:
    """The places of the longest lines of one direction with the image's two borders, in order.

    ``upto`` ``(lines, length + 1)`` counts the edges along each, up to a place of the other
    direction.
    """

    places: npt.NDArray[np.int64]
    upto: npt.NDArray[np.int64]

    @classmethod
    def of(cls, steps: npt.NDArray[np.bool_]) -> "_Lines":
        last = len(steps) - 1
        runs = np.array([_longest_run(line) for line in steps])
        kept = [0, last]
        for place in np.argsort(-runs, kind="stable"):
            if runs[place] < LEAST * steps.shape[1] or len(kept) == LINES + 2:
                break
            if all(abs(place - other) > APART for other in kept):
                kept.append(int(place))
        places = np.array(sorted(kept))
        # An edge may lie a pixel beside its line after shrinking.
        near = np.pad(steps, ((1, 1), (0, 0)))
        wide = (near[:-2] | near[1:-1] | near[2:])[places]
        return cls(places, np.pad(np.cumsum(wide, 1), ((0, 0), (1, 0))))

    def pairs(self, least: float) -> npt.NDArray[np.int64]:
        """``(n, 2)``: two lines each that are far enough apart, by their index."""
        first, second = np.triu_indices(len(self.places), 1)
        least = max(least, LEAST * self.places[-1])
        wide = self.places[second] - self.places[first] >= least
        return np.stack([first[wide], second[wide]], 1)


def _longest_run(line: npt.NDArray[np.bool_]) -> int:
    """How long edges run without a gap of more than :data:`APART` places."""
    at = np.flatnonzero(line)
    if len(at) == 0:
        return 0
    breaks = np.flatnonzero(np.diff(at) > APART + 1)
    starts = np.concatenate([at[:1], at[breaks + 1]])
    ends = np.concatenate([at[breaks], at[-1:]])
    return int((ends - starts).max()) + 1


def _rectangles(upright: _Lines, level: _Lines, least: float) -> list[tuple[int, int, int, int]]:
    """(left, right, top, bottom) of those with edges along every side inside, the clearest first.

    Two sides at least lie inside of the image.
    """
    sides, ends = upright.pairs(least), level.pairs(least)
    x, y = upright.places[sides], level.places[ends]
    width, height = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
    along = np.ones((len(sides), len(ends), 4))
    inside = np.zeros((len(sides), len(ends), 4), dtype=bool)
    for at in (0, 1):
        line, end = sides[:, at], ends[:, at]
        counted = upright.upto[line][:, y[:, 1]] - upright.upto[line][:, y[:, 0]]
        along[:, :, at] = counted / height[None]
        inside[:, :, at] = ((line > 0) & (line < len(upright.places) - 1))[:, None]
        counted = level.upto[end][:, x[:, 1]] - level.upto[end][:, x[:, 0]]
        along[:, :, 2 + at] = counted.T / width[:, None]
        inside[:, :, 2 + at] = ((end > 0) & (end < len(level.places) - 1))[None]
    clear = ((along >= ALONG) | ~inside).all(2) & (inside.sum(2) >= 2)
    area = width[:, None] * height[None] / (upright.places[-1] * level.places[-1])
    rank = (along * inside).sum(2) + area / 2
    some = np.argwhere(clear)
    order = np.argsort(-rank[clear], kind="stable")
    return [
        (int(x[i, 0]), int(x[i, 1]), int(y[j, 0]), int(y[j, 1])) for i, j in some[order].tolist()
    ]


def _shared(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The part of what two rectangles cover that both cover."""
    wide = min(one[1], other[1]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[2], other[2])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (one, other)]
    return both / (sum(areas) - both)
