"""How fast LipSim embeds with cached weights, beside computing them in every forward.

    python -m experiments speed.embedding [--rounds 7] [--threads 2]

Both sides have the same random weights, and take turns, so that a busy machine slows both. Prints
the medians, their interquartile ranges and ratios as one JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from experiments.conditions import conditions
from experiments.speed.certificates import PlainLipSim, published_state
from percert.metrics.certified.lipsim import LipSim


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    recomputed = PlainLipSim().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        torch.save(published_state(recomputed), file)
        cached = LipSim("small", file).float().requires_grad_(False)  # as the other

    results = []
    with torch.inference_mode():
        for batch in options.batches:
            images = torch.rand(batch, 3, 224, 224)
            sides: dict[str, Callable[[], torch.Tensor]] = {
                "recomputed": partial(recomputed, images),
                "cached": partial(cached.embed, images),
            }
            outputs = {name: run() for name, run in sides.items()}  # a warm-up as well
            times: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(options.rounds):
                for name, run in sides.items():
                    times[name].append(seconds(run))
            median = {name: statistics.median(values) for name, values in times.items()}
            quartiles = {name: statistics.quantiles(values, n=4) for name, values in times.items()}
            results.append(
                {
                    "batch": batch,
                    "median_seconds": median,
                    "iqr_seconds": {name: q[2] - q[0] for name, q in quartiles.items()},
                    "ratio": median["recomputed"] / median["cached"],
                    "largest_difference": float(
                        (outputs["recomputed"] - outputs["cached"]).abs().max()
                    ),
                }
            )
    report = {"results": results, "rounds": options.rounds}
    print(json.dumps(report | {"conditions": asdict(conditions(0))}, indent=1))


if __name__ == "__main__":
    main()
