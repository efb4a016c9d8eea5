"""How fast ``percert index add`` is end to end, beside the network alone and the decoder alone.

    python -m experiments search.add --images ../shared/data/imagenet-samples --out docs/results

Adds a folder or a parquet file to a new store, and measures in the same run: the whole; the network
on inputs that are ready; reading, decoding and resizing without a network. On a machine whose
network runs on the processors that decode too, both share them, and the limit is 1 / (1/n + 1/d);
with a GPU it is the lower of the two. Every repeat runs all three, so that a slower minute of the
machine falls on all. Wall and processor time are both written: on a machine with other work, the
second is the one that means something. Writes ``index-add-NAME.json``.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import torch

from experiments.conditions import Conditions, conditions, write_result
from percert.images import find_images
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search import open_store
from percert.search.ingest.pipeline import decode_source, read_source
from percert.search.ingest.sources import AddSettings, StageSeconds, iter_sources
from percert.search.ingest.views import Prepared, embed_prepared, preparation
from percert.search.store import Store


@dataclass(frozen=True)
class AddRate:
    """Images a second, by the clock and by the processor's time: medians of the repeats."""

    images_per_second: float
    images_per_processor_second: float


@dataclass(frozen=True)
class AddResult:
    """One run. ``limit`` is what network and decoder allow together, ``share_of_limit`` the median
    of the whole's share of it, by the clock and by the processor; ``stages`` the seconds of each
    stage of one addition, summed over its workers.
    """

    benchmark: str
    name: str
    metric: str
    device: str
    images: int
    views: int
    batch: int
    repeats: int
    end_to_end: AddRate
    network: AddRate
    decoder: AddRate
    limit: AddRate
    share_of_limit: float
    processor_share_of_limit: float
    stages: dict[str, float]
    conditions: Conditions


def add_all(
    folder: Path, metric: EmbeddingMetric, views: str, inputs: Path, batch: int
) -> StageSeconds:
    """What ``percert index add`` does, into a new store."""
    stages = StageSeconds()
    store = open_store(folder, metric, views=views)
    for _ in store.iter_add([inputs], AddSettings(batch=batch), stages):
        pass
    return stages


def decode_all(store: Store, metric: EmbeddingMetric, inputs: Path) -> list[Prepared]:
    """Read, hash, decode and resize, one after the other."""
    how = preparation(store.tables.header, metric)
    prepared = []
    for source in iter_sources(find_images([inputs]), lambda *_: False):
        read = read_source(source) if not isinstance(source, Exception) else source
        if isinstance(read, Exception):
            continue
        found = decode_source(read.data, read.source.key, read.id, how, 1 << 28)
        if not isinstance(found, Exception):
            prepared.append(found.prepared)
    return prepared


def embed_all(metric: EmbeddingMetric, prepared: Sequence[Prepared], batch: int) -> None:
    """The network alone, in the batches of an addition."""
    for start in range(0, len(prepared), batch):
        embed_prepared(metric, prepared[start : start + batch])


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds by the clock and of this process's processors, and what came of it."""
    clock, processor = perf_counter(), process_time()
    result = work()
    return perf_counter() - clock, process_time() - processor, result


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    metric = create_metric(options.metric, device=options.device)
    if not isinstance(metric, EmbeddingMetric):
        raise SystemExit(f"{options.metric}: expected a metric with embeddings")
    whole: list[tuple[float, float]] = []
    network: list[tuple[float, float]] = []
    decoder: list[tuple[float, float]] = []
    stages = StageSeconds()
    with tempfile.TemporaryDirectory() as temporary:
        empty = open_store(Path(temporary) / "empty", metric, views=options.views)
        for repeat in range(options.repeats):
            folder = Path(temporary) / f"store-{repeat}"
            clock, processor, prepared = timed(lambda: decode_all(empty, metric, options.images))
            if not isinstance(prepared, list) or not prepared:
                raise SystemExit(f"{options.images}: no images found")
            decoder.append((clock, processor))
            embed_all(metric, prepared[: options.batch], options.batch)
            clock, processor, _ = timed(partial(embed_all, metric, prepared, options.batch))
            network.append((clock, processor))
            clock, processor, found = timed(
                partial(add_all, folder, metric, options.views, options.images, options.batch)
            )
            whole.append((clock, processor))
            stages = found if isinstance(found, StageSeconds) else stages
            count = len(prepared)
    shared = options.device != "cuda"
    limits = [
        tuple(n + d if shared else max(n, d) for n, d in zip(one, other, strict=True))
        for one, other in zip(network, decoder, strict=True)
    ]
    shares = [
        [limit[which] / took[which] for limit, took in zip(limits, whole, strict=True)]
        for which in (0, 1)
    ]
    result = AddResult(
        benchmark="index-add",
        name=options.name,
        metric=metric.name,
        device=options.device,
        images=count,
        views=len(empty.views),
        batch=options.batch,
        repeats=options.repeats,
        end_to_end=_rate(count, whole),
        network=_rate(count, network),
        decoder=_rate(count, decoder),
        limit=_rate(count, limits),
        share_of_limit=statistics.median(shares[0]),
        processor_share_of_limit=statistics.median(shares[1]),
        stages=asdict(stages),
        conditions=conditions(0),
    )
    write_result(options.out / f"index-add-{options.name}.json", result)
    for name in ("end_to_end", "network", "decoder", "limit"):
        rate: AddRate = getattr(result, name)
        print(
            f"{name:10} {rate.images_per_second:7.1f} images/s, "
            f"{rate.images_per_processor_second:7.1f} a second of processor"
        )
    print(
        f"share of the limit: {result.share_of_limit:.2f}, of processor time "
        f"{result.processor_share_of_limit:.2f}"
    )
    print({name: round(seconds, 2) for name, seconds in result.stages.items()})


def _rate(count: int, seconds: Sequence[tuple[float, ...]]) -> AddRate:
    clock = statistics.median(one[0] for one in seconds)
    processor = statistics.median(one[1] for one in seconds)
    return AddRate(count / clock, count / max(processor, 1e-9))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Throughput of percert index add.")
    parser.add_argument("--images", type=Path, required=True, help="a folder or a parquet file")
    parser.add_argument("--name", default="photographs")
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--views", default="whole")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
