"""What an l2 radius means for changes of few pixels, of a patch, and for the l1 norm.

All in the network's input, where a verdict stands while |P A d| < R. Pixels lie in [0, 1], so no
value i can move by more than m_i = max(x_i, 1 - x_i).

Any k pixels: |A d| <= sigma(A) |d|, and |d|^2 is at most the sum of the k largest sum_c m_i^2.

A patch S, such as an opaque box or a caption: with B = |A|, Cauchy and Schwarz give (sum_S B_ji
m_i)^2 <= (sum_S B_ji)(sum_S B_ji m_i^2), and summed over j, |A d|^2 <= sum_S m_i^2 (B^T B 1_S)_i.
B^T B is that of the rows times that of the columns, and so is 1_S: two matrix products give the
bound at every place of the patch.

l1: a change of l1 length e is a mean of changes of single values by e, so |P A d| is at most e
times the longest column of P A: as far as a linear embedding that keeps norms can move.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.questions import CopyQuestion, one_image
from percert.certify.editing.walk import Judge
from percert.certify.features import embed
from percert.images.resize import resize_matrix
from percert.metrics.metric import Metric
from percert.tensors import Images

#: Pixels of an image beyond which all are taken for the one that can move the most.
LARGE = 1 << 20


@dataclass(frozen=True)
class LocalChanges:
    """How much of an image may be replaced, by anything in [0, 1], while ``decision`` stands.

    The pixels at any ``pixels`` places; or any square of ``patch`` x ``patch`` pixels, wherever it
    lies; or a caption, any rows of pixels up to ``caption`` high, across the whole image or a part
    of it; or changes of less than ``l1`` in the l1 norm. 0 where nothing is proven.
    """

    decision: int
    pixels: int
    patch: int
    caption: int
    l1: float


def local_changes(
    metric: Metric, reference: Images, candidate: Images, *, threshold: float
) -> LocalChanges:
    """How many pixels of the candidate may change without changing whether it is a copy.

    ``reference`` and ``candidate`` are one image each, ``(1, 3, h, w)``, in [0, 1]. Raises
    ``ValueError`` for a metric without a proven bound and for invalid input.

    >>> from percert.metrics.catalog import create_metric
    >>> metric = create_metric("thumbnail", device="cpu")
    >>> photo = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    >>> found = local_changes(metric, photo, photo, threshold=0.3)
    >>> found.decision, 0 < found.pixels < (found.patch + 1) ** 2
    (1, True)
    """
    question = CopyQuestion(embed(metric, one_image(reference, "reference")), threshold)
    return local_changes_of(metric, candidate, question)


def local_changes_of(metric: Metric, image: Images, question: Judge) -> LocalChanges:
    """As :func:`local_changes`, for the answer to ``question``."""
    image = one_image(image, "image")
    size = (image.shape[2], image.shape[3])
    seen = NetworkInput.of(metric, size)
    found = question(seen.features(seen.resized(image)))
    length = float(found.radius) - seen.margin(rounded=False)
    decision = int(found.decision.item())
    if length <= 0 or math.isinf(length):
        everywhere = size[0] * size[1] if length > 0 else 0
        side, high = (min(size), size[0]) if length > 0 else (0, 0)
        return LocalChanges(decision, everywhere, side, high, max(length, 0.0))
    picture = image[0].double().cpu()
    moves = torch.maximum(picture, 1 - picture).square().sum(0)
    return LocalChanges(
        decision,
        _pixels(moves, length / seen.norm),
        _largest(seen, moves, length, min(size), lambda side: (side, side)),
        _largest(seen, moves, length, size[0], lambda high: (high, size[1])),
        length / _longest_column(seen),
    )


def _pixels(moves: Tensor, length: float) -> int:
    """The largest number of pixels whose changes together stay shorter than ``length``."""
    sums = moves.flatten().sort(descending=True).values.cumsum(0) * (1 + 1e-9)
    return int((sums < length**2).sum())


def _largest(
    seen: NetworkInput,
    moves: Tensor,
    length: float,
    most: int,
    sides: Callable[[int], tuple[int, int]],
) -> int:
    """The largest number, up to ``most``, of whose ``sides`` no patch moves the input so far."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        held = _worst(seen, moves, sides(middle)) < length
        low, high = (middle, high) if held else (low, middle)
    return low


def _worst(seen: NetworkInput, moves: Tensor, sides: tuple[int, int]) -> float:
    """The bound of |A d| for the worst place of a patch (height, width), from above."""
    rows, columns = (_windows(seen, axis, side) for axis, side in enumerate(sides))
    if moves.numel() > LARGE:
        square = float(moves.max()) * float(rows.sum(1).max()) * float(columns.sum(1).max())
    else:
        square = float((rows @ moves @ columns.T).max())
    return math.sqrt(max(square, 0.0)) * (1 + 1e-9)


def _windows(seen: NetworkInput, axis: int, side: int) -> Tensor:
    """B^T B 1_S for every window S of ``side`` pixels, within S: ``(places, length)``."""
    resize, length = seen.metric.resize, seen.size[axis]
    weights = resize_matrix(length, resize.size[axis], resize.mode, resize.antialias)
    absolute = torch.from_numpy(weights).abs()
    at = torch.arange(length)
    first = torch.arange(length - side + 1)[:, None]
    inside = ((at >= first) & (at < first + side)).double()
    return inside * (inside @ absolute.T @ absolute)


def _longest_column(seen: NetworkInput) -> float:
    """The largest |P A e_i| over all values i of an image."""
    resize = seen.metric.resize
    lengths, sums = [], []
    for inside, outside in zip(seen.size, resize.size, strict=True):
        matrix = resize_matrix(inside, outside, resize.mode, resize.antialias)
        weights = torch.from_numpy(matrix)
        lengths.append(weights.square().sum(0))
        sums.append(weights.sum(0))
    squares = torch.outer(*lengths)
    if seen.blind_to_means:
        squares = squares - torch.outer(*sums).square() / (resize.size[0] * resize.size[1])
    return math.sqrt(max(float(squares.max()), 0.0)) * (1 + 1e-9)
