"""How long a store takes to answer, from an image to the finished answer, beside exact engines.

    python -m experiments search.asked photos.store --images unrelated/ --out docs/results

Copies by the store's own rule and within one distance for all (that of one pair of stored rows in a
million, and in a thousand), and the 10 nearest, of ``--images`` (strangers) and of stored pictures
made darker (copies): with certificates and paths, the embedding of the query taken off. Beside, on
one thread, all in turns: FAISS ``IndexFlatIP`` (range search and top 10), usearch's exact search,
and LanceDB's flat search of the same table. Percert keeps all rows in memory ("memory"), or with
``--memory-mib`` their first coordinates alone ("disk"). All must find the same. Writes
``search-asked-NAME.json``.
"""

import argparse
import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from percert.images import find_images, load_image
from percert.metrics.catalog import create_metric
from percert.search import Rule, Store, open_store
from percert.search import store as store_module
from percert.search.query import narrowing
from percert.search.query.distances import asked_features, query_features
from percert.search.query.prefilter import Prefilter

K = 10
#: Shares of the stored pairs within one distance for all; rows compared for these, pairs at most.
RATES, COMPARED, PAIRS = (1e-6, 1e-3), 2000, 4 * 10**8
DARKER = 0.9
Found = frozenset[str]


@dataclass(frozen=True)
class QueryTimes:
    """Milliseconds of one query, medians over ``queries`` pictures in ``repeats`` turns, and the
    median of how many bytes of rows it read (``None`` where that is not known).
    """

    engine: str
    what: str
    kind: str
    milliseconds: float
    processor: float
    megabytes: float | None
    found: float


@dataclass(frozen=True)
class AskedResult:
    """All of a run. ``first_seconds``: of the first and the second query, which read and turn.
    ``duplicates``: seconds of all pairs by the clock and of the processor, and links found, where
    they were asked for.
    """

    benchmark: str
    name: str
    rows: int
    views: tuple[str, ...]
    width: int
    metric: str
    weights: str
    queries: int
    repeats: int
    rule: float
    own_threshold_median: float
    first_seconds: tuple[float, float]
    duplicates: tuple[float, float, int] | None
    timings: list[QueryTimes]
    conditions: Conditions


class Embedding:
    """Seconds spent on the embeddings of queries, which are taken off."""

    def __init__(self) -> None:
        self.clock = self.processor = 0.0

    def timed(self, embed: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            clock, processor = perf_counter(), process_time()
            found = embed(*arguments)
            self.clock += perf_counter() - clock
            self.processor += process_time() - processor
            return found

        return call


class Bytes:
    """Bytes of rows that queries read."""

    def __init__(self) -> None:
        self.read = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        bounds, products, cosines = (
            narrowing._bounds_of_one,
            Prefilter._products,
            Prefilter._cosines,
        )

        def some(held: Any, *rest: Any) -> Any:
            self.read += held.values.numel() + 4 * (held.scale.numel() + held.sides.numel())
            return bounds(held, *rest)

        def of_rows(
            self_: Any, block: Any, query: Tensor | None, row: Tensor, inverse: Tensor
        ) -> Any:
            self.read += 4 * len(row) * block.embeddings.shape[1]
            return products(self_, block, query, row, inverse)

        def of_all(self_: Any, h: Tensor, inverse: Tensor) -> Any:
            self.read += 4 * h.numel()
            return cosines(self_, h, inverse)

        with (
            patch.object(narrowing, "_bounds_of_one", some),
            patch.object(Prefilter, "_products", of_rows),
            patch.object(Prefilter, "_cosines", of_all),
        ):
            yield


def _ids(answers: Any) -> Found:
    return frozenset(match.id for answer in answers for match in answer.results)


def pair_distances_at(rows: Tensor) -> list[float]:
    """The distances that the shares :data:`RATES` of pairs of unit ``rows`` have at most."""
    step = -(-len(rows) // min(COMPARED, PAIRS // len(rows)))
    chosen = torch.arange(0, len(rows), step)
    pairs = len(chosen) * len(rows)
    most, wanted = torch.full((1,), -9.0), int(max(RATES) * pairs) + 1
    for some in torch.split(chosen, 100):
        cosines = rows[some] @ rows.T
        cosines[torch.arange(len(some)), some] = -1.0
        least = most[-1] if len(most) >= wanted else -2.0
        near = torch.cat([most, cosines[cosines >= least]])
        most = near.topk(min(len(near), wanted)).values
    return [round(float(1 - most[int(rate * pairs)]), 3) for rate in RATES]


def ways(
    store: Store, name: str, thresholds: Sequence[float]
) -> dict[tuple[str, str], Callable[[Tensor], Found]]:
    """What is asked of percert, by engine and question."""
    found: dict[tuple[str, str], Callable[[Tensor], Found]] = {
        (name, "copies, own thresholds"): lambda image: _ids(store.copies([image])),
        (name, f"{K} nearest"): lambda image: _ids(store.search([image], K)),
    }
    for distance in thresholds:
        rule = Rule(distance)
        found[name, f"copies within {distance}"] = lambda image, rule=rule: _ids(  # type: ignore[misc]
            store.copies([image], rule)
        )
    return found


def others(
    store: Store,
    rows: Tensor,
    ids: list[str],
    embed: Callable[[Tensor], Tensor],
    thresholds: Sequence[float],
) -> dict[tuple[str, str], Callable[[Tensor], Found]]:
    """The same of engines that prove nothing, of the whole views ``rows`` alone: a copy of them."""
    import faiss
    from usearch.index import MetricKind, search

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows.numpy())
    # Where FAISS has copied them: of a million rows 4 GB.
    held = faiss.rev_swig_ptr(index.get_xb(), rows.numel()).reshape(rows.shape)

    def within(distance: float) -> Callable[[Tensor], Found]:
        def call(image: Tensor) -> Found:
            _, _, places = index.range_search(embed(image).numpy(), 1 - distance)
            return frozenset(ids[at] for at in places.tolist())

        return call

    def top(image: Tensor) -> Found:
        return frozenset(ids[at] for at in index.search(embed(image).numpy(), K)[1][0].tolist())

    def exact(image: Tensor) -> Found:
        query = embed(image).numpy()
        near = search(held, query, K, MetricKind.IP, exact=True, threads=1)
        return frozenset(ids[at] for at in near.keys.ravel().tolist())

    def lance(image: Tensor) -> Found:
        query = store.tables.images.search(embed(image)[0].numpy(), vector_column_name="h")
        near = query.distance_type("cosine").limit(K).select(["id", "_distance"]).to_arrow()
        return frozenset(near["id"].to_pylist())

    found = {("faiss", f"copies within {one}"): within(one) for one in thresholds}
    found |= {("faiss", f"{K} nearest"): top, ("usearch", f"{K} nearest"): exact}
    if len(store.views) == 1:
        found["lancedb", f"{K} nearest"] = lance
    return found


def measure(
    ways: dict[tuple[str, str], Callable[[Tensor], Found]],
    images: Sequence[Tensor],
    kind: str,
    repeats: int,
    embedding: Embedding,
) -> list[QueryTimes]:
    """Each way asked for each image in turns; ``ValueError`` where two do not agree."""
    clock: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    processor: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    count: dict[tuple[str, str], list[int]] = {way: [] for way in ways}
    read: dict[tuple[str, str], list[int]] = {way: [] for way in ways}
    for image in images:
        answers: dict[str, Found] = {}
        for way, ask in ways.items():
            bytes = Bytes()
            with bytes.counted():  # apart from the time
                found = ask(image)
            read[way].append(bytes.read)
            count[way].append(len(found))
            expected = answers.setdefault(way[1], found)
            if len(found ^ expected) > 2 + len(expected) // 100:  # what lies on the edge is rounded
                raise ValueError(f"{way}: found {len(found)}, expected {len(expected)}: not these")
        for _ in range(repeats):
            for way, ask in ways.items():
                embedding.clock = embedding.processor = 0.0
                start, used = perf_counter(), process_time()
                ask(image)
                clock[way].append(perf_counter() - start - embedding.clock)
                processor[way].append(process_time() - used - embedding.processor)
    return [
        QueryTimes(
            *way,
            kind,
            1000 * statistics.median(clock[way]),
            1000 * statistics.median(processor[way]),
            statistics.median(read[way]) / 1e6 if way[0].startswith("percert") else None,
            statistics.median(count[way]),
        )
        for way in ways
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    metric: Any = create_metric(options.metric, device="cpu")
    store = open_store(options.store, metric, create=False, memory=1 << 40)
    paths = find_images([options.images])[: options.queries]
    strangers = [load_image(path) for path in paths]
    first = []
    for image in strangers[:2]:
        embedding = Embedding()
        with patch.object(store_module, "asked_features", embedding.timed(asked_features)):
            start = perf_counter()
            store.copies([image])
            first.append(perf_counter() - start - embedding.clock)
    duplicates = None
    if not options.without_duplicates:
        start, used = perf_counter(), process_time()
        links = len(store.duplicates().links)
        duplicates = perf_counter() - start, process_time() - used, links
    step = max(1, store.count // (16 * options.queries))
    held = store.rows(["path"], [id for block in store.blocks() for id in block.ids[::step]])
    # What is a row of a parquet file is passed over.
    files = [path for path in held["path"].to_pylist() if path and Path(path).is_file()]
    files = files[:: max(1, len(files) // options.queries)][: options.queries]
    darker = [load_image(path) * DARKER for path in files]
    parts = [(b.ids[:], b.embeddings[:: b.views], b.likeness) for b in store.blocks()]
    rows = torch.cat([part for _, part, _ in parts])
    rows /= rows.norm(dim=1, keepdim=True)
    thresholds = pair_distances_at(rows)
    asked = ways(store, "percert, memory", thresholds)
    if options.memory_mib:
        apart = open_store(options.store, metric, create=False, memory=options.memory_mib << 20)
        asked |= ways(apart, "percert, disk", thresholds)
    rule = store.rule()
    likeness = torch.cat([one for _, _, one in parts if one is not None])
    own = (rule.threshold - rule.weight * likeness).median()
    embedding = Embedding()
    embed_alone = embedding.timed(lambda image: query_features(metric, [image])[0].directions)
    every = [id for ids, _, _ in parts for id in ids]
    count, width = rows.shape
    asked |= others(store, rows, every, lambda image: embed_alone(image).float(), thresholds)
    del rows
    timings: list[QueryTimes] = []
    with (
        patch.object(store_module, "query_features", embedding.timed(query_features)),
        patch.object(store_module, "asked_features", embedding.timed(asked_features)),
    ):
        for ask in asked.values():
            for image in strangers[:3]:  # read, turned, warm
                ask(image)
        for kind, images in (("stranger", strangers), ("copy", darker)):
            timings += measure(asked, images, kind, options.repeats, embedding)
    result = AskedResult(
        "search-asked",
        options.name,
        count * len(store.views),
        store.views,
        width,
        store.metric_id.name,
        store.metric_id.weights,
        len(strangers),
        options.repeats,
        rule.threshold,
        float(own),
        (first[0], first[1]),
        duplicates,
        timings,
        conditions(0),
    )
    write_result(options.out / f"search-asked-{options.name}.json", result)
    for one in timings:
        print(asdict(one), flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A store's answers beside exact engines'.")
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="pictures that it does not hold")
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--without-duplicates", action="store_true", help="ask for no pairs, which take longest"
    )
    parser.add_argument("--memory-mib", type=int, default=0, help="too few for all rows")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
