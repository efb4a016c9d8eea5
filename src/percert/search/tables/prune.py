"""Files of a store that are not there any more: finding them, and forgetting them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from percert.search.ingest.sources import key_path
from percert.search.tables.missing import is_missing
from percert.search.tables.remove import remove_files
from percert.search.tables.roots import Roots, read_roots

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass(frozen=True)
class Missing:
    """Files of a store that are not where they were.

    ``gone`` are those whose root can be reached, so that they were deleted or renamed.
    ``unreachable`` are roots of which nothing is there now, with how many files of the store they
    held: perhaps they are unmounted.
    """

    gone: list[str] = field(default_factory=list)
    unreachable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruned:
    """The ``files`` that were forgotten, how many ``images`` went with them, and what was kept."""

    files: list[str]
    images: int
    unreachable: dict[str, int]


def find_missing(store: "Store", below: Sequence[str | os.PathLike[str]] | None = None) -> Missing:
    """Look for every file of the store, or for those ``below`` some folders, files among them."""
    store.refresh()
    names = store.files.search().select(["path"]).to_arrow()["path"].to_pylist()
    roots = Roots(read_roots(store), names)
    found = Missing()
    for name in sorted(names if below is None else _within(names, below)):
        if not is_missing(name):
            continue
        root = roots.of(str(key_path(name)[0]))
        if roots.is_reachable(root):
            found.gone.append(name)
        else:
            found.unreachable[root] = found.unreachable.get(root, 0) + 1
    return found


def prune_store(
    store: "Store",
    below: Sequence[str | os.PathLike[str]] | None = None,
    *,
    dry_run: bool = False,
) -> Pruned:
    """Forget the files that are gone, and the images that no other file holds.

    ``below`` limits it to some folders. What lies below a root of which nothing is there is kept:
    an unmounted folder must not empty a store. With ``dry_run`` nothing is changed, and ``images``
    is 0.
    """
    missing = find_missing(store, below)
    if dry_run or not missing.gone:
        return Pruned(missing.gone, 0, missing.unreachable)
    before = store.count
    # Looked for again where it is removed, since another writer may just have added it anew.
    forgotten = remove_files(store, missing.gone, only=is_missing)
    store.refresh()
    return Pruned(forgotten, before - store.count, missing.unreachable)


def _within(names: Iterable[str], below: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    places = [os.path.abspath(path) for path in below]
    starts = tuple(place.rstrip("/") + "/" for place in places)
    for name in names:
        path = str(key_path(name)[0])
        if path in places or path.startswith(starts):
            yield name
