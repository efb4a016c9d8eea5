"""How fast exact certified search is, beside products and searches that prove nothing.

    python -m experiments search.speed --rows 100000 --out docs/results
    python -m experiments search.speed --rows 1000000 --width 192 --repeats 5 --out docs/results
    python -m experiments search.speed --store photos.store --name tiny-imagenet --out docs/results

The 10 nearest of random unit vectors, or of the whole views of a store of photographs, to 1 query
and to 100 at once: to strangers, which are vectors kept out of the collection, and to copies, which
are vectors of it, moved. (How far a copy stays the first depends on much of the collection, which
percert then reads twice.) In memory: torch's matrix
product with top-k, percert with every certificate of its answers, and FAISS ``IndexFlatIP``. On
disk: percert and LanceDB's flat search read the same table; "kept" is a store that keeps what the
first query has read. Every repeat runs all of them one after
the other, so that a slower minute of the machine falls on all; all answers must agree. Writes
``search-NAME.json``; ``python -m experiments search.tables`` makes the table.
"""

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.search.stores import (
    memory_blocks,
    query_features,
    random_units,
    write_store,
)
from percert.search import Store, open_store
from percert.search.query.nearest import nearest_images

K = 10
BATCHES = (1, 100)
#: Rows of a block in memory; a store has its own.
ROWS = 1 << 17
#: How far a query lies from a vector of the collection, as a share of its length.
MOVED = 0.5
#: Vectors that are kept out of the collection, to be queries.
APART = 128
Search = Callable[[], list[list[str]]]


@dataclass(frozen=True)
class SearchTiming:
    """Seconds of one call for ``queries`` queries: median and quartiles of the repeats.

    ``processor`` is the median of the processor's time, which other work on the machine hardly
    changes.
    """

    name: str
    place: str
    kind: str
    queries: int
    repeats: int
    median: float
    lower_quartile: float
    upper_quartile: float
    processor: float


@dataclass(frozen=True)
class SearchSpeed:
    """All timings of one run, and ``ratios`` of percert's to those of others (below 1: faster).

    A ratio is the median of the ratios of each repeat, whose two sides ran seconds apart; by the
    clock, and by the processor's time.
    """

    benchmark: str
    name: str
    rows: int
    width: int
    k: int
    timings: list[SearchTiming]
    ratios: list[dict[str, Any]]
    conditions: Conditions


def searches(
    vectors: Tensor, ids: list[str], queries: Tensor, store: Store, index: Any, blocks: Any
) -> dict[tuple[str, str], Search]:
    """Every way of searching, by its name and where it reads from."""
    features = query_features(queries)
    kept = open_store(store.path, memory=1 << 40)
    here = {
        ("torch", "memory"): lambda: _torch(vectors, ids, queries),
        ("percert", "memory"): lambda: _percert(lambda: blocks, features),
    }
    if index is not None:
        here["faiss", "memory"] = lambda: _faiss(index, ids, queries)
    on_disk = {
        ("percert", "disk"): lambda: _percert(store.blocks.searched, features),
        ("percert", "kept"): lambda: _percert(kept.blocks.searched, features),
        ("lancedb", "disk"): lambda: _lancedb(store.tables.images, queries),
    }
    return {**here, **on_disk}


def _torch(vectors: Tensor, ids: list[str], queries: Tensor) -> list[list[str]]:
    product = (vectors @ queries[0])[None] if len(queries) == 1 else queries @ vectors.T
    best = product.topk(K, dim=1).indices
    return [[ids[row] for row in rows] for rows in best.tolist()]


def _percert(collection: Callable[[], Any], features: Any) -> list[list[str]]:
    found = nearest_images(collection, features, K)
    return [[item.id for item in one.items] for one in found]


def _faiss_index(vectors: Tensor, threads: int) -> Any:
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors.numpy())
    return index


def _faiss(index: Any, ids: list[str], queries: Tensor) -> list[list[str]]:
    _, rows = index.search(queries.numpy(), K)
    return [[ids[row] for row in of_one] for of_one in rows.tolist()]


def _lancedb(table: Any, queries: Tensor) -> list[list[str]]:
    search = table.search(list(queries.numpy()), vector_column_name="h").distance_type("cosine")
    rows = search.limit(K).select(["id", "_distance"]).to_arrow().to_pydict()
    found: list[list[str]] = [[] for _ in queries]
    for at, id in zip(rows.get("query_index", [0] * K), rows["id"], strict=True):
        found[at].append(id)
    return found


def measure(
    vectors: Tensor,
    ids: list[str],
    apart: Tensor,
    store: Store,
    repeats: int,
    threads: int,
    seed: int,
) -> tuple[list[SearchTiming], list[dict[str, Any]]]:
    """Time everything in turns; ``ValueError`` where two searches disagree."""
    timings: list[SearchTiming] = []
    ratios: list[dict[str, Any]] = []
    index, blocks = _faiss_index(vectors, threads), memory_blocks(vectors, ids, ROWS)
    for kind, count in ((kind, count) for kind in ("strangers", "copies") for count in BATCHES):
        queries = _queries(kind, count, vectors, apart, seed)
        ways = searches(vectors, ids, queries, store, index, blocks)
        if kind == "copies":
            ways = {way: run for way, run in ways.items() if way[0] in ("torch", "percert")}
        seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        processor: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        answers: dict[tuple[str, str], list[list[str]]] = {}
        rounds = repeats if count == 1 else max(3, repeats // 3)
        for repeat in range(-1, rounds):
            for way, run in ways.items():
                start, used = perf_counter(), process_time()
                answers[way] = run()
                if repeat >= 0:
                    seconds[way].append(perf_counter() - start)
                    processor[way].append(process_time() - used)
        _check_equal(answers)
        medians = {way: round(statistics.median(s), 4) for way, s in processor.items()}
        print(f"{kind}, {count}: {medians}", flush=True)
        for (name, place), values in seconds.items():
            low, middle, high = statistics.quantiles(values, n=4)
            used = statistics.median(processor[name, place])
            timings.append(SearchTiming(name, place, kind, count, rounds, middle, low, high, used))
        for place, other, where in (
            ("memory", "torch", "memory"),
            ("memory", "faiss", "memory"),
            ("kept", "torch", "memory"),
            ("kept", "lancedb", "disk"),
            ("disk", "lancedb", "disk"),
        ):
            there = other, where
            if there in ways:
                ratios.append(
                    {
                        "percert": place,
                        "other": other,
                        "kind": kind,
                        "queries": count,
                        "ratio": _ratio(seconds, ("percert", place), there),
                        "processor_ratio": _ratio(processor, ("percert", place), there),
                    }
                )
    return timings, ratios


def _queries(kind: str, count: int, vectors: Tensor, apart: Tensor, seed: int) -> Tensor:
    if kind == "strangers":
        return apart[:count].contiguous()
    generator = torch.Generator().manual_seed(seed)
    near = vectors[torch.randint(0, len(vectors), (count,), generator=generator)]
    noise = torch.randn(near.shape, generator=generator) / math.sqrt(vectors.shape[1])
    moved = near + MOVED * noise
    queries: torch.Tensor = moved / moved.norm(dim=1, keepdim=True)
    return queries


def _ratio(
    seconds: dict[tuple[str, str], list[float]], ours: tuple[str, str], theirs: tuple[str, str]
) -> float:
    return statistics.median(a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def _check_equal(answers: dict[tuple[str, str], list[list[str]]]) -> None:
    """All found the same images; float rounding may swap neighbours, and one at the very end."""
    expected = answers["torch", "memory"]
    for way, found in answers.items():
        for one, other in zip(expected, found, strict=True):
            if one[0] != other[0] or len(set(one) & set(other)) < K - 1:
                raise ValueError(f"{way}: expected the images {one}, found {other}")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    # LanceDB takes all processors that it may run on.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    with tempfile.TemporaryDirectory(dir=options.temporary) as folder:
        if options.store is not None:
            store = open_store(options.store)
            parts = [(b.ids[:], b.embeddings[:: b.views].clone()) for b in store.blocks()]
            vectors = torch.cat([part for _, part in parts])
            vectors /= vectors.norm(dim=1, keepdim=True)
            ids = [id for names, _ in parts for id in names]
        else:
            vectors = random_units(options.rows + APART, options.width, options.seed)
            ids = [f"{row:08d}" for row in range(len(vectors))]
        apart, vectors, ids = vectors[-APART:].clone(), vectors[:-APART], ids[:-APART]
        written = write_store(Path(folder) / "store", vectors, ids)
        timings, ratios = measure(
            vectors, ids, apart, written, options.repeats, options.threads, options.seed
        )
    name = options.name or f"random-{len(vectors)}-{vectors.shape[1]}"
    result = SearchSpeed(
        "search-speed",
        name,
        len(vectors),
        vectors.shape[1],
        K,
        timings,
        ratios,
        conditions(options.seed),
    )
    write_result(options.out / f"search-{name}.json", result)
    for timing in timings:
        print(
            f"{timing.queries:4} {timing.kind:9}, {timing.place:6} {timing.name:8} "
            f"{1000 * timing.median:9.1f} ms ({1000 * timing.lower_quartile:.1f} to "
            f"{1000 * timing.upper_quartile:.1f}), {1000 * timing.processor:.1f} of processor"
        )
    for one in ratios:
        print(
            f"{one['queries']:4} {one['kind']:9}: percert, {one['percert']}: "
            f"{one['ratio']:.2f} times {one['other']} ({one['processor_ratio']:.2f} of processor)"
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Exact certified search beside others.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024, help="that of lipsim-tiny; others 192")
    parser.add_argument("--store", type=Path, help="take the vectors of this store instead")
    parser.add_argument("--name", help="of the result; from rows and width where not given")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temporary", type=Path, help="where the store is written meanwhile")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
