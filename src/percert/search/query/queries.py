"""Queries of a store: the nearest images, all copies, and duplicates, each with what is proven."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures, embed
from percert.search.query.distances import distances, embedding_spec, make_queries
from percert.search.query.duplicates import DuplicatesJob, Progress, clusters, find_pairs
from percert.search.query.nearest import Neighbour, nearest_images
from percert.search.query.overtaking import row_of, stored_features
from percert.search.query.range_search import copies_within, shared_files, twin_pairs
from percert.search.query.recommended import stranger_rate
from percert.search.query.results import Answers, Copies, Duplicates, Link, Match, Nearest
from percert.search.query.threshold import (
    ALL_PAIRS_OF,
    AutoThreshold,
    auto_threshold,
    disjoint_pairs,
)

if TYPE_CHECKING:
    from percert.search.store import Store

#: At most so many stored images choose a threshold.
SAMPLE = 20_000


def search(
    store: "Store",
    images: Tensor | Sequence[Tensor],
    k: int = 10,
    eps: float | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Answers[Nearest]:
    """The ``k`` nearest stored images to each of ``images``, with radii; several in one pass.

    ``images`` are ``(n, 3, h, w)`` or a list of ``(3, h, w)`` in [0, 1], ``names`` what the answers
    call them. With ``eps``, an l2 length in the query's pixels, each answer lists all images that
    could be the first after such a move. Exact: no row is left out. Raises ``ValueError`` for a
    store that was opened without its metric, and for what are not images.
    """
    features = query_features(store, images)
    found = nearest_images(
        store.blocks, features, k, eps, embedding_spec(store), device=_device(store)
    )
    paths = files_of(store, {i.id for one in found for i in (*one.items, *(one.candidates or ()))})
    answers = []
    for name, one in zip(_names(names, len(features)), found, strict=True):
        least = eps or 0.0
        candidates = one.candidates
        answers.append(
            Nearest(
                query=name,
                k=k,
                eps=eps,
                results=tuple(_match(store, i, i.radius > least, paths) for i in one.items),
                radius_first=one.radius_first,
                radius_top_k=one.radius_top_k,
                candidates=None
                if candidates is None
                else tuple(_match(store, i, len(candidates) == 1, paths) for i in candidates),
                certain=None if candidates is None else len(candidates) <= 1,
                metric=store.metric_id.name,
            )
        )
    return Answers(answers)


def copies(
    store: "Store",
    images: Tensor | Sequence[Tensor],
    threshold: float,
    eps: float | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Answers[Copies]:
    """All stored images within ``threshold`` of each of ``images``, or that could be after a move.

    Arguments as in :func:`search`; without ``eps`` nothing moves, and only float rounding is
    allowed for. Complete by proof: an image that is not listed is no copy, whatever a move of
    ``eps`` does.
    """
    features = query_features(store, images)
    found = copies_within(
        store.blocks, features, threshold, eps or 0.0, embedding_spec(store), device=_device(store)
    )
    paths = files_of(store, {copy.item.id for one in found for copy in one})
    rate = stranger_rate(store, threshold)
    return Answers(
        Copies(
            query=name,
            threshold=threshold,
            eps=eps or 0.0,
            results=tuple(_match(store, copy.item, copy.certain, paths) for copy in one),
            metric=store.metric_id.name,
            stranger_rate=rate,
        )
        for name, one in zip(_names(names, len(features)), found, strict=True)
    )


def duplicates(
    store: "Store",
    threshold: float,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress = lambda done, total: None,
) -> Duplicates:
    """All pairs of stored images within ``threshold`` of each other, and their clusters.

    Each image as a whole is compared with every view of every other. Both images of a link may
    move, each by less than its radius in its own pixels. Files with the same bytes are linked at
    distance 0. With ``out``, the links go part by part into that folder, and a run that was killed
    goes on. Memory holds two blocks and the links.
    """
    work = DuplicatesJob(
        store=store.path,
        version=store.version,
        images=store.count,
        views=store.views,
        weights=store.metric_id.weights,
        threshold=threshold,
    )
    pairs = find_pairs(
        store.blocks,
        work,
        embedding_spec(store),
        None if out is None else Path(out),
        progress,
        _device(store),
    )
    shared = shared_files(store)
    twins = twin_pairs(store, list(shared), threshold)
    paths = files_of(
        store, {id for pair in pairs for id in (pair.first, pair.second)} - set(shared)
    )
    paths.update(shared)
    whole = store.views[0]
    links = [
        Link(
            p.first,
            p.second,
            next(iter(paths.get(p.first, ())), None),
            next(iter(paths.get(p.second, ())), None),
            store.views[p.view],
            p.distance,
            p.radius,
        )
        for p in pairs
    ]
    links += [
        Link(p.first, p.second, shared[p.first][0], path, whole, p.distance, p.radius)
        for p in twins
        for path in shared[p.first][1:]
    ]
    return Duplicates(
        threshold=threshold,
        links=tuple(sorted(links, key=_link_order)),
        clusters=tuple(clusters([*pairs, *twins], paths)),
        compared=work.images * (work.images - 1) // 2,
        metric=store.metric_id.name,
        stranger_rate=stranger_rate(store, threshold),
    )


def choose_threshold(
    store: "Store", fpr: float = 1e-3, *, confidence: float = 0.95, seed: int = 0
) -> AutoThreshold:
    """A threshold by the store's own images, taken to be no copies of each other.

    Stored copies make it smaller than it had to be, so remove duplicates first. Of two images, one
    is compared whole with every view of the other, as a query is. At most :data:`SAMPLE` of them,
    evenly spread, are read.
    """
    views, step = len(store.views), max(1, -(-store.count // SAMPLE))
    parts, place = [], 0
    for block in store.blocks():
        h = block.embeddings.view(len(block.ids), views, -1)
        parts.append(h[(-place) % step :: step].clone())
        place += len(block.ids)
    if not parts or sum(map(len, parts)) < 2:
        raise ValueError(f"{store.path}: expected at least 2 images to choose a threshold by")
    h = torch.cat(parts)
    pairs = disjoint_pairs(len(h), seed)
    every = torch.combinations(pairs.flatten()[:ALL_PAIRS_OF], 2)
    return auto_threshold(
        _least_distances(store, h, pairs),
        _least_distances(store, h, every),
        fpr,
        confidence=confidence,
    )


def query_features(store: "Store", images: Tensor | Sequence[Tensor]) -> list[PixelFeatures]:
    """The embeddings of query images, each a batch of one, on the CPU; those of a size together."""
    metric = store.embedder()
    found: list[PixelFeatures | None] = [None] * len(images)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for at, image in enumerate(images):
        by_size.setdefault(tuple(image.shape), []).append(at)
    for places in by_size.values():
        for start in range(0, len(places), 32):
            some = places[start : start + 32]
            together = embed(metric, torch.stack([images[at] for at in some]))
            for row, at in enumerate(some):
                found[at] = row_of(together, row).cpu()
    return [one for one in found if one is not None]


def _least_distances(store: "Store", h: Tensor, pairs: Tensor) -> Tensor:
    """Of each pair the distance of the first, whole, from the nearest view of the second."""
    stored = embedding_spec(store)
    found = []
    for some in torch.split(pairs, 1024):
        whole = stored_features(h[some[:, 0], 0], stored.constant, stored.feature_error)
        queries = make_queries([whole], stored.constant)
        views = [
            distances(queries.h, queries.last, h[some[:, 1], view].double(), stored.constant)
            for view in range(stored.views)
        ]
        found.append(torch.stack(views).amin(0))
    return torch.cat(found)


def _link_order(link: Link) -> tuple[float, str, str, str]:
    return link.distance, link.first, link.second, link.second_path or ""


def _match(
    store: "Store", item: Neighbour, certain: bool, paths: dict[str, tuple[str, ...]]
) -> Match:
    files = paths.get(item.id, ())
    return Match(
        id=item.id,
        path=files[0] if files else None,
        paths=files,
        view=store.views[item.view],
        distance=item.distance,
        lower=item.lower,
        upper=item.upper,
        certain=certain,
        radius=item.radius,
    )


def files_of(store: "Store", ids: set[str]) -> dict[str, tuple[str, ...]]:
    """All files that hold each image, in order: none for one that was handed in as a tensor."""
    if not ids:
        return {}
    found = store.rows(["id", "paths"], sorted(ids))
    return {
        id: tuple(paths)
        for id, paths in zip(found["id"].to_pylist(), found["paths"].to_pylist(), strict=True)
    }


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [str(at) for at in range(count)]
    if len(names) != count:
        raise ValueError(f"names: expected {count}, one an image, found {len(names)}")
    return list(names)


def _device(store: "Store") -> str:
    return "cpu" if store.metric is None else str(store.metric._like.device)
