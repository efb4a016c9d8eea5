"""How near strangers lie: the distances that a share of all pairs of them has at most.

A table is measured once for a metric and ships with it (``benchmarks/strangers.py``). What it says
holds for photographs like those that it was measured on: pictures with little in them, and those of
one scene, are nearer.
"""

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True)
class Quantiles:
    """``points`` are (rate, distance), the rate falling: a share ``rate`` of ``pairs`` is as near.

    Below the last, counted one the rate goes down as the distance to the power ``exponent``: that
    is fitted to the nearest pairs, not counted.
    """

    pairs: int
    points: tuple[tuple[float, float], ...]
    exponent: float

    @property
    def counted(self) -> float:
        """The smallest rate that was counted."""
        return self.points[-1][0]

    def threshold(self, rate: float) -> float:
        """The distance that a share ``rate`` of the pairs has at most.

        Between two points the logarithms are joined by a line. Raises ``ValueError`` for a rate
        that is not above 0, and for one above the largest in the table.

        >>> table = Quantiles(10**8, ((1e-2, 0.4), (1e-4, 0.2)), 5.0)
        >>> [round(table.threshold(rate), 4) for rate in (1e-2, 1e-3, 1e-4, 1e-9)]
        [0.4, 0.2828, 0.2, 0.02]
        """
        largest, least = self.points[0], self.points[-1]
        if not 0 < rate <= largest[0]:
            raise ValueError(f"rate: expected 0 < rate <= {largest[0]:g}, found {rate:g}")
        if rate <= least[0]:
            return float(least[1] * (rate / least[0]) ** (1 / self.exponent))
        rates = [-math.log(one) for one, _ in self.points]
        at = max(1, bisect_left(rates, -math.log(rate)))
        (more, far), (fewer, near) = self.points[at - 1], self.points[at]
        share = math.log(rate / more) / math.log(fewer / more)
        return math.exp((1 - share) * math.log(far) + share * math.log(near))

    def rate(self, threshold: float) -> float:
        """The share of the pairs within ``threshold``, the inverse of :meth:`threshold`.

        1 above the largest distance of the table, which says nothing there.

        >>> table = Quantiles(10**8, ((1e-2, 0.4), (1e-4, 0.2)), 5.0)
        >>> [f"{table.rate(distance):.1e}" for distance in (0.5, 0.4, 0.02, 0.0)]
        ['1.0e+00', '1.0e-02', '1.0e-09', '0.0e+00']
        """
        largest, least = self.points[0], self.points[-1]
        if threshold > largest[1]:
            return 1.0
        if threshold <= least[1]:
            return float(least[0] * (threshold / least[1]) ** self.exponent)
        distances = [-distance for _, distance in self.points]
        at = max(1, bisect_left(distances, -threshold))
        (more, far), (fewer, near) = self.points[at - 1], self.points[at]
        share = math.log(threshold / far) / math.log(near / far)
        return math.exp((1 - share) * math.log(more) + share * math.log(fewer))


@dataclass(frozen=True)
class StrangerTable:
    """The quantiles of the metric called ``metric`` with ``weights``, by the set of views."""

    metric: str
    weights: str
    views: dict[str, Quantiles]


def write_table(table: StrangerTable, path: Path) -> None:
    """Write ``table`` as JSON."""
    path.write_text(json.dumps(asdict(table), indent=1) + "\n", encoding="utf-8")


@cache
def shipped_tables() -> dict[tuple[str, str], StrangerTable]:
    """The tables that come with percert, by the metric's name and the hash of its weights."""
    found = {}
    for file in (files("percert") / "weights").iterdir():
        if file.name.endswith("-strangers.json"):
            held = json.loads(file.read_text(encoding="utf-8"))
            views = {
                name: Quantiles(
                    one["pairs"],
                    tuple((rate, distance) for rate, distance in one["points"]),
                    one["exponent"],
                )
                for name, one in held["views"].items()
            }
            found[held["metric"], held["weights"]] = StrangerTable(
                held["metric"], held["weights"], views
            )
    return found


def one_in(rate: float) -> str:
    """A rate of strangers in words.

    >>> one_in(1e-3), one_in(3.3e-9)
    ('one in 1,000 pairs of strangers', 'one in 300,000,000 pairs of strangers')
    """
    if rate <= 0:
        return "no pair of strangers"
    return f"one in {float(f'{1 / rate:.2g}'):,.0f} pairs of strangers"
