"""Merges the results of the parts of a collection into those of the whole.

A row is judged on its own, whatever other rows there are. So the copies in a collection are those
in its parts, and so are the rivals of a nearest image; the nearest rows of all are among the
nearest rows of each part, and the last of these bounds every row that the part left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from percert.metrics.certified.embedding import SHORTEST
from percert.search.query.distances import row_norms
from percert.search.query.range_search import CopyVerdict, in_order
from percert.search.query.second_pass import RivalRows
from percert.search.query.top_k import TopRows


def merge_top_rows(
    parts: Sequence[TopRows], images: Sequence[int], depth: int, constant: float
) -> TopRows:
    """The rows of the ``depth`` nearest images of all, from the nearest rows of each part.

    ``parts`` come in the order of the collection, with how many ``images`` each has. ``constant``
    is the metric's c.
    """
    starts = np.cumsum([0, *images[:-1]])
    held = [(one, start) for one, start in zip(parts, starts, strict=True) if one.place.size]
    if not held:
        return parts[0]
    views, total = held[0][0].views, sum(images) * held[0][0].views
    place = np.concatenate(
        [np.where(one.place >= 0, one.place + start * views, -1) for one, start in held], 1
    )
    distance = np.concatenate([one.distance for one, _ in held], 1)
    ids = np.concatenate([one.ids for one, _ in held], 1)
    h = torch.cat([one.h for one, _ in held], 1)
    order = np.lexsort((place, distance), axis=1)
    place, distance, ids = (np.take_along_axis(one, order, 1) for one in (place, distance, ids))
    filled = place >= 0
    before = _images_before(place // views)
    needed = filled & (before < depth)
    count = needed.sum(1)
    kept = slice(0, int(count.max()))
    index = torch.from_numpy(order)
    flat = np.any([one.flat for one, _ in held], 0)
    for at in np.flatnonzero((filled & ~needed).any(1)):  # a row without a direction may be dropped
        dropped = h[at, index[at, torch.from_numpy(filled[at] & ~needed[at])]]
        flat[at] |= bool((row_norms(dropped.double(), constant) < SHORTEST).any())
    rows = index[:, kept, None].expand(-1, -1, h.shape[2])
    return TopRows(
        ids=ids[:, kept],
        place=np.where(needed, place, -1)[:, kept],
        distance=np.where(needed, distance, np.inf)[:, kept],
        h=h.gather(1, rows),
        count=count,
        complete=count == total,
        flat=flat,
        directed=all(one.directed for one, _ in held),
        views=views,
    )


def _images_before(image: np.ndarray) -> np.ndarray:
    """How many other images come before each place of ``(q, m)``, each counted once."""
    order = np.argsort(image, axis=1, kind="stable")
    ordered = np.take_along_axis(image, order, 1)
    first = np.zeros(image.shape, bool)
    np.put_along_axis(first, order, np.diff(ordered, axis=1, prepend=-2) != 0, 1)
    return np.cumsum(first, axis=1) - first


def merge_rivals(
    parts: Sequence[Iterable[RivalRows]], images: Sequence[int], views: int
) -> list[RivalRows]:
    """The possible rivals in all parts, their places counted in the whole collection."""
    starts = np.cumsum([0, *images[:-1]]) * views
    return [
        replace(rows, place=rows.place + int(start))
        for part, start in zip(parts, starts, strict=True)
        for rows in part
    ]


def merge_copies(
    parts: Sequence[Sequence[Sequence[CopyVerdict]]], images: Sequence[int]
) -> list[list[CopyVerdict]]:
    """The verdicts of each query in all parts, furthest within its threshold first."""
    starts = np.cumsum([0, *images[:-1]]).tolist()
    found: list[list[CopyVerdict]] = [[] for _ in parts[0]]
    for part, start in zip(parts, starts, strict=True):
        for of_query, verdicts in zip(found, part, strict=True):
            of_query += [
                replace(one, item=replace(one.item, image=one.item.image + start))
                for one in verdicts
            ]
    return [in_order(of_query) for of_query in found]
