"""Finds all duplicates of a collection (self-join), clusters them, and resumes a killed run."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from percert.certify.own_threshold import OwnThreshold
from percert.files import write_whole
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.pairs import AT_ONCE, Pair, twin_pairs
from percert.search.query.results import Cluster, Duplicates, Link
from percert.search.query.rule import Rule
from percert.search.tables.location import Tables
from percert.search.tables.scan import paths_by_id, shared_files

#: What a file of links holds.
COLUMNS = {
    "first": str,
    "second": str,
    "view": int,
    "distance": float,
    "threshold": float,
    "radius": float,
}
#: Yields the pairs by a rule, part by part; the callback says which parts are done already.
PairsByPart = Callable[[OwnThreshold, Callable[[int], bool]], Iterable[tuple[int, list[Pair]]]]
#: A callback: images that were compared with all others so far, and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DuplicatesJob:
    """The settings of a self-join, kept in its folder: only a run with the same ones resumes it."""

    store: str
    version: int
    images: int
    views: tuple[str, ...]
    weights: str
    threshold: float
    weight: float
    background: str | None
    at_once: int = AT_ONCE


def find_duplicates(
    tables: Tables,
    parts: PairsByPart,
    spec: EmbeddingSpec,
    rule: Rule,
    *,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Duplicates:
    """All pairs of stored images that are copies by ``rule``, and the clusters that they form.

    Files with the same bytes are one image, and linked with each other at distance 0. ``parts``
    makes the comparisons (:func:`~percert.search.query.pairs.pairs_within`); ``out`` is the folder
    of :func:`find_pairs`, a checkpoint.
    """
    metric, views = tables.header.metric, tables.header.views
    job = DuplicatesJob(
        store=tables.path,
        version=int(tables.images.version),
        images=int(tables.images.count_rows()),
        views=views,
        weights=metric.weights,
        threshold=rule.threshold,
        weight=rule.weight,
        background=rule.background,
    )
    own = OwnThreshold(rule.threshold, rule.weight)
    pairs = find_pairs(parts, job, out, progress)
    shared = shared_files(tables)
    twins = twin_pairs(tables, list(shared), own, spec)
    ids = {id for pair in pairs for id in (pair.first, pair.second)} - set(shared)
    paths: dict[str, Sequence[str]] = {**paths_by_id(tables, sorted(ids)), **shared}

    def file(id: str) -> str | None:
        return next(iter(paths.get(id, ())), None)

    links = [_link(p, file(p.first), file(p.second), views) for p in pairs]
    links += [
        _link(p, shared[p.first][0], path, views) for p in twins for path in shared[p.first][1:]
    ]
    links.sort(key=lambda one: (one.distance, one.first, one.second, one.second_path or ""))
    return Duplicates(
        rule=rule,
        links=tuple(links),
        clusters=tuple(clusters([*pairs, *twins], paths)),
        compared=job.images * (job.images - 1) // 2,
        metric=metric.name,
    )


def _link(pair: Pair, first: str | None, second: str | None, views: Sequence[str]) -> Link:
    return Link(
        pair.first,
        pair.second,
        first,
        second,
        views[pair.view],
        pair.distance,
        pair.threshold,
        pair.radius,
    )


def find_pairs(
    parts: PairsByPart,
    job: DuplicatesJob,
    out: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Pair]:
    """All pairs of ``job``, each once; ``out`` is a folder in which every finished part is kept.

    The folder is a checkpoint: parts that are there are not compared again, so a killed run
    resumes. Raises ``ValueError`` where it holds parts of another job: of the store before it was
    changed, or of another threshold.
    """
    if out is not None:
        _check_job(out, job)
    found: list[Pair] = []

    def done(part: int) -> bool:
        return out is not None and _file(out, part).exists()

    own = OwnThreshold(job.threshold, job.weight)
    for part, pairs in parts(own, done):
        progress(min((part + 1) * AT_ONCE, job.images), job.images)
        if out is None:
            found += pairs
        else:
            from percert.reports import write_records

            write_records(_file(out, part), [asdict(pair) for pair in pairs], COLUMNS)
    return _once(found if out is None else _read_all(out))


def clusters(
    pairs: Iterable[Pair], paths: Mapping[str, Sequence[str]] | None = None
) -> list[Cluster]:
    """Connected components of the links, largest first, each with its proven radius.

    Of each component the links with the largest radii form a maximum spanning tree, whose smallest
    radius is the component's: while every image moves by less than that, all links of the tree
    hold, and with them the component. A pair of an image with itself links the files that hold it,
    which ``paths`` names by id.

    >>> near, far = Pair("b", "a", 0, 0.1, 0.3, 2.0), Pair("c", "b", 0, 0.2, 0.3, 1.0)
    >>> [one.ids for one in clusters([near, far])]
    [('a', 'b', 'c')]
    >>> twin = Pair("a", "a", 0, 0.0, 0.3, 2.0)
    >>> [one.paths for one in clusters([twin], {"a": ["1.png", "2.png"]})]
    [('1.png', '2.png')]
    """
    paths = paths or {}
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    weakest: dict[str, float] = {}
    for pair in sorted(pairs, key=lambda one: -one.radius):
        first, second = root(pair.first), root(pair.second)
        if first != second or pair.first == pair.second:
            parent[second] = first
            weakest[first] = pair.radius
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(root(name), []).append(name)
    found = [
        Cluster(
            tuple((id, path) for id in sorted(ids) for path in paths.get(id) or (None,)),
            weakest[top],
        )
        for top, ids in members.items()
    ]
    return sorted(found, key=lambda one: (-len(one.files), one.ids))


def _once(pairs: Iterable[Pair]) -> list[Pair]:
    """Each pair of images once, the one with the larger radius."""
    best: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        key = min(pair.first, pair.second), max(pair.first, pair.second)
        old = best.get(key)
        if old is None or (pair.radius, -pair.distance) > (old.radius, -old.distance):
            best[key] = pair
    return list(best.values())


def _read_all(out: Path) -> Iterator[Pair]:
    from percert.reports import read_records

    for path in sorted((out / "parts").glob("*.parquet")):
        for row in read_records(path, COLUMNS):
            yield Pair(**row)


def _file(out: Path, part: int) -> Path:
    return out / "parts" / f"{part:08d}.parquet"


def _check_job(out: Path, job: DuplicatesJob) -> None:
    (out / "parts").mkdir(parents=True, exist_ok=True)
    wanted: dict[str, Any] = json.loads(json.dumps(asdict(job)))
    path = out / "work.json"
    if not path.exists():
        write_whole(path, json.dumps(wanted, indent=2) + "\n")
        return
    found = json.loads(path.read_text())
    other = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if other:
        name = other[0]
        raise ValueError(
            f"{out}: holds the links of another run, of {name} {found.get(name)}, "
            f"expected {wanted.get(name)}; remove it or choose another folder"
        )
