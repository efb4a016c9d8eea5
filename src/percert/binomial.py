"""What counts say of a chance: so many hits in so many independent draws."""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def wilson(share: Array, n: Array, confidence: float = 0.95) -> tuple[Array, Array]:
    """Wilson's score interval (1927) of each share in ``n`` draws: ``(lower, upper)``.

    >>> lower, upper = wilson(np.array([0.0]), np.array([12.0]))
    >>> float(lower[0]), round(float(upper[0]), 3)
    (0.0, 0.242)
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.where(share <= 0, 0.0, middle - reach), np.where(share >= 1, 1.0, middle + reach)


def share_interval(hits: int, draws: int) -> tuple[float, float]:
    """The 95 % interval (Wilson's) of the share of ``hits`` in ``draws``.

    >>> tuple(round(end, 3) for end in share_interval(0, 10))
    (0.0, 0.278)
    """
    lower, upper = wilson(np.array(hits / draws), np.array(draws))
    return float(lower), float(upper)


def at_least(hits: int, draws: int, p: float) -> float:
    """P(Bin(draws, p) >= hits), summed in float64 over the side that has fewer terms.

    >>> round(at_least(1, 2, 0.5), 12)
    0.75
    """
    if not 0 < p < 1:
        return float(hits <= (draws if p >= 1 else 0))
    fewer = 2 * hits <= draws
    k = np.arange(hits) if fewer else np.arange(hits, draws + 1)
    if not len(k):
        return float(fewer)
    # log C(n, k + 1) - log C(n, k) = log (n - k) - log (k + 1)
    first = math.lgamma(draws + 1) - math.lgamma(k[0] + 1) - math.lgamma(draws - k[0] + 1)
    ways = first + np.concatenate([[0.0], np.cumsum(np.log((draws - k[:-1]) / (k[:-1] + 1)))])
    total = float(np.exp(ways + k * math.log(p) + (draws - k) * math.log1p(-p)).sum())
    return max(0.0, 1 - total) if fewer else total


def chance_of_hits(hits: int, draws: int, probability: float) -> tuple[float, float]:
    """The chance p with P(Bin(draws, p) >= hits) = ``probability``, from below and from above.

    Clopper and Pearson (1934): a chance that gave so many hits lies above it but for that
    probability. By bisection, so that the first end is never too high and the second never too low.

    >>> low, high = chance_of_hits(100, 100, 0.001)
    >>> round(low, 4), high - low < 1e-15  # 0.001 ** (1 / 100)
    (0.9333, True)
    """
    if hits == 0:
        return 0.0, 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_least(hits, draws, middle) <= probability:
            low = middle
        else:
            high = middle
    return low, high
