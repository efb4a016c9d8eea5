"""How fast weighted draws come from a data set of shards on disk, and what memory that takes.

    python -m experiments speed.dataset_sampling --data ../shared/data --out docs/results

D of 100,000 images: the photographs of Tiny ImageNet, rounds and weights as Algorithm 2 leaves them
after four rounds of N = 20,000 (their content is clean: reading does not care). Drawn by weight in
batches of 64, images kept nowhere; memory is the process's resident set, read after every 8,192
draws. Writes ``dataset-sampling.json``.
"""

import argparse
import os
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.conditions import conditions, write_result
from experiments.photographs import DEFAULT_DATA
from percert.training.dro.dataset import DatasetInfo, open_dataset, read_in_order, write_info
from percert.training.dro.images import read_training_images
from percert.training.dro.shards import clean_facts, list_shards, write_shard
from percert.training.dro.weighting import example_weights, stream

SHARD = 4096


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--work", type=Path, default=Path("out/dataset-sampling"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=65_536)
    parser.add_argument("--ahead", type=int, default=16_384, help="draws that are read at once")
    parser.add_argument("--keep", action="store_true", help="leave the data set in --work")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    _write(options.data / "tiny-imagenet-32" / "train.parquet", options.work, options.images)
    write_result(
        options.out / "dataset-sampling.json",
        {"conditions": asdict(conditions(0)), **_measure(options.work, options)},
    )
    if not options.keep:
        shutil.rmtree(options.work)


def _write(source: Path, folder: Path, count: int) -> None:
    """D in ``folder``, from where an earlier run stopped."""
    images = None
    written = len(list_shards(folder / "shards")) if (folder / "shards").exists() else 0
    for number in range(written, -(-count // SHARD)):
        images = images or read_training_images(source)
        rows = np.arange(number * SHARD, min((number + 1) * SHARD, count))
        each = count // 5
        rounds, positions = rows // each, rows % each + 1
        facts = replace(
            clean_facts(images.labels[rows % len(images)], int(rows[0])),
            round=rounds,
            position=positions,
            source=rows % each,
            weight=example_weights(rounds, positions, each, "normalised"),
        )
        write_shard(folder / "shards", number, images.read(rows % len(images)), facts)
        print(f"written {rows[-1] + 1} of {count}", file=sys.stderr)
    write_info(folder, DatasetInfo(count // 5, (32, 32), 200, "normalised"))


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    began, spent = time.perf_counter(), time.process_time()
    dataset = open_dataset(folder, cache_bytes=0)
    opened, opened_cpu = time.perf_counter() - began, time.process_time() - spent
    sampler, _ = dataset.draws()
    rows = sampler.draw(options.draws, stream(0))
    list(read_in_order(dataset, rows[:64], 64))  # the first read imports, and opens files
    memory, speeds, cpu_speeds = [_resident()], [], []
    for start in range(0, len(rows), options.ahead):
        some = rows[start : start + options.ahead]
        began, spent = time.perf_counter(), time.process_time()
        for images, _ in read_in_order(dataset, some, 64, ahead=options.ahead):
            assert images.shape[1:] == (3, 32, 32)
        speeds.append(len(some) / (time.perf_counter() - began))
        cpu_speeds.append(len(some) / (time.process_time() - spent))
        memory.append(_resident())
        print(f"{speeds[-1]:.0f} images/s, {memory[-1]:.0f} MiB", file=sys.stderr)
    return {
        "images": len(dataset),
        "shards": len(dataset.shards),
        "bytes": sum(shard.path.stat().st_size for shard in dataset.shards),
        "bytes_decoded": len(dataset) * 3 * 32 * 32,
        "draws": options.draws,
        "ahead": options.ahead,
        "open_and_verify_seconds": opened,
        "open_and_verify_cpu_seconds": opened_cpu,
        "images_a_second": sorted(speeds),
        "median_images_a_second": float(np.median(speeds)),
        "median_images_a_cpu_second": float(np.median(cpu_speeds)),
        "resident_mib": memory,
        "load_average": os.getloadavg()[0],
    }


def _resident() -> float:
    """MiB of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
