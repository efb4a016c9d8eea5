"""Recommended thresholds: from a wanted rate of false positives a query, and back.

A query that is a copy of nothing (a "stranger") gets a wrong answer where it lies within a stored
image's own threshold: where distance + weight b <= T for one of its views, b being the likeness of
what is stored. How often the smallest of these sums over all stored images is at most T was counted
once for each metric, on pictures that it was never trained on and for collections of several sizes,
and ships with it as a table (``experiments/copies/strangers.py``). The table holds for photographs
like those: pictures with little in them, and those of one scene, are nearer.
"""

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from percert.files import write_whole
from percert.metrics.catalog import CATALOG, create_metric
from percert.search.ingest.views import VIEW_SETS
from percert.search.tables.schema import StoreHeader, metric_id
from percert.search.tail import height_at, rate_at

#: The share of queries that are copies of nothing and get an answer all the same, by default.
WRONG = 1e-3


@dataclass(frozen=True)
class Quantiles:
    """How near strangers come to collections of ``images``: ``points`` (rate, T), the rate falling.

    In the share ``rate`` of ``trials`` (one stranger asked of one collection each) the smallest sum
    was at most T. Below the last counted rate it is extrapolated: the rate falls as T to the power
    ``exponent``, fitted to the smallest sums.
    """

    trials: int
    points: tuple[tuple[float, float], ...]
    exponent: float
    images: int = 1

    @property
    def counted(self) -> float:
        """The smallest rate that was counted."""
        return self.points[-1][0]

    def threshold(self, rate: float) -> float:
        """The T that a share ``rate`` of the trials has at most.

        Between two points the logarithms are joined by a line. Raises ``ValueError`` for a rate
        that is not above 0, and for one above the largest in the table.

        >>> table = Quantiles(10**8, ((1e-2, 0.4), (1e-4, 0.2)), 5.0)
        >>> [round(table.threshold(rate), 4) for rate in (1e-2, 1e-3, 1e-4, 1e-9)]
        [0.4, 0.2828, 0.2, 0.02]
        """
        largest, _ = self.points[0]
        if not 0 < rate <= largest:
            raise ValueError(f"rate: expected 0 < rate <= {largest:g}, found {rate:g}")
        return math.exp(-height_at(self._heights, 1 / self.exponent, rate))

    def rate(self, threshold: float) -> float:
        """The share of the trials within ``threshold``, the inverse of :meth:`threshold`.

        1 above the largest T of the table, which says nothing there.

        >>> table = Quantiles(10**8, ((1e-2, 0.4), (1e-4, 0.2)), 5.0)
        >>> [f"{table.rate(distance):.1e}" for distance in (0.5, 0.4, 0.02, 0.0)]
        ['1.0e+00', '1.0e-02', '1.0e-09', '0.0e+00']
        """
        if threshold > self.points[0][1]:
            return 1.0
        if threshold <= 0:
            return 0.0
        return rate_at(self._heights, 1 / self.exponent, -math.log(threshold))

    @property
    def _heights(self) -> list[tuple[float, float]]:
        return [(rate, -math.log(distance)) for rate, distance in self.points]


@dataclass(frozen=True)
class StrangerTable:
    """The calibration of the metric called ``metric`` with ``weights``, by set of views.

    For each set, the quantiles of every size of collection that was counted, smallest first.
    ``background`` is the hash of the background that likeness was measured against, or ``None``.
    """

    metric: str
    weights: str
    views: dict[str, tuple[Quantiles, ...]]
    background: str | None = None


def write_table(table: StrangerTable, path: Path) -> None:
    """Write ``table`` as JSON."""
    write_whole(path, json.dumps(asdict(table), indent=1) + "\n")


def read_table(path: Path) -> StrangerTable:
    """The inverse of :func:`write_table`."""
    held = json.loads(path.read_text(encoding="utf-8"))
    views = {
        name: tuple(
            Quantiles(
                one["trials"],
                tuple((rate, distance) for rate, distance in one["points"]),
                one["exponent"],
                one["images"],
            )
            for one in sizes
        )
        for name, sizes in held["views"].items()
    }
    return StrangerTable(held["metric"], held["weights"], views, held["background"])


@cache
def shipped_tables() -> dict[tuple[str, str], StrangerTable]:
    """The tables that come with percert, by the metric's name and the hash of its weights."""
    found = {}
    for file in (files("percert") / "weights").iterdir():
        if file.name.endswith("-strangers.json"):
            table = read_table(Path(str(file)))
            found[table.metric, table.weights] = table
    return found


@dataclass(frozen=True)
class WrongRate:
    """False-positive rate a query in a collection of ``images``, from the sizes that were counted.

    Between two sizes the logarithm of the rate is interpolated linearly in that of the size. Beyond
    the largest, and where only pairs were counted, the rate is taken in proportion to the size,
    which is an upper bound (the union bound). ``parts`` is among how many views a rate counted of
    whole images is shared.
    """

    sizes: tuple[Quantiles, ...]
    images: int
    parts: int = 1

    def rate(self, threshold: float) -> float:
        """The share of strangers that get an answer at T = ``threshold``, at most 1."""
        images = max(1, self.images) * self.parts
        at = [one.images for one in self.sizes]
        after = bisect_left(at, images)
        if after in (0, len(at)):
            near = self.sizes[min(after, len(at) - 1)]
            return min(1.0, near.rate(threshold) * images / near.images)
        few, many = self.sizes[after - 1], self.sizes[after]
        share = math.log(images / few.images) / math.log(many.images / few.images)
        rates = few.rate(threshold), many.rate(threshold)
        if not all(rates):
            return 0.0
        return min(1.0, math.exp((1 - share) * math.log(rates[0]) + share * math.log(rates[1])))

    @lru_cache(maxsize=64)  # noqa: B019  # a value: what is kept is small, and asked for again
    def threshold(self, wrong: float) -> float:
        """The largest T at which no more than the share ``wrong`` of strangers get an answer."""
        low, high = 0.0, max(one.points[0][1] for one in self.sizes)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) <= wrong else (low, middle)
        return low

    def counted(self, threshold: float) -> bool:
        """Whether strangers so near were counted, and in collections of at least this size."""
        images = max(1, self.images) * self.parts
        near = [one for one in self.sizes if one.images >= images] or [self.sizes[-1]]
        enough = len(self.sizes) == 1 or self.sizes[-1].images >= images
        return enough and threshold >= near[0].points[-1][1]


def share_of_queries(rate: float) -> str:
    """A rate of wrong answers in words.

    >>> share_of_queries(1e-3), share_of_queries(3.3e-7), share_of_queries(0)
    ('1 in 1,000', '1 in 3,000,000', 'none')
    """
    return "none" if rate <= 0 else f"1 in {float(f'{1 / rate:.2g}'):,.0f}"


@dataclass(frozen=True)
class Recommended:
    """A ``threshold`` T at which the share ``wrong`` of strangers gets an answer from a store.

    ``counted`` says whether so small a rate was counted when the metric was calibrated; if not, it
    is extrapolated. ``measured`` says whether the calibration had these very views; if not, the
    rate is that of more views than these, or shared among them.
    """

    threshold: float
    wrong: float
    counted: bool
    measured: bool


def recommended_threshold(
    header: StoreHeader, images: int, wrong: float | None = None
) -> Recommended:
    """The T at which the share ``wrong`` of strangers gets an answer, by the metric's own table.

    ``header`` is that of a store with so many ``images``; by default ``wrong`` is :data:`WRONG`.
    The more a store holds, the lower is its threshold. Raises ``ValueError`` for a rate outside
    (0, 1), and where there is no table for the metric, its weights and the store's background.

    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> found = recommended_threshold(StoreHeader(metric_id(Thumbnail(8)), ("whole",)), 1, 1e-3)
    >>> found.wrong, found.counted, 0.1 < found.threshold < 0.3
    (0.001, True, True)
    """
    wrong = WRONG if wrong is None else wrong
    if not 0 < wrong < 1:
        raise ValueError(f"wrong: expected a rate between 0 and 1, found {wrong:g}")
    sizes, parts, measured = _quantiles(header) or _no_table(header)
    rates = WrongRate(sizes, images, parts)
    threshold = rates.threshold(wrong)
    return Recommended(threshold, wrong, rates.counted(threshold), measured)


def has_table(header: StoreHeader) -> bool:
    """Whether the metric ships a table for the store."""
    return _quantiles(header) is not None


def wrong_rate(header: StoreHeader, images: int, threshold: float) -> float | None:
    """The share of strangers that get an answer from a store, or ``None`` where no table knows it.

    That is also so above the largest T that the table has.
    """
    found = _quantiles(header)
    if found is None:
        return None
    rate = WrongRate(found[0], images, found[1]).rate(threshold)
    return rate if rate < 1 else None


def _quantiles(header: StoreHeader) -> tuple[tuple[Quantiles, ...], int, bool] | None:
    """The quantiles for the store's views, how many views share them, if these were counted."""
    table = shipped_tables().get((header.metric.name, header.metric.weights))
    own = None if header.background is None else header.background.hash
    if table is None or table.background != own:
        return None
    mine = set(header.views)
    holding = [name for name in table.views if mine <= set(VIEW_SETS[name])]
    if holding:  # fewer views are no nearer
        name = min(holding, key=lambda one: len(VIEW_SETS[one]))
        return table.views[name], 1, mine == set(VIEW_SETS[name])
    return table.views["whole"], len(header.views), False


def _no_table(header: StoreHeader) -> NoReturn:
    name, weights = header.metric.name, header.metric.weights
    card = CATALOG.get(name)
    own = card is not None and card.copy_threshold is not None and weights != _shipped_weights(name)
    what = f"{name} has no table of strangers{' for weights of your own' if own else ''}"
    raise ValueError(f"{what}: give a threshold, or let it be chosen by what is stored")


@cache
def _shipped_weights(name: str) -> str:
    """The hash of the weights that a metric comes with: a server asks for it at every query."""
    return metric_id(create_metric(name, device="cpu")).weights
