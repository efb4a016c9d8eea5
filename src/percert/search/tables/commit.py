"""Writes to a store's tables: commits that lose and double no row, removal, pruning, compaction.

All of it holds whoever else writes meanwhile, and whenever the process is killed. No file ever
points at an image that is not there: images come first, and go last.
"""

import datetime
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from percert.search.tables.files import find_missing, is_missing, path_key
from percert.search.tables.location import Tables, persist, writing
from percert.search.tables.schema import (
    FileRow,
    ImageRow,
    files_table,
    images_table,
    in_parts,
    is_one_of,
)

#: Above this many files a table is compacted when an addition ends.
MOST_FRAGMENTS = 256
#: From this many rows on, to find an id by reading all of them costs a commit more than writing.
WORTH_AN_INDEX = 50_000
#: How old an image without a file must be to be taken for left behind, and not for one whose file
#: another writer is about to commit.
LEFT_BEHIND = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Pruned:
    """The ``files`` that were forgotten, how many ``images`` went with them, and what was kept."""

    files: list[str]
    images: int
    unreachable: dict[str, int]


def commit(
    tables: Tables,
    images: Sequence[ImageRow],
    files: Sequence[FileRow],
    left: Sequence[str] = (),
) -> set[str]:
    """Store ``images`` under ids that are not there yet, then point ``files`` at their images.

    ``left`` are earlier names of some of ``files``: those that still do not exist are forgotten in
    the same commit. Returns the ids of images that ``files`` hold and that are not there, since
    another writer has removed them meanwhile; those files are left out.

    When this returns, the rows are on the disk and every later reader sees them. Killed before,
    some images may be stored without their files: adding the files again completes them. The images
    come first, so that no file ever points at an image that is not there.
    """
    images = list({row.id: row for row in images}.values())
    files = list({row.path: row for row in files}.values())
    with writing(tables.path):
        if images:
            table = images_table(images, tables.header)
            persist(
                lambda: (
                    tables.images.merge_insert("id").when_not_matched_insert_all().execute(table)
                )
            )
        wanted = {row.id for row in files} - {row.id for row in images}
        missing = wanted - known_ids(tables, wanted) if wanted else wanted
        files = [row for row in files if row.id not in missing]
        if files:
            listed = files_table(files)
            forget = [key for key in dict.fromkeys(left) if is_missing(key)]
            persist(lambda: _put_files(tables, listed, forget))
    return missing


def _put_files(tables: Tables, listed: Any, forget: Sequence[str]) -> None:
    merge = (
        tables.files.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
    )
    for condition in is_one_of("path", forget, at_once=max(1, len(forget))):
        merge = merge.when_not_matched_by_source_delete(condition)
    merge.execute(listed)


def known_ids(tables: Tables, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` that the store has an image of, as it is now."""
    tables.refresh()
    found: set[str] = set()
    for condition in is_one_of("id", ids):
        found.update(_column(tables.images, "id", condition))
    return found


def remove_images(tables: Tables, ids: Sequence[str]) -> int:
    """Remove the images ``ids`` and the rows of their files; how many images there were."""
    removed = 0
    with writing(tables.path):
        tables.refresh()
        for condition in is_one_of("id", dict.fromkeys(ids)):
            removed += int(tables.images.count_rows(condition))
            # Files first: no file ever points at an image that is not there.
            persist(partial(tables.files.delete, condition))
            persist(partial(tables.images.delete, condition))
    return removed


def remove_files(
    tables: Tables, keys: Sequence[str], *, only: Callable[[str], bool] = lambda key: True
) -> list[str]:
    """Forget the files ``keys``, and the images that no other file holds; returns which files.

    Only those for which the callback ``only`` is true, called while no other writer can commit.
    """
    removed: list[str] = []
    for part in in_parts(dict.fromkeys(keys), 1000):
        ids: set[str] = set()
        with writing(tables.path):
            tables.refresh()
            for condition in is_one_of("path", filter(only, part)):
                gone = tables.files.search().where(condition).select(["path", "id"]).to_arrow()
                removed += gone["path"].to_pylist()
                ids.update(gone["id"].to_pylist())
                persist(partial(tables.files.delete, condition))
        remove_unheld(tables, ids)
    return removed


def remove_unheld(tables: Tables, ids: Iterable[str]) -> int:
    """Remove those images among ``ids`` that came from files and that no file holds any more."""
    removed = 0
    for condition in is_one_of("id", ids):
        with writing(tables.path):
            tables.refresh()
            held = set(_column(tables.files, "id", condition))
            spare = f"{condition} AND bytes IS NOT NULL"
            for kept in is_one_of("id", held, at_once=max(1, len(held))):
                spare += f" AND NOT ({kept})"
            removed += int(tables.images.count_rows(spare))
            persist(partial(tables.images.delete, spare))
    return removed


def remove_left_behind(tables: Tables) -> int:
    """Remove images whose files never came, since their writer was killed in between."""
    tables.refresh()
    before = datetime.datetime.now(datetime.timezone.utc) - LEFT_BEHIND
    old = f"bytes IS NOT NULL AND time < timestamp '{before:%Y-%m-%d %H:%M:%S}'"
    found = set(_column(tables.images, "id", old))
    if found:
        found -= set(_column(tables.files, "id"))
    return remove_unheld(tables, found)


def remove_named(tables: Tables, names: Sequence[str]) -> tuple[int, list[str]]:
    """Remove what ``names`` name: files, folders, parquet files or images by id.

    A folder stands for all files of the store below it, and a parquet file for its rows, whether
    they still exist or not. Returns how many files were forgotten, and the names not in the store.
    """
    tables.refresh()
    paths = tables.files.search().select(["path", "id"]).to_arrow()
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
            removed += len(remove_files(tables, keys))
        elif tables.images.count_rows(next(is_one_of("id", [name]))):
            removed += len(of_id.get(name, []))
            remove_images(tables, [name])
        else:
            missing.append(name)
    return removed, missing


def prune_store(
    tables: Tables,
    below: Sequence[str | os.PathLike[str]] | None = None,
    *,
    dry_run: bool = False,
) -> Pruned:
    """Forget the files that are gone, and the images that no other file holds.

    ``below`` limits it to some folders. What lies below a root of which nothing is there is kept:
    an unmounted folder must not empty a store. With ``dry_run`` nothing is changed, and ``images``
    is 0.
    """
    missing = find_missing(tables, below)
    if dry_run or not missing.gone:
        return Pruned(missing.gone, 0, missing.unreachable)
    before = tables.images.count_rows()
    # Looked for again where it is removed, since another writer may just have added it anew.
    forgotten = remove_files(tables, missing.gone, only=is_missing)
    tables.refresh()
    return Pruned(forgotten, before - tables.images.count_rows(), missing.unreachable)


def maintain(tables: Tables) -> None:
    """Join the small files that many commits leave, and index the ids of a large store.

    What earlier versions need is kept for a day, for readers that are still at them.
    """
    from lancedb.index import BTree

    with writing(tables.path):
        for table, key in ((tables.images, "id"), (tables.files, "path")):
            table.checkout_latest()
            if table.stats()["fragment_stats"]["num_fragments"] > MOST_FRAGMENTS:
                persist(partial(table.optimize, cleanup_older_than=datetime.timedelta(days=1)))
            if table.count_rows() >= WORTH_AN_INDEX and not table.list_indices():
                persist(partial(table.create_index, key, config=BTree()))


def _column(table: Any, name: str, condition: str | None = None) -> list[str]:
    """A column of the rows that match ``condition``, or of all."""
    rows = table.search() if condition is None else table.search().where(condition)
    found: list[str] = rows.select([name]).to_arrow()[name].to_pylist()
    return found
