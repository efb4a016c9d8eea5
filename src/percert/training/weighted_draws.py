"""Draws in proportion to weights, with replacement, decided by a seed alone."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from percert.training.example_weights import Floats, Ints

Generator: TypeAlias = np.random.Generator


class WeightedDraws:
    """Draws of 0 ... n - 1 in proportion to ``weights`` ``(n,)``, by their cumulative sums.

    8 bytes an image, and one binary search a draw. Raises ``ValueError`` for weights that are not
    finite, negative, or all 0.

    >>> draws = WeightedDraws(np.array([0.0, 1.0, 0.0]))
    >>> draws.draw(3, np.random.default_rng(0))
    array([1, 1, 1])
    """

    def __init__(self, weights: Floats) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("weights: expected one finite number of at least 0 for each image")
        if not values.sum() > 0:
            raise ValueError("weights: expected one above 0 at least")
        self.cumulative = np.cumsum(values)
        #: Rounding may carry a draw past the end, onto an image of no weight.
        self.last = int(np.flatnonzero(values)[-1])

    def draw(self, count: int, generator: Generator) -> Ints:
        """``count`` indices; one by one or at once, the same generator gives the same."""
        at = generator.random(count) * self.cumulative[-1]
        found = np.searchsorted(self.cumulative, at, side="right")
        drawn: npt.NDArray[np.int64] = np.minimum(found, self.last).astype(np.int64)
        return drawn


def stream(seed: int, *path: int) -> Generator:
    """The random numbers of one purpose: independent of every other ``path`` under the ``seed``.

    >>> bool(stream(0, 1).random() == stream(0, 1).random() != stream(0, 2).random())
    True
    """
    return np.random.default_rng([seed, *path])
