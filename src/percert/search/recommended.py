"""The threshold that a store's metric recommends, for the views that its images are stored with."""

from dataclasses import dataclass
from functools import cache

from percert.metrics.catalog import CATALOG, create_metric
from percert.search.identity import metric_id
from percert.search.store import Store
from percert.search.views import VIEW_SETS

#: Thresholds at a false-positive rate of 1e-3 with several views, rounded down, by the metric and
#: the set of views (benchmarks/index_views.py).
MEASURED = {("lipsim-tiny", "standard"): 0.41, ("lipsim-tiny", "crops"): 0.41}


@dataclass(frozen=True)
class Recommended:
    """``threshold`` is a distance; ``measured`` says whether it was measured with these views.

    If not, it was measured on whole images, and v views let up to v times as many strangers pass.
    """

    threshold: float
    measured: bool


def recommended_threshold(store: Store) -> Recommended:
    """What the metric recommends for the store. Raises ``ValueError`` where it recommends nothing.

    >>> import tempfile
    >>> from percert.metrics.thumbnail import thumbnail
    >>> from percert.search import open_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recommended_threshold(open_store(f"{folder}/store", thumbnail(8)))
    Recommended(threshold=0.22, measured=True)
    """
    name = store.metric_id.name
    card = CATALOG.get(name)
    if card is None or card.copy_threshold is None:
        raise ValueError(f"{name} recommends no threshold: give one")
    if store.metric_id.weights != _shipped_weights(name):
        raise ValueError(f"{name} recommends no threshold for weights of your own: give one")
    for (metric, views), threshold in MEASURED.items():
        if (name, store.views) == (metric, VIEW_SETS[views]):
            return Recommended(threshold, measured=True)
    return Recommended(card.copy_threshold, measured=len(store.views) == 1)


@cache
def _shipped_weights(name: str) -> str:
    """The hash of the weights that a metric comes with: a server asks for it at every query."""
    return metric_id(create_metric(name, device="cpu")).weights
