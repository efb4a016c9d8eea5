"""What there is to say about a store at a glance."""

import os
from typing import Any

from percert.search.tables.location import is_remote, open_tables
from percert.search.tables.schema import StoreHeader


def describe_store(path: str) -> dict[str, Any]:
    """What there is to say about the store at ``path``, without its metric and without torch.

    Raises ``ValueError`` where there is no store.
    """
    return describe_tables(path, *open_tables(path, None))


def describe_tables(path: str, images: Any, files: Any, header: StoreHeader) -> dict[str, Any]:
    """Counts, metric, views and the folder's size in bytes (``None`` at an address)."""
    metric, count = header.metric, int(images.count_rows())
    return {
        "store": path,
        "images": count,
        "files": int(files.count_rows()),
        "views": list(header.views),
        "embeddings": count * len(header.views),
        "metric": {
            "name": metric.name,
            "weights": metric.weights,
            "bound": metric.bound,
            "constant": metric.constant,
            "width": metric.width,
            "resolution": list(metric.resolution),
            "resize": metric.resize,
        },
        "disk_bytes": None if is_remote(path) else _size(path),
    }


def _size(folder: str) -> int:
    return sum(
        os.stat(os.path.join(inside, name), follow_symlinks=False).st_size
        for inside, _, names in os.walk(folder)
        for name in names
    )
