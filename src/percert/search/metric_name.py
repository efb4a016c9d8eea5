"""By which name the metric of a store is made."""

from collections.abc import Iterable

from percert.check import Argument, ArgumentError
from percert.metrics.catalog import CATALOG
from percert.metrics.certified.exported import exported_folder, read_config
from percert.search.store import stored_metric

#: The names that stores of weights which percert shipped before are opened with, by their hash.
EARLIER = {
    "70bbe92471bd3654062aefc854bb1da74d5fc2730dda96c599d4f6aa7d02e27e": "lipsim-tiny-uncentred",
}


def metric_name(path: str, trained: Iterable[str] = ()) -> str | None:
    """What ``create_metric`` makes the metric of the store at ``path`` from; ``None`` for no store.

    That is a name of the catalog, of earlier weights where the store is of these, or the one of the
    ``trained`` metrics' folders whose metric has the store's name. Raises ``ValueError`` where
    neither is there.

    >>> metric_name("/no/such/folder") is None
    True
    """
    stored = stored_metric(path)
    if stored is None:
        return None
    if stored.name in CATALOG:
        return EARLIER.get(stored.weights, stored.name)
    for folder in trained:
        if read_config(exported_folder(folder)).name == stored.name:
            return folder
    raise ArgumentError(
        f"{path}: is of a trained metric called {stored.name}: name its folder with ",
        Argument("metric"),
    )
