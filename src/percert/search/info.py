"""Counts, metric and size of a store, read from its tables alone: importing this takes no torch."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from percert.check import Argument, ArgumentError
from percert.search.tables.location import Tables, is_remote, is_store, named_table, open_tables
from percert.search.tables.schema import MetricId


def describe_store(path: str) -> dict[str, Any]:
    """Counts, metric, views and the folder's size in bytes (``None`` at an address).

    Raises ``ValueError`` where there is no store at ``path``.
    """
    return describe_tables(open_tables(path))


def describe_tables(tables: Tables) -> dict[str, Any]:
    """What :func:`describe_store` says, of tables that are open."""
    path, header = tables.path, tables.header
    metric, count = header.metric, int(tables.images.count_rows())
    return {
        "store": path,
        "images": count,
        "files": int(tables.files.count_rows()),
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
        "layout": header.layout,
        "precision": "float16" if header.half else "float32",
        "background": None if header.background is None else asdict(header.background),
        "partner": _partner(path),
        "disk_bytes": None if is_remote(path) else _size(path),
    }


def stored_metric(path: str | os.PathLike[str]) -> MetricId | None:
    """The identity of the metric of the store at ``path``; ``None`` where there is no store yet.

    >>> stored_metric("/no/such/folder") is None
    True
    """
    name = os.fspath(path)
    return open_tables(name).header.metric if is_store(name) else None


def metric_name(path: str, trained: Iterable[str] = ()) -> str | None:
    """What ``create_metric`` takes for the metric of the store at ``path``; ``None``: no store.

    A name of the catalog, or the folder among ``trained`` whose metric has the store's name. Raises
    ``ValueError`` where there is neither.

    >>> metric_name("/no/such/folder") is None
    True
    """
    stored = stored_metric(path)
    if stored is None:
        return None
    from percert.metrics.catalog import CATALOG
    from percert.metrics.certified.exported import exported_folder, read_config

    if stored.name in CATALOG:
        return stored.name
    for folder in trained:
        if read_config(exported_folder(folder)).name == stored.name:
            return folder
    raise ArgumentError(
        f"{path}: is of a trained metric called {stored.name}: name its folder with ",
        Argument("metric"),
    )


def _partner(path: str) -> dict[str, Any] | None:
    """The store's partner, its rule, and how many rows it has."""
    table = named_table(path, "partner")
    if table is None:
        return None
    held = json.loads(table.schema.metadata[b"percert"])
    rows = int(table.count_rows("NOT background"))
    return {
        "name": held["name"],
        "weights": held["weights"],
        "width": held["width"],
        "rows": rows,
        "strangers": held["rule"]["source"],
        "weight": held["rule"]["weight"],
    }


def _size(folder: str) -> int:
    return sum(
        os.stat(os.path.join(inside, name), follow_symlinks=False).st_size
        for inside, _, names in os.walk(folder)
        for name in names
    )
