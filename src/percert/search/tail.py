"""Tail probabilities of a score among unrelated pairs: counted quantiles, then a fitted tail.

Between two counted points the logarithm of the rate is joined by a line in the height. Beyond the
last one the height grows by ``scale`` with each factor e by which the rate falls: an exponential
tail, which is fitted and not counted. Of distances T the height is -log T, so that their tail is a
power of T.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

#: (rate, height), the rate falling and the height rising.
Points = Sequence[tuple[float, float]]


def height_at(points: Points, scale: float, rate: float) -> float:
    """The quantile: the score that a share ``rate`` of pairs exceeds.

    >>> [round(height_at([(1e-2, 0.3), (1e-4, 0.5)], 0.05, rate), 3) for rate in (1e-2, 1e-3, 1e-6)]
    [0.3, 0.4, 0.73]
    """
    least, top = points[-1]
    if rate <= least:
        return top + scale * math.log(least / rate)
    at = max(1, bisect_left([-one for one, _ in points], -rate))
    (more, low), (fewer, high) = points[at - 1], points[at]
    return low + (high - low) * math.log(rate / more) / math.log(fewer / more)


def rate_at(points: Points, scale: float, height: float) -> float:
    """The share of pairs that exceeds ``height``, the inverse of :func:`height_at`.

    >>> [f"{rate_at([(1e-2, 0.3), (1e-4, 0.5)], 0.05, height):.1e}" for height in (0.3, 0.4, 0.73)]
    ['1.0e-02', '1.0e-03', '1.0e-06']
    """
    least, top = points[-1]
    if height >= top:
        return least * math.exp((top - height) / scale)
    at = max(1, bisect_left([one for _, one in points], height))
    (more, low), (fewer, high) = points[at - 1], points[at]
    return more * math.exp(math.log(fewer / more) * (height - low) / (high - low))
