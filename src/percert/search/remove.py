"""Removing images and files from a store."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from percert.search.commit import persist
from percert.search.place import writing
from percert.search.rows import is_one_of

if TYPE_CHECKING:
    from percert.search.store import Store


def remove_images(store: "Store", ids: Sequence[str]) -> int:
    """Remove the images ``ids`` and the rows of their files; how many images there were."""
    removed = 0
    with writing(store.path):
        store.refresh()
        for condition in is_one_of("id", dict.fromkeys(ids)):
            removed += int(store.images.count_rows(condition))
            persist(partial(store.files.delete, condition))
            persist(partial(store.images.delete, condition))
    return removed
