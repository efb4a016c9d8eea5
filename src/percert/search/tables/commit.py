"""Writing rows so that none is lost or doubled, whoever else writes and whenever it is killed."""

import datetime
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from percert.search.tables.location import writing
from percert.search.tables.missing import is_missing
from percert.search.tables.schema import FileRow, ImageRow, files_table, images_table, is_one_of

if TYPE_CHECKING:
    from percert.search.store import Store

#: How often a commit that another writer got ahead of is tried again.
ATTEMPTS = 20
#: Above this many files a table is compacted when an addition ends.
MOST_FRAGMENTS = 256
#: From this many rows on, to find an id by reading all of them costs a commit more than writing.
WORTH_AN_INDEX = 50_000
T = TypeVar("T")


def commit(
    store: "Store",
    images: Sequence[ImageRow],
    files: Sequence[FileRow],
    left: Sequence[str] = (),
) -> set[str]:
    """Store ``images`` under ids that are not there yet, then point ``files`` at their images.

    ``left`` are names that some of ``files`` had before: they are forgotten in the same commit,
    those of them that are still missing.

    Returns the ids of images that ``files`` hold and that are not there: another writer has removed
    them since they were looked up. Those files are left out.

    When this returns, the rows are on disk and every later reader sees them. Killed before, some
    images may be stored without their files: adding the files again completes them. The images
    come first, so that no file ever points at an image that is not there.
    """
    images = list({row.id: row for row in images}.values())
    files = list({row.path: row for row in files}.values())
    with writing(store.path):
        if images:
            table = images_table(images, store.header)
            persist(
                lambda: store.images.merge_insert("id").when_not_matched_insert_all().execute(table)
            )
        missing = _missing(store, {row.id for row in files} - {row.id for row in images})
        files = [row for row in files if row.id not in missing]
        if files:
            listed = files_table(files)
            forget = [key for key in dict.fromkeys(left) if is_missing(key)]
            persist(lambda: _put_files(store, listed, forget))
    return missing


def _put_files(store: "Store", listed: Any, forget: Sequence[str]) -> None:
    merge = store.files.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
    for condition in is_one_of("path", forget, at_once=max(1, len(forget))):
        merge = merge.when_not_matched_by_source_delete(condition)
    merge.execute(listed)


def _missing(store: "Store", ids: set[str]) -> set[str]:
    if not ids:
        return ids
    store.refresh()
    there: set[str] = set()
    for condition in is_one_of("id", ids):
        found = store.images.search().where(condition).select(["id"]).to_arrow()
        there.update(found["id"].to_pylist())
    return ids - there


def persist(write: Callable[[], T]) -> T:
    """``write()``, again where LanceDB says that another writer's commit came first.

    Its commits are all or nothing, and a row of a key that is there is never inserted again, so to
    repeat one does no harm.
    """
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except (OSError, RuntimeError, ValueError) as error:
            if not _overtaken(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))
    raise AssertionError("unreachable")


def _overtaken(error: Exception) -> bool:
    text = str(error.__cause__ or error).lower()
    return "conflict" in text or "concurrent" in text or "too much contention" in text


def maintain(store: "Store") -> None:
    """Join the small files that many commits leave, and index the ids of a large store.

    What earlier versions need is kept for a day, for readers that are still at them.
    """
    from lancedb.index import BTree

    with writing(store.path):
        for table, key in ((store.images, "id"), (store.files, "path")):
            table.checkout_latest()
            if table.stats()["fragment_stats"]["num_fragments"] > MOST_FRAGMENTS:
                persist(partial(table.optimize, cleanup_older_than=datetime.timedelta(days=1)))
            if table.count_rows() >= WORTH_AN_INDEX and not table.list_indices():
                persist(partial(table.create_index, key, config=BTree()))
