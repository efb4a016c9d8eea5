"""What there is to say of the store, before anything is asked of it."""

from dataclasses import dataclass

from percert.app.bench import Bench
from percert.app.loaded import readable_store
from percert.app.refusal import Refused


@dataclass(frozen=True)
class StoreAbout:
    """The store that is searched."""

    images: int
    metric: str
    views: list[str]


def look_at_store(bench: Bench) -> StoreAbout:
    """What the store holds now; no metric is loaded for that."""
    path = bench.loaded.store
    if path is None:
        raise Refused(422, "The server was started without a store (--store).")
    with readable_store():
        from percert.search.store import open_store

        try:
            store = open_store(path, create=False)
        except ValueError as error:  # there is none any longer
            raise RuntimeError(str(error)) from error
        return StoreAbout(store.count, store.metric_id.name, list(store.views))
