"""The weights P of Algorithm 2: how often an image of D is drawn, and how far a step on it goes.

*Human Imperceptible Attacks and Applications to Improve Fairness*, Algorithm 2. The clean images
weigh 1, the i-th image of round k weighs (k - 1) N + i. After one round of N = 10,000 the clean
images are drawn once in 5,000 times, and a step on the last image is 10,000 times as long as one on
a clean image: as written, training diverges at once. ``"literal"`` is that; ``"normalised"`` keeps
the bias towards recent rounds, with

- weights in units of a round, P = (k - 1) + i / N: between 0 and the number of rounds, so that
  after k rounds 2 / (2 + k^2) of the draws are clean images;
- steps of P over its mean under the drawing, sum P^2 / sum P, so that the mean step is one of the
  learning rate.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Scheme: TypeAlias = Literal["normalised", "literal"]
SCHEMES: tuple[Scheme, ...] = ("normalised", "literal")
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]


def example_weights(rounds: Ints, positions: Ints, count: int, scheme: Scheme) -> Floats:
    """P of images by their round k (0: clean) and position i in it (from 1), for ``count`` = N.

    >>> rounds, positions = np.array([0, 1, 1, 2]), np.array([1, 1, 4, 2])
    >>> example_weights(rounds, positions, 4, "literal")
    array([1., 1., 4., 6.])
    >>> example_weights(rounds, positions, 4, "normalised")
    array([1.  , 0.25, 1.  , 1.5 ])
    """
    grown = (rounds - 1.0) * count + positions
    if scheme == "normalised":
        grown = grown / count
    elif scheme != "literal":
        raise ValueError(f"weights: expected one of {', '.join(SCHEMES)}, found {scheme!r}")
    return np.where(rounds == 0, 1.0, grown)


def step_scale(weights: Floats, scheme: Scheme) -> float:
    """What P is multiplied by in a step, over the whole D with ``weights``: 1 where literal.

    >>> step_scale(np.array([1.0, 3.0]), "normalised")  # drawn with chances 1/4 and 3/4: 2.5
    0.4
    """
    if scheme == "literal":
        return 1.0
    return float(weights.sum() / np.square(weights).sum())
