"""Writing rows so that none is lost or doubled, whoever else writes and whenever it is killed."""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from percert.search.place import writing
from percert.search.rows import FileRow, ImageRow, files_table, images_table

if TYPE_CHECKING:
    from percert.search.store import Store

#: How often a commit that another writer got ahead of is tried again.
ATTEMPTS = 20
T = TypeVar("T")


def commit(store: "Store", images: Sequence[ImageRow], files: Sequence[FileRow]) -> None:
    """Store ``images`` under ids that are not there yet, then point ``files`` at their images.

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
        if files:
            listed = files_table(files)
            persist(
                lambda: (
                    store.files.merge_insert("path")
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .execute(listed)
                )
            )


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
    text = str(error).lower()
    return "conflict" in text or "concurrent" in text or "too much contention" in text
