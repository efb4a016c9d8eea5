"""Twins: files with the same bytes, which a store holds as one image."""

from typing import TYPE_CHECKING

import torch

from percert.search.links import Moving, Pair, radii_of_both
from percert.search.rows import in_parts
from percert.search.stored import stored_as
from percert.search.within import check_threshold

if TYPE_CHECKING:
    from percert.search.store import Store

#: Images whose embeddings are held at once.
AT_ONCE = 1024


def shared_files(store: "Store") -> dict[str, tuple[str, ...]]:
    """The images that several files hold, by id, with all of their files in order."""
    table = store.files.search().select(["id", "path"]).to_arrow()
    counted = table.group_by("id").aggregate([("path", "count")])
    several = {
        id
        for id, count in zip(
            counted["id"].to_pylist(), counted["path_count"].to_pylist(), strict=True
        )
        if count > 1
    }
    found: dict[str, list[str]] = {}
    for id, path in zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True):
        if id in several:
            found.setdefault(id, []).append(path)
    return {id: tuple(sorted(paths)) for id, paths in sorted(found.items())}


def twin_pairs(store: "Store", ids: list[str], threshold: float) -> list[Pair]:
    """Each image of ``ids`` as a pair with itself: distance 0, and how far both files may move."""
    check_threshold(threshold)
    views = len(store.views)
    stored = stored_as(store)
    found: list[Pair] = []
    for some in in_parts(ids, AT_ONCE):
        rows = store.rows(["id", "h", "bound", "pixel_error"], some)
        h, bound, error = (
            torch.tensor(rows[name].combine_chunks().flatten().to_numpy()).view(
                len(rows), views, -1
            )
            for name in ("h", "bound", "pixel_error")
        )
        whole = Moving(h[:, 0], bound[:, 0, 0], error[:, 0, 0])
        radii = radii_of_both(whole, whole, threshold, stored)
        found += [
            Pair(id, id, 0, 0.0, radius)
            for id, radius in zip(rows["id"].to_pylist(), radii.tolist(), strict=True)
        ]
    return found
