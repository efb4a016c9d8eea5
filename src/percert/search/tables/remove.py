"""Removing images and files from a store."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from percert.search.ingest.sources import path_key
from percert.search.tables.commit import persist
from percert.search.tables.location import writing
from percert.search.tables.schema import in_parts, is_one_of

if TYPE_CHECKING:
    from percert.search.store import Store

#: How old an image without a file must be to be taken for left behind, and not for one whose file
#: another writer is about to commit.
LEFT_BEHIND = datetime.timedelta(hours=1)


def remove_images(store: "Store", ids: Sequence[str]) -> int:
    """Remove the images ``ids`` and the rows of their files; how many images there were."""
    removed = 0
    with writing(store.path):
        store.refresh()
        for condition in is_one_of("id", dict.fromkeys(ids)):
            removed += int(store.images.count_rows(condition))
            # Files first: no file ever points at an image that is not there.
            persist(partial(store.files.delete, condition))
            persist(partial(store.images.delete, condition))
    return removed


def remove_files(
    store: "Store", keys: Sequence[str], *, only: Callable[[str], bool] = lambda key: True
) -> list[str]:
    """Forget the files ``keys``, and the images that no other file holds; which files there were.

    Those alone for which ``only`` holds, asked while no other writer can commit.
    """
    removed: list[str] = []
    for part in in_parts(dict.fromkeys(keys), 1000):
        ids: set[str] = set()
        with writing(store.path):
            store.refresh()
            for condition in is_one_of("path", filter(only, part)):
                gone = store.files.search().where(condition).select(["path", "id"]).to_arrow()
                removed += gone["path"].to_pylist()
                ids.update(gone["id"].to_pylist())
                persist(partial(store.files.delete, condition))
        remove_unheld(store, ids)
    return removed


def remove_unheld(store: "Store", ids: Iterable[str]) -> int:
    """Remove those images among ``ids`` that came from files and that no file holds any more."""
    removed = 0
    for condition in is_one_of("id", ids):
        with writing(store.path):
            store.refresh()
            held = store.files.search().where(condition).select(["id"]).to_arrow()
            spare = f"{condition} AND bytes IS NOT NULL"
            kept = ", ".join(f"'{id}'" for id in _quoted(held["id"].to_pylist()))
            spare = f"{spare} AND id NOT IN ({kept})" if kept else spare
            removed += int(store.images.count_rows(spare))
            persist(partial(store.images.delete, spare))
    return removed


def remove_left_behind(store: "Store") -> int:
    """Remove images whose files never came, since their writer was killed in between."""
    store.refresh()
    before = datetime.datetime.now(datetime.timezone.utc) - LEFT_BEHIND
    old = f"bytes IS NOT NULL AND time < timestamp '{before:%Y-%m-%d %H:%M:%S}'"
    found = set(store.images.search().where(old).select(["id"]).to_arrow()["id"].to_pylist())
    if found:
        found -= set(store.files.search().select(["id"]).to_arrow()["id"].to_pylist())
    return remove_unheld(store, found)


def _quoted(values: Iterable[str]) -> set[str]:
    return {value.replace("'", "''") for value in values}


def remove_named(store: "Store", names: Sequence[str]) -> tuple[int, list[str]]:
    """Remove what ``names`` name: files, folders, parquet files or images by id.

    A folder stands for all files of the store below it, and a parquet file for its rows, whether
    they still exist or not. Returns how many files were forgotten, and the names not in the store.
    """
    store.refresh()
    paths = store.files.search().select(["path", "id"]).to_arrow()
    of_id: dict[str, list[str]] = {}
    for path, id in zip(paths["path"].to_pylist(), paths["id"].to_pylist(), strict=True):
        of_id.setdefault(id, []).append(path)
    every = [path for held in of_id.values() for path in held]
    removed, missing = 0, []
    for name in names:
        key = path_key(name)
        below = key.rstrip("/") + "/"
        escaped = below.replace("\\", "\\\\")
        within = (below, f"bytes:{escaped}", f"parquet:{below}", f"parquet:{key}#")
        keys = [path for path in every if path == key or path.startswith(within)]
        if keys:
            removed += len(remove_files(store, keys))
        elif store.images.count_rows(next(is_one_of("id", [name]))):
            removed += len(of_id.get(name, []))
            remove_images(store, [name])
        else:
            missing.append(name)
    return removed, missing
