"""The threshold recommended for a store: by its metric, its views, and how much it holds."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from percert.metrics.catalog import CATALOG, create_metric
from percert.search.identity import metric_id
from percert.search.strangers import Quantiles, StrangerTable, shipped_tables
from percert.search.views import VIEW_SETS

if TYPE_CHECKING:
    from percert.search.store import Store

#: How many of so many queries that are copies of nothing get an answer, by default: one.
PER_QUERY = 1e-6


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


def recommended_threshold(store: "Store", rate: float | None = None) -> Recommended:
    """The threshold that a share ``rate`` of pairs of strangers passes, by the metric's own table.

    By default :data:`PER_QUERY` over the number of stored images, so that of a million queries that
    are copies of nothing one gets an answer, however much is stored. The more a store holds, the
    lower it is. Raises ``ValueError`` for a rate outside the table, and where there is no table for
    the metric and its weights.

    >>> import tempfile
    >>> from percert.metrics.thumbnail import thumbnail
    >>> from percert.search import open_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = recommended_threshold(open_store(f"{folder}/store", thumbnail(8)), 1e-3)
    >>> found.rate, found.counted, 0.1 < found.threshold < 0.3
    (0.001, True, True)
    """
    if rate is None:
        rate = PER_QUERY / max(1, store.count)
    table = _table(store)
    for name, quantiles in table.views.items():
        if _same_strangers(store.views, VIEW_SETS[name]):
            return _read(quantiles, rate, rate, measured=True)
    return _read(table.views["whole"], rate / len(store.views), rate, measured=False)


def has_table(store: "Store", rate: float | None = None) -> bool:
    """Whether the metric ships a table for the store, and one that reaches up to ``rate``."""
    table = shipped_tables().get((store.metric_id.name, store.metric_id.weights))
    return table is not None and (rate is None or rate <= table.views["whole"].points[0][0])


def stranger_rate(store: "Store", threshold: float) -> float | None:
    """The share of pairs of strangers within ``threshold``, or ``None`` where no table knows it.

    That is also so above the largest distance that the table has.
    """
    table = shipped_tables().get((store.metric_id.name, store.metric_id.weights))
    if table is None:
        return None
    for name, quantiles in table.views.items():
        if _same_strangers(store.views, VIEW_SETS[name]):
            rate = quantiles.rate(threshold)
            return rate if rate < 1 else None
    rate = len(store.views) * table.views["whole"].rate(threshold)
    return rate if rate < 1 else None


def _read(quantiles: Quantiles, at: float, rate: float, *, measured: bool) -> Recommended:
    return Recommended(quantiles.threshold(at), rate, at >= quantiles.counted, measured)


def _same_strangers(stored: tuple[str, ...], known: tuple[str, ...]) -> bool:
    return set(stored) == set(known)


def _table(store: "Store") -> StrangerTable:
    name, weights = store.metric_id.name, store.metric_id.weights
    found = shipped_tables().get((name, weights))
    if found is not None:
        return found
    card = CATALOG.get(name)
    own = card is not None and card.copy_threshold is not None and weights != _shipped_weights(name)
    what = f"{name} recommends no threshold{' for weights of your own' if own else ''}"
    raise ValueError(f"{what}: give one, or let it be chosen by what is stored, with auto:RATE")


@cache
def _shipped_weights(name: str) -> str:
    """The hash of the weights that a metric comes with: a server asks for it at every query."""
    return metric_id(create_metric(name, device="cpu")).weights
