"""What there is to say about a store at a glance."""

import os
from typing import TYPE_CHECKING, Any

from percert.search.place import is_remote

if TYPE_CHECKING:
    from percert.search.store import Store


def describe_store(store: "Store") -> dict[str, Any]:
    """Counts, metric, views and the folder's size in bytes (``None`` at an address)."""
    metric = store.metric_id
    return {
        "store": store.path,
        "images": store.count,
        "files": int(store.files.count_rows()),
        "views": list(store.views),
        "embeddings": store.count * len(store.views),
        "metric": {
            "name": metric.name,
            "weights": metric.weights,
            "bound": metric.bound,
            "constant": metric.constant,
            "width": metric.width,
            "resolution": list(metric.resolution),
            "resize": metric.resize,
        },
        "disk_bytes": None if is_remote(store.path) else _size(store.path),
    }


def _size(folder: str) -> int:
    return sum(
        os.stat(os.path.join(inside, name), follow_symlinks=False).st_size
        for inside, _, names in os.walk(folder)
        for name in names
    )
