"""How fast: images embedded a second, and what a certificate adds to the distance of a pair.

    python -m experiments speed.networks --data ../shared/data --out docs/results

Photographs of 299 x 299, resize included, on the CPU. Every repeat runs all cases one after the
other, so that a slower minute of the machine falls on all of them. What a certificate costs is the
median over the repeats of the ratio of two calls that users make on the same pairs,
``certify.copies(metric, x, y, threshold)`` and ``metric(x, y)``.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.detectors import NAMES, make_detector
from experiments.photographs import DEFAULT_DATA, as_arrays, as_tensor, compatible
from percert.certify import copies
from percert.evaluation.copies.detector import Detector, MetricDetector
from percert.evaluation.copies.hashes import HashDetector
from percert.metrics.certified.embedding import EmbeddingMetric

BATCHES = (1, 32)
#: Any threshold costs the same.
THRESHOLD = 0.3
DISTANCE, COPIES = "distance", "certify copies"


@dataclass(frozen=True)
class Case:
    """Something to time, which handles ``batch`` images a call."""

    name: str
    task: str
    batch: int
    run: Callable[[], object]


@dataclass(frozen=True)
class NetworkTiming:
    """Seconds a call: the median and quartiles of the repeats; images a second at the median."""

    name: str
    task: str
    batch: int
    repeats: int
    median: float
    lower_quartile: float
    upper_quartile: float
    images_per_second: float


@dataclass(frozen=True)
class Cost:
    """Of a call of ``task`` in units of one of ``beside``: median and quartiles of the ratios."""

    name: str
    task: str
    beside: str
    batch: int
    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True)
class SpeedResult:
    """All timings of one run. ``side`` is that of the square images."""

    benchmark: str
    side: int
    timings: list[NetworkTiming]
    costs: list[Cost]
    conditions: Conditions


def time_cases(
    cases: Sequence[Case], repeats: int, warm_up: int
) -> tuple[list[NetworkTiming], list[Cost]]:
    """Time all cases, interleaved, after ``warm_up`` unmeasured rounds; and copies by distances."""
    seconds = np.zeros((repeats, len(cases)))
    for repeat in range(-warm_up, repeats):
        for place, case in enumerate(cases):
            start = perf_counter()
            case.run()
            if repeat >= 0:
                seconds[repeat, place] = perf_counter() - start
    quartiles = np.quantile(seconds, (0.25, 0.5, 0.75), axis=0).T.tolist()
    timings = [
        NetworkTiming(
            case.name, case.task, case.batch, repeats, median, lower, upper, case.batch / median
        )
        for case, (lower, median, upper) in zip(cases, quartiles, strict=True)
    ]
    column = {(case.name, case.task, case.batch): i for i, case in enumerate(cases)}
    costs = []
    for (name, task, batch), i in column.items():
        if task == COPIES:
            ratios = seconds[:, i] / seconds[:, column[name, DISTANCE, batch]]
            lower, median, upper = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
            costs.append(Cost(name, task, DISTANCE, batch, median, lower, upper))
    return timings, costs


def make_cases(names: Sequence[str], data: Path, checkpoints: list[str]) -> list[Case]:
    """Embedding in each batch size, and of as many pairs the distance and the copy certificate."""
    photographs = compatible(data, max(BATCHES))
    cases = []
    for name in names:
        detector = make_detector(name, data, checkpoints)
        for batch in BATCHES:
            images = as_tensor([photographs[i % len(photographs)] for i in range(batch)])
            cases.append(Case(name, "embed", batch, _embedding(detector, images)))
            if isinstance(detector, MetricDetector):
                metric, others = detector.metric, images.flip(0).contiguous()
                distance = partial(_distance, metric, images, others)
                cases.append(Case(name, DISTANCE, batch, distance))
                certificate = partial(copies, metric, images, others, THRESHOLD)
                cases.append(Case(name, COPIES, batch, certificate))
    return cases


def _embedding(detector: Detector, images: Tensor) -> Callable[[], object]:
    if isinstance(detector, HashDetector):
        # The programs start from 8-bit images; making them is not their work.
        arrays = as_arrays(images)
        return lambda: detector.hash(arrays)
    return lambda: detector.describe(images)


@torch.no_grad()
def _distance(metric: EmbeddingMetric, images: Tensor, others: Tensor) -> Tensor:
    return metric(images, others)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    cases = make_cases(options.metric or NAMES, options.data, options.checkpoint)
    timings, costs = time_cases(cases, options.repeats, options.warm_up)
    write_result(
        options.out / "speed.json",
        SpeedResult("speed", 299, timings, costs, conditions(options.seed)),
    )
    for timing in timings:
        print(
            f"{timing.name:14} {timing.task:15} batch {timing.batch:2}: "
            f"{timing.images_per_second:9.1f} images/s"
        )
    for cost in costs:
        print(
            f"{cost.name:14} {cost.task} batch {cost.batch:2}: {cost.median:.3f} times the "
            f"{cost.beside} ({cost.lower_quartile:.3f} to {cost.upper_quartile:.3f})"
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images embedded a second.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", action="append", help="repeatable; all of them if not given")
    parser.add_argument("--checkpoint", action="append", default=[], help="NAME=FILE; repeatable")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
