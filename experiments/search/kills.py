"""Kills during ``percert index add``: is anything lost, doubled, or damaged?

    python -m experiments search.kills --kills 20 --out docs/results

A process adds a folder of images and prints a line for each once it is stored; it is killed with
SIGKILL at a random moment of its work: while it reads, decodes, embeds or commits. After each kill
the store is verified, and every line that was printed is looked for in it. Once a store holds all,
the next kill begins with a new one. Processes are forked before any of them has loaded LanceDB, so
that a kill costs no start of an interpreter. Writes ``index-kills.json``.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import torch

from experiments.conditions import Conditions, conditions, write_result
from percert.images import save_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.ingest.sources import AddSettings

COMMIT_IMAGES = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Kill:
    """One kill ``seconds`` after the work began; counts of the store after it.

    ``acknowledged`` are the lines by which processes have reported images of this store so far
    (again where they found one unchanged), ``lost`` those of them whose image is not there,
    ``problems`` what verifying found.
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


def add_here(store: Path, folder: Path) -> Iterator[str]:
    """The work that is killed: a line when it begins, then one an image once it is stored."""
    opened = open_store(store, Thumbnail(8))
    yield "begin"
    settings = AddSettings(decoders=1, batch=4, commit_images=COMMIT_IMAGES)
    for outcome in opened.iter_add([folder], settings):
        yield f"{outcome.what} {outcome.id} {outcome.path}"


@contextlib.contextmanager
def forked(lines: Callable[[], Iterator[str]]) -> Iterator[tuple[int, IO[str]]]:
    """A process that writes ``lines``, as its number and what it writes."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "w") as out:
                for line in lines():
                    print(line, file=out, flush=True)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as stream:
        yield number, stream


def make_images(folder: Path, count: int, seed: int) -> None:
    """Noise of a few pixels' width, each image another."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    for at in range(count):
        coarse = torch.rand(1, 3, 6, 6, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (96, 128), mode="bilinear")[0]
        save_image(image, folder / f"{at:04}.png")


def run_killed(store: Path, folder: Path, seconds: float) -> tuple[list[str], bool]:
    """Add until killed after ``seconds``: the whole lines it wrote, and whether it had ended."""
    with forked(lambda: add_here(store, folder)) as (number, stream):
        if stream.readline() != "begin\n":
            raise RuntimeError("the process that adds did not begin")
        time.sleep(seconds)
        os.kill(number, signal.SIGKILL)
        lines = [line for line in stream.read().splitlines(True) if line.endswith("\n")]
        return lines, os.waitpid(number, 0)[1] == 0


def apart(work: Callable[[], T]) -> Any:
    """What ``work()`` gives, computed in a process of its own."""
    with forked(lambda: iter([json.dumps(work())])) as (number, stream):
        answer = stream.read()
        if os.waitpid(number, 0)[1] != 0:
            raise RuntimeError("the process that checks failed")
        return json.loads(answer)


def check(store: Path, lines: Sequence[str], seconds: float) -> dict[str, Any]:
    """What the store is like after a kill, as :class:`Kill` has it."""
    opened = open_store(store, Thumbnail(8))
    verdict = opened.verify()
    table = opened.rows(["id", "paths"]).to_pydict()
    held = {(id, path) for id, paths in zip(*table.values(), strict=True) for path in paths}
    told = [tuple(line.rstrip("\n").split(" ", 2)[1:]) for line in lines]
    lost = sum(one not in held for one in told)
    return asdict(Kill(seconds, len(told), opened.count, lost, verdict.problems))


def complete(store: Path, folder: Path, images: int) -> bool:
    """Whether adding once more stores every image, each once."""
    opened = open_store(store, Thumbnail(8))
    opened.add_files([folder])
    verdict = opened.verify()
    return verdict.sound and verdict.images == verdict.files == images


def whole_time(store: Path, folder: Path) -> float:
    """Seconds that adding all takes, once it has begun."""
    lines = add_here(store, folder)
    next(lines)
    began = time.perf_counter()
    for _ in lines:
        pass
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(1)
    chance = random.Random(options.seed)
    kills: list[Kill] = []
    stores = 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        make_images(folder, options.images, options.seed)
        whole = apart(lambda: whole_time(Path(temporary) / "timed", folder))
        store = Path(temporary) / f"store-{stores}"
        lines: list[str] = []
        while len(kills) < options.kills:
            seconds = chance.uniform(0, options.share * whole)
            more, ended = run_killed(store, folder, seconds)
            lines += more
            if not ended:
                found = apart(partial(check, store, tuple(lines), seconds))
                kills.append(Kill(**found))
                print(f"{len(kills):3}: {kills[-1]}", flush=True)
            if ended or kills[-1].stored == options.images:
                stores += 1
                store, lines = Path(temporary) / f"store-{stores}", []
        completed = apart(lambda: complete(store, folder, options.images))
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
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
