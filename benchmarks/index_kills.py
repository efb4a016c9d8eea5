"""Kills during ``percert index add``: is anything lost, doubled, or damaged?

    python -m benchmarks.index_kills --kills 20 --out docs/results

A process adds a folder of images and prints a line for each once it is stored; it is killed with
SIGKILL at a random moment of its work: while it reads, decodes, embeds or commits. After each kill
the store is verified, and every line that was printed is looked for in it. Once a store holds all,
the next kill begins with a new one. Writes ``index-kills.json``.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.conditions import Conditions, conditions, write_result
from percert.images import save_image
from percert.metrics.thumbnail import thumbnail
from percert.search import open_store
from percert.search.add import add_files, iter_add
from percert.search.outcome import Settings

COMMIT_IMAGES = 8


@dataclass(frozen=True)
class Kill:
    """One kill ``seconds`` after the work began; counts of the store after it.

    ``acknowledged`` are the images that the process had reported, ``lost`` those of them that are
    not there, ``problems`` what verifying found.
    """

    seconds: float
    acknowledged: int
    stored: int
    lost: int
    problems: list[str]


@dataclass(frozen=True)
class KillResult:
    """All kills; ``completed`` says that after the last one adding once more stored all, once."""

    benchmark: str
    images: int
    commit_images: int
    kills: list[Kill]
    stores: int
    completed: bool
    conditions: Conditions


def add_here(store: str, folder: str) -> None:
    """The process that is killed: says when it begins, then each image once it is stored."""
    torch.set_num_threads(1)
    opened = open_store(store, thumbnail(8))
    print("begin", flush=True)
    settings = Settings(decoders=1, batch=4, commit_images=COMMIT_IMAGES)
    for outcome in iter_add(opened, [folder], settings):
        print(outcome.what, outcome.id, outcome.path, flush=True)


def make_images(folder: Path, count: int, seed: int) -> None:
    """Noise of a few pixels' width, each image another."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    for at in range(count):
        coarse = torch.rand(1, 3, 6, 6, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (96, 128), mode="bilinear")[0]
        save_image(image, folder / f"{at:04}.png")


def run_killed(store: Path, folder: Path, seconds: float) -> tuple[list[str], bool]:
    """Add until killed after ``seconds``: the whole lines it printed, and whether it had ended."""
    command = [sys.executable, "-m", "benchmarks.index_kills", "--child", str(store), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        if process.stdout is None or process.stdout.readline() != "begin\n":
            raise RuntimeError("the process that adds did not begin")
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [line for line in process.stdout.read().splitlines(True) if line.endswith("\n")]
        return lines, process.wait() == 0


def check(store: Path, lines: Sequence[str], seconds: float) -> Kill:
    """What the store is like after a kill."""
    opened = open_store(store, thumbnail(8))
    verdict = opened.verify()
    table = opened.rows(["id", "paths"]).to_pydict()
    held = {(id, path) for id, paths in zip(*table.values(), strict=True) for path in paths}
    told = [tuple(line.rstrip("\n").split(" ", 2)[1:]) for line in lines]
    lost = sum(one not in held for one in told)
    return Kill(seconds, len(told), opened.count, lost, verdict.problems)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    if options.child:
        add_here(*options.child)
        return
    torch.set_num_threads(1)
    chance = random.Random(options.seed)
    kills: list[Kill] = []
    stores = 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        make_images(folder, options.images, options.seed)
        began = time.perf_counter()
        add_files(
            open_store(Path(temporary) / "timed", thumbnail(8)),
            [folder],
            Settings(decoders=1, batch=4, commit_images=COMMIT_IMAGES),
        )
        whole = time.perf_counter() - began
        store = Path(temporary) / f"store-{stores}"
        lines: list[str] = []
        while len(kills) < options.kills:
            seconds = chance.uniform(0, options.share * whole)
            more, ended = run_killed(store, folder, seconds)
            lines += more
            if ended:
                check(store, lines, seconds)  # it was done before: not a kill
            else:
                kills.append(check(store, lines, seconds))
                print(f"{len(kills):3}: {kills[-1]}")
            if ended or kills[-1].stored == options.images:
                stores += 1
                store, lines = Path(temporary) / f"store-{stores}", []
        opened = open_store(store, thumbnail(8))
        add_files(opened, [folder])
        verdict = opened.verify()
        completed = verdict.sound and verdict.images == verdict.files == options.images
    result = KillResult(
        "index-kills",
        options.images,
        COMMIT_IMAGES,
        kills,
        stores,
        completed,
        conditions(options.seed),
    )
    write_result(options.out / "index-kills.json", result)
    lost, problems = sum(one.lost for one in kills), sum(len(one.problems) for one in kills)
    print(f"{len(kills)} kills: {lost} lost, {problems} problems, completed: {completed}")
    if lost or problems or not completed:
        raise SystemExit(1)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kills at random moments of adding.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument(
        "--share", type=float, default=0.5, help="of the time of a whole run, the latest kill"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--child", nargs=2, metavar=("STORE", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
