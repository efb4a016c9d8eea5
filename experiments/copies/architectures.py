"""What the network is built of: our layers, LipNeXt's and BRONet's, trained for equal seconds.

    python -m experiments copies.architectures --data data --seconds 150 --work runs/architectures \
        --out docs/results

The recipe of the embedded default, its pictures, losses and shape, and another ``architecture`` in
each arm, from random weights. Seconds are those that one thread computes, however busy the machine
is: a few steps of each arm, in turn, say how many it is given. Where the data folder lacks a source
of the recipe it is left out, and so few pictures a step are drawn from the others as ``--batch``
says. Judged on what the sources hold out, under random edits: whole pictures with one threshold;
and on classes that nothing was trained on, two pictures of a class against another's. An arm that
is killed goes on from its last checkpoint, and one that has ended is not trained again. Writes
``copies-architectures.json`` and ``.md``.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.copies.training import SIDE, HeldOutPictures, held_out, measure, train_steps
from experiments.speed.networks import Case, time_cases
from percert.data.labelled_images import semantic_triplets
from percert.files import write_whole
from percert.images import Resize
from percert.lipschitz.architectures import Architecture
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import Column, Table, percent
from percert.training.copies import CopiesRecipe, read_copies_recipe
from percert.training.copies.batches import read_corpus
from percert.training.copies.pictures import Pictures, PictureSource, read_pictures
from percert.training.student import Student

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
NAMES: dict[Architecture, str] = {
    "orthogonal": "`lipsim-tiny`'s: Cayley, shifts",
    "lipnext": "LipNeXt's: on the manifold, shifts, l2 pooling",
    "bronet": "BRONet's: block reflectors",
}
#: Runs of so many steps are timed, so often: the difference is that of the steps between.
TIMED = (1, 4)
ROUNDS = 2
CHECKPOINTS = 10
#: Pictures of a source: more than are seen in so short a time.
MOST = 20_000
#: Photographs that are edited and looked for.
JUDGED = 400
BATCHES = (1, 32)
TRIPLETS = 4000
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainedArchitecture:
    """One network. ``found`` and ``hard`` are shares at l2 = 0, 4, 16 and 32 at 299 px, by the rate
    of strangers; ``milliseconds`` are those of a step, ``length`` is that of an embedding, and
    ``images`` are embedded a second, by the batch.
    """

    architecture: Architecture
    parameters: int
    steps: int
    pictures: int
    milliseconds: float
    found: dict[str, list[float]]
    hard: dict[str, list[float]]
    classes: float
    length: float
    images: dict[str, float]


@dataclass(frozen=True)
class Architectures:
    benchmark: str
    recipe: str
    sources: list[str]
    batch: int
    seconds: float
    learning_rate: float
    pairs: int
    triplets: int
    arms: list[TrainedArchitecture]
    conditions: Conditions


def short_recipe(recipe: CopiesRecipe, data: Path, batch: int, rate: float) -> CopiesRecipe:
    """``recipe`` with the sources that are there, ``batch`` pictures a step, and no teacher."""
    there = [source for source in recipe.data if (data / source.path).exists()]
    whole = sum(source.share for source in there)
    sources = tuple(
        replace(s, share=max(2, s.share * batch // whole // 2 * 2), count=MOST) for s in there
    )
    schedule = recipe.schedule
    triplets = max(2, schedule.triplets * batch // recipe.batch)
    return replace(
        recipe,
        data=sources,
        teachers=(),
        schedule=replace(schedule, learning_rate=rate, triplets=triplets),
    )


def lengthened(recipe: CopiesRecipe, steps: int) -> CopiesRecipe:
    """``recipe`` with so many steps, as much of them a warm-up as before."""
    schedule = recipe.schedule
    warmup = round(schedule.warmup * steps / schedule.steps)
    return replace(recipe, schedule=replace(schedule, steps=steps, warmup=warmup))


def planned(
    recipes: Sequence[CopiesRecipe], corpus: list[Pictures], seconds: float, work: Path
) -> list[tuple[int, float]]:
    """How many steps each arm is given, and the seconds of one; asked once, and kept in ``work``.

    The arms take turns and the least counts: on a busy machine a step takes up to twice as much.
    """
    plan = work / "plan.json"
    key = {recipe.network.architecture: repr(recipe) for recipe in recipes}
    found = json.loads(plan.read_text()) if plan.exists() else {}
    if found.get("of") != [key, seconds]:
        runs = [
            [_seconds(recipe, corpus, steps) for recipe in recipes for steps in TIMED]
            for _ in range(ROUNDS)
        ]
        least = [min(times) for times in zip(*runs, strict=True)]
        span = TIMED[1] - TIMED[0]
        each = [
            max(1e-3, long - short) / span
            for short, long in zip(least[::2], least[1::2], strict=True)
        ]
        found = {"of": [key, seconds], "each": each}
        work.mkdir(parents=True, exist_ok=True)
        write_whole(plan, json.dumps(found))
    return [(max(2, int(seconds / one)), one) for one in found["each"]]


def _seconds(recipe: CopiesRecipe, corpus: list[Pictures], steps: int) -> float:
    """What one thread computes for so many steps, beginning and end included."""
    with tempfile.TemporaryDirectory() as out:
        start = process_time()
        train_steps(recipe, corpus, steps, CPU, Path(out))
        return process_time() - start


def unseen_classes(recipe: CopiesRecipe, data: Path, cache: Path) -> Pictures:
    """A tenth of the pictures of the classes that the last source leaves out of training."""
    source = recipe.data[-1]
    names = {folder.name for folder in (data / source.path).iterdir() if folder.is_dir()}
    left = tuple(sorted(names - set(source.leave_out)))
    others = PictureSource(source.path, source.share, source.side, True, source.crop, 0, 10, left)
    return read_pictures(data, others, recipe.seed, cache, held_out=True)


def judged(
    student: Student,
    recipe: CopiesRecipe,
    milliseconds: float,
    held: HeldOutPictures,
    classes: Pictures,
) -> TrainedArchitecture:
    """A trained network, measured; how fast it is, is measured beside the others."""
    found = measure(student, recipe.network.side, held, ["whole"])
    rates = {name.split(", ")[1] for name in found}
    score, length = class_score(student, classes, recipe.seed)
    return TrainedArchitecture(
        recipe.network.architecture,
        sum(parameter.numel() for parameter in student.network.parameters()),
        recipe.schedule.steps,
        recipe.schedule.steps * recipe.batch,
        round(milliseconds, 1),
        {rate: found[f"whole, {rate}, usual"] for rate in sorted(rates)},
        {rate: found[f"whole, {rate}, hard"] for rate in sorted(rates)},
        round(score, 4),
        round(length, 2),
        {},
    )


@torch.no_grad()
def class_score(student: Student, pictures: Pictures, seed: int) -> tuple[float, float]:
    """How often the picture of the same class is the closer one; the mean length of an embedding.

    A tie is an error.
    """
    embedded = torch.cat(
        [student(part.float() / 255) for part in torch.split(pictures.images, 256)]
    )
    plain = student(torch.full((1, 3, *pictures.images.shape[2:]), 0.5))
    g = F.normalize(embedded - plain, dim=1)
    length = float((embedded - plain).norm(dim=1).mean())
    triplets = semantic_triplets(pictures.labels.numpy(), TRIPLETS, seed)
    here, same, other = (g[torch.from_numpy(column)] for column in np.asarray(triplets).T)
    closer: Tensor = (here * same).sum(1) > (here * other).sum(1)
    return float(closer.double().mean()), length


@torch.no_grad()
def speeds(students: Sequence[Student], repeats: int) -> list[dict[str, float]]:
    """Photographs of 299 px embedded a second in double precision, as metrics compute, by batch.

    The networks take turns, so that a busy minute falls on all of them.
    """
    cases = []
    for student in students:
        network = student.network
        metric = EmbeddingMetric(network.double(), Resize(network.resolution, "box"), name="arm")
        for batch in BATCHES:
            images = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
            cases.append(Case(str(batch), "embed", batch, partial(metric.embed, images)))
    timings, _ = time_cases(cases, repeats, 1)
    rates = [{one.name: round(one.images_per_second, 1)} for one in timings]
    return [{**first, **second} for first, second in zip(rates[::2], rates[1::2], strict=True)]


def report(result: Architectures) -> str:
    """The page."""
    columns: list[Column[TrainedArchitecture]] = [
        Column("layers", lambda arm: NAMES[arm.architecture]),
        Column("parameters", lambda arm: arm.parameters, ","),
        Column("steps", lambda arm: arm.steps),
        Column(
            "pictures trained on a second",
            lambda arm: 1000 * result.batch / arm.milliseconds,
            ".0f",
        ),
        Column("found at 1e-3", lambda arm: arm.found["0.001"][0], ".3f"),
        Column("certified l2 = 4", lambda arm: arm.found["0.001"][1], ".3f"),
        Column("16", lambda arm: arm.found["0.001"][2], ".3f"),
        Column("32", lambda arm: arm.found["0.001"][3], ".3f"),
        Column("hard edits at 1e-3", lambda arm: arm.hard["0.001"][0], ".3f"),
        Column("classes", lambda arm: arm.classes, percent),
        Column("length", lambda arm: arm.length, ".1f"),
        Column("embedded a second, batch 1", lambda arm: arm.images["1"], ".0f"),
        Column("batch 32", lambda arm: arm.images["32"], ".0f"),
    ]
    return "\n".join(
        [
            "# What the network is built of",
            "",
            f"By `python -m experiments copies.architectures`: `recipes/{result.recipe}.toml` at a "
            f"**small scale**, {result.seconds:g} seconds of one thread an arm, {result.batch} "
            f"pictures a step of {' and '.join(f'`{one}`' for one in result.sources)}, rate "
            f"{result.learning_rate:g}, the same shape, losses, pictures and start. It says which "
            "layers learn fastest on one core, not where they end. Judged on pictures held out, "
            f"under random edits, {result.pairs:,} pairs of strangers, whole pictures with one "
            f"threshold, budgets in l2 at {SIDE} px; on {result.triplets:,} triplets of classes "
            "never trained on; by the mean length of an embedding, from that of a plain one; and "
            "by photographs embedded a second, in double precision.",
            "",
            Table.of(result.arms, columns).markdown(),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the recipe's data folder")
    parser.add_argument("--recipe", default="lipsim-tiny")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="repeatable")
    parser.add_argument("--seconds", type=float, default=150.0, help="of each training")
    parser.add_argument("--batch", type=int, default=96, help="pictures a step")
    parser.add_argument("--rate", type=float, default=4e-3, help="the learning rate")
    parser.add_argument("--repeats", type=int, default=9, help="of timings")
    parser.add_argument("--work", type=Path, default=Path("runs/architectures"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    base = short_recipe(
        read_copies_recipe(options.recipe), options.data, options.batch, options.rate
    )
    corpus = read_corpus(base, options.data, options.work)
    held = held_out(base, corpus[-1].images, options.data, options.work)
    held = replace(held, photographs=held.photographs[:JUDGED])
    classes = unseen_classes(base, options.data, options.work)
    students, arms = [], []
    recipes = [
        replace(base, network=replace(base.network, architecture=name))
        for name in options.architecture or ARCHITECTURES
    ]
    plans = planned(recipes, corpus, options.seconds, options.work)
    for plain, (steps, each) in zip(recipes, plans, strict=True):
        recipe, every = lengthened(plain, steps), max(1, steps // CHECKPOINTS)
        folder = options.work / plain.network.architecture
        student = train_steps(recipe, corpus, steps, CPU, folder, save_every=every)
        arms.append(judged(student, recipe, 1000 * each, held, classes))
        students.append(student)
        print(arms[-1], flush=True)
    images = speeds(students, options.repeats)
    result = Architectures(
        "architectures",
        options.recipe,
        [source.path for source in base.data],
        base.batch,
        options.seconds,
        options.rate,
        min(len(held.photographs), len(held.strangers)) * len(held.strangers),
        TRIPLETS,
        [replace(arm, images=found) for arm, found in zip(arms, images, strict=True)],
        conditions(base.seed),
    )
    write_result(options.out / "copies-architectures.json", result)
    write_whole(options.out / "copies-architectures.md", report(result))
    print(report(result))


if __name__ == "__main__":
    main()
