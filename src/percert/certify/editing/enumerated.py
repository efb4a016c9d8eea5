"""Edits with finitely many values: each is made and certified by itself.

JPEG and WebP by quality, the file decoded again; centre crops and reductions by whole pixels.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.walk import Judge, Reached, proven_radius
from percert.images import Resize, round_to_8bit
from percert.images.pixels import to_tensor
from percert.metrics.certified.embedding import EmbeddingMetric

#: Images that are embedded together.
TOGETHER = 16


@dataclass(frozen=True)
class FiniteEdit:
    """The ``values`` of an edit, mildest first, and the image ``(3, h', w')`` that each makes.

    A value between two makes the image of one of these. ``made`` says that the images are decoded
    8-bit files, so that no rounding comes on top.
    """

    values: Callable[[float], list[float]]
    image: Callable[[float], Tensor]
    made: bool


def encoded(image: Tensor, quality: float, form: str) -> Tensor:
    """``(3, h, w)`` through a JPEG or WebP file of ``quality`` by pillow, float64."""
    levels = (255 * round_to_8bit(image)).round().to(torch.uint8)
    picture = Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=int(quality))
    with Image.open(buffer) as decoded:
        return to_tensor(decoded.convert("RGB")).double()


def jpeg(image: Tensor) -> FiniteEdit:
    """Quality 100 down to 1."""
    return FiniteEdit(_qualities, lambda q: encoded(image, q, "JPEG"), made=True)


def webp(image: Tensor) -> FiniteEdit:
    """Quality 100 down to 0, lossy."""
    return FiniteEdit(_qualities, lambda q: encoded(image, q, "WEBP"), made=True)


def _qualities(end: float) -> list[float]:
    return [float(quality) for quality in range(100, math.ceil(end) - 1, -1)]


def centre_crop(image: Tensor) -> FiniteEdit:
    """The share of the sides that is kept: :func:`kept` pixels around the centre, as they are."""
    return FiniteEdit(_shares(image), lambda share: cropped(image, share), made=True)


def cropped(image: Tensor, share: float) -> Tensor:
    """The :func:`kept` pixels of ``(3, h, w)`` around the centre.

    >>> cropped(torch.zeros(3, 10, 20), 0.5).shape
    torch.Size([3, 5, 10])
    """
    height, width = kept((image.shape[1], image.shape[2]), share)
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def downscale(image: Tensor) -> FiniteEdit:
    """The share of the sides that is left: :func:`kept` pixels, each an exact area average."""
    return FiniteEdit(_shares(image), lambda share: reduced(image, share), made=False)


def reduced(image: Tensor, share: float) -> Tensor:
    """``(3, h, w)`` reduced to ``share`` of each side."""
    return Resize(kept((image.shape[1], image.shape[2]), share), "box")(image[None])[0]


def kept(size: tuple[int, int], share: float) -> tuple[int, int]:
    """(height, width) at ``share``: as many pixels of the longer side as come nearest, at least 1.

    The other side follows it, so that there is one size for every length of the longer one.

    >>> kept((299, 200), 0.9)
    (269, 180)
    """
    longer = max(size)
    left = max(1, math.floor(share * longer + 0.5))
    height, width = (max(1, math.floor(left * side / longer + 0.5)) for side in size)
    return height, width


def _shares(image: Tensor) -> Callable[[float], list[float]]:
    longer = max(image.shape[1:])

    def values(end: float) -> list[float]:
        last = max(1, math.floor(end * longer + 0.5))
        return [*(pixels / longer for pixels in range(longer, last, -1)), end]

    return values


def walk_values(
    edit: FiniteEdit,
    end: float,
    metric: EmbeddingMetric,
    judge: Judge,
    decision: Tensor,
    *,
    eps: float,
    rounded: bool,
    budget: int,
) -> Reached:
    """Certify the values in turn, up to ``end``, for as long as the answer is proven.

    Most lie in the ball that is proven around the input of another value, and need no embedding of
    their own: of some values the last is embedded, and then those that its ball does not hold.
    """
    values = edit.values(end)
    cut = budget < len(values)
    reached: float | None = None
    evaluations = 0
    ball: _Ball | None = None
    for some in _groups(values[:budget]):
        seen, inputs = _seen(edit, some, metric)
        allowed = [one.margin(eps, rounded=rounded and not edit.made) for one in seen]
        margins = torch.tensor(allowed, dtype=torch.float64)
        # The float error grows with the image: the largest one's, the first, holds for all, and
        # for the smaller images of groups that follow.
        largest = max(seen, key=lambda one: one.size[0] * one.size[1])

        def radii(rows: Tensor, inputs: Tensor = inputs, seen: NetworkInput = largest) -> Tensor:
            return proven_radius(judge(seen.features(inputs[rows])), decision)

        proven = torch.zeros(len(some), dtype=torch.bool) if ball is None else ball(inputs, margins)
        if not bool(proven.all()):
            last = torch.tensor([len(some) - 1])
            ball = _Ball(largest, inputs[-1], float(radii(last)))
            proven |= ball(inputs, margins)
            rest = (~proven[:-1]).nonzero().flatten()
            evaluations += 1 + len(rest)
            if len(rest):
                proven[rest] = radii(rest) > margins[rest]
        for value, held in zip(some, proven.tolist(), strict=True):
            if not held:
                return Reached(reached, evaluations, "answer")
            reached = value
    return Reached(reached, evaluations, "budget" if cut else "limit")


@dataclass(frozen=True)
class _Ball:
    """What is proven around the network input ``centre``: all inputs within ``radius``."""

    seen: NetworkInput
    centre: Tensor
    radius: float

    def __call__(self, inputs: Tensor, margins: Tensor) -> Tensor:
        """Which of ``inputs`` it holds, each with all that may move it by its margin."""
        away = self.seen.length(inputs - self.centre) * (1 + 1e-9)
        return away + margins < self.radius


def _groups(values: Sequence[float]) -> Iterator[Sequence[float]]:
    for begin in range(0, len(values), TOGETHER):
        yield values[begin : begin + TOGETHER]


def _seen(
    edit: FiniteEdit, values: Sequence[float], metric: EmbeddingMetric
) -> tuple[list[NetworkInput], Tensor]:
    """The network's inputs at ``values``, ``(n, 3, H, W)``, and what each is made of."""
    images = [edit.image(value) for value in values]
    seen = [NetworkInput(metric, (image.shape[1], image.shape[2])) for image in images]
    inputs = [one.resized(image[None]) for one, image in zip(seen, images, strict=True)]
    return seen, torch.cat(inputs)
