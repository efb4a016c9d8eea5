"""The threshold recommended for a store, by the measured distances of unrelated images.

How near unrelated images ("strangers") lie is measured once for a metric, and ships with it as a
table (``experiments/copies/strangers.py``): the distances that a share of all pairs of them has at
most. It holds for photographs like those that it was measured on: pictures with little in them, and
those of one scene, are nearer.
"""

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from percert.metrics.catalog import CATALOG, create_metric
from percert.search.ingest.views import VIEW_SETS
from percert.search.tables.schema import StoreHeader, metric_id

#: By default one of so many queries that are copies of nothing gets an answer: its inverse.
PER_QUERY = 1e-6


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


@dataclass(frozen=True)
class Recommended:
    """``threshold``, a distance that a share ``rate`` of unrelated pairs has at most.

    A pair is a query and a stored image in its nearest view. ``counted`` says whether so few pairs
    were counted when it was measured; if not, the rate is extrapolated. ``measured`` says whether
    it was measured with these views; if not, it is that of whole images at the rate over the number
    of views, which lets no more pass as long as strangers see no view nearer than the whole.
    """

    threshold: float
    rate: float
    counted: bool
    measured: bool


def recommended_threshold(
    header: StoreHeader, images: int, rate: float | None = None
) -> Recommended:
    """The threshold that a share ``rate`` of pairs of strangers passes, by the metric's own table.

    ``header`` is that of a store with so many ``images``. The default rate is :data:`PER_QUERY`
    over their number, so that of a million queries that are copies of nothing one gets an answer,
    however much is stored: the more a store holds, the lower is its threshold. Raises
    ``ValueError`` for a rate outside the table, and where there is no table for the metric and its
    weights.

    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> found = recommended_threshold(StoreHeader(metric_id(Thumbnail(8)), ("whole",)), 1, 1e-3)
    >>> found.rate, found.counted, 0.1 < found.threshold < 0.3
    (0.001, True, True)
    """
    if rate is None:
        rate = PER_QUERY / max(1, images)
    quantiles, parts = _quantiles(header) or _no_table(header)
    at = rate / parts
    return Recommended(quantiles.threshold(at), rate, at >= quantiles.counted, parts == 1)


def has_table(header: StoreHeader, rate: float | None = None) -> bool:
    """Whether the metric ships a table for the store, and one that reaches up to ``rate``."""
    table = _table(header)
    return table is not None and (rate is None or rate <= table.views["whole"].points[0][0])


def stranger_rate(header: StoreHeader, threshold: float) -> float | None:
    """The share of pairs of strangers within ``threshold``, or ``None`` where no table knows it.

    That is also so above the largest distance that the table has.
    """
    found = _quantiles(header)
    if found is None:
        return None
    quantiles, parts = found
    rate = parts * quantiles.rate(threshold)
    return rate if rate < 1 else None


def _table(header: StoreHeader) -> StrangerTable | None:
    return shipped_tables().get((header.metric.name, header.metric.weights))


def _quantiles(header: StoreHeader) -> tuple[Quantiles, int] | None:
    """The quantiles measured with the store's views, and 1; or those of whole images, and among how
    many views their rate is shared.
    """
    table = _table(header)
    if table is None:
        return None
    for name, quantiles in table.views.items():
        if set(header.views) == set(VIEW_SETS[name]):
            return quantiles, 1
    return table.views["whole"], len(header.views)


def _no_table(header: StoreHeader) -> NoReturn:
    name, weights = header.metric.name, header.metric.weights
    card = CATALOG.get(name)
    own = card is not None and card.copy_threshold is not None and weights != _shipped_weights(name)
    what = f"{name} recommends no threshold{' for weights of your own' if own else ''}"
    raise ValueError(f"{what}: give one, or let it be chosen by what is stored, with auto:RATE")


@cache
def _shipped_weights(name: str) -> str:
    """The hash of the weights that a metric comes with: a server asks for it at every query."""
    return metric_id(create_metric(name, device="cpu")).weights
