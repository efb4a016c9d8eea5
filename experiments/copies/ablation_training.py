"""How an arm of the ablation is given its steps, trained, and remembered."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import torch

from experiments.copies.ablation_arms import CopyArm, corpus_of
from experiments.copies.ablation_judging import (
    ROUNDS,
    CopyScores,
    JudgedOn,
    judged_on,
    scores,
    speeds,
)
from experiments.copies.training import train_steps
from percert.files import write_whole
from percert.training.copies import CopiesRecipe
from percert.training.copies.batches import read_corpus
from percert.training.copies.pictures import Pictures
from percert.training.copies.run import Lesson, lesson_of, teacher_features
from percert.training.student import Student

#: So many steps are timed, so often; the least time between two of them counts.
TIMED, TURNS = 3, 2
CHECKPOINTS = 5
#: Pictures of a source: about as many as are seen in so short a time.
MOST = 4000
CPU = torch.device("cpu")
ENDED = "arm.json"


@dataclass(frozen=True)
class TrainedArm:
    """An arm that has ended: how it was trained, how fast it is and what it scored.

    ``milliseconds`` are those of a step, ``images`` are embedded a second, by the batch; ``commit``
    is that of the code that trained it.
    """

    heading: str
    name: str
    parameters: int
    steps: int
    pictures: int
    milliseconds: float
    images: dict[str, float]
    scores: CopyScores
    commit: str


@dataclass(frozen=True)
class Bench:
    """What all arms share: the recipe as it is, its pictures, what is judged on, and where."""

    base: CopiesRecipe
    held: dict[str, Pictures]
    on: JudgedOn
    data: Path
    work: Path


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


def prepare(recipe: CopiesRecipe, data: Path, work: Path) -> Bench:
    """Read the pictures of ``recipe``, and those that are judged on."""
    corpus = read_corpus(recipe, data, work)
    sources = tuple(
        replace(source, count=len(pictures))
        for source, pictures in zip(recipe.data, corpus, strict=True)
    )
    held = {source.path: pictures for source, pictures in zip(sources, corpus, strict=True)}
    on = judged_on(recipe, corpus[0].images, data, work)
    return Bench(replace(recipe, data=sources), held, on, data, work)


def train_arm(
    bench: Bench, arm: CopyArm, recipe: CopiesRecipe, out: Path, stamps: list[float] | None = None
) -> Student:
    """The network of an arm after ``recipe``'s steps; ``stamps`` takes when each began."""
    corpus = corpus_of(recipe, bench.held)
    steps = recipe.schedule.steps
    watch = None if stamps is None else lambda: stamps.append(process_time())
    return train_steps(
        recipe,
        corpus,
        steps,
        CPU,
        out,
        student=arm.build(recipe),
        lessons=_lessons(bench, recipe, corpus),
        save_every=max(1, steps // CHECKPOINTS),
        watch=watch,
    )


def _lessons(bench: Bench, recipe: CopiesRecipe, corpus: list[Pictures]) -> list[Lesson]:
    features = teacher_features(recipe, bench.data, corpus, bench.work, CPU)
    return [lesson_of(one, f, CPU) for one, f in zip(recipe.teachers, features, strict=True)]


class Timings:
    """Seconds of a step and pictures embedded a second, asked once of what costs the same.

    Arms take turns and the least counts: on a busy machine a step takes up to twice as much.
    """

    def __init__(self, bench: Bench, repeats: int) -> None:
        self.bench, self.repeats = bench, repeats
        self.path = bench.work / "timings.json"
        self.known: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def knows(self, arm: CopyArm) -> bool:
        """Whether an arm has been timed."""
        return self._shape(arm) in self.known and (not arm.trained or self._step(arm) in self.known)

    def time(self, arms: Sequence[CopyArm]) -> None:
        """Time what is not known of ``arms``."""
        steps = {self._step(a): a for a in arms if a.trained and self._step(a) not in self.known}
        taken: dict[str, list[float]] = {key: [] for key in steps}
        for _ in range(TURNS):
            for key, arm in steps.items():
                stamps: list[float] = []
                recipe = lengthened(arm.change(self.bench.base), TIMED)
                with tempfile.TemporaryDirectory() as out:
                    train_arm(self.bench, arm, recipe, Path(out), stamps)
                taken[key] += [b - a for a, b in pairwise(stamps)]
        shapes = {self._shape(arm): arm for arm in arms if self._shape(arm) not in self.known}
        students = [arm.build(arm.change(self.bench.base)).eval() for arm in shapes.values()]
        rates = speeds(students, self.repeats) if students else []
        self.known |= {key: min(times) for key, times in taken.items()}
        self.known |= dict(zip(shapes, rates, strict=True))
        write_whole(self.path, json.dumps(self.known))

    def seconds(self, arm: CopyArm) -> float:
        """Of one step."""
        return max(1e-3, float(self.known[self._step(arm)]))

    def images(self, arm: CopyArm) -> dict[str, float]:
        """Embedded a second, by the batch."""
        found: dict[str, float] = self.known[self._shape(arm)]
        return found

    def _step(self, arm: CopyArm) -> str:
        """What a step's cost depends on: the network, and which losses and averages there are.

        Where its pictures are from, how angles and weights are set and whether a bank is asked
        beside changes it by less than a busy machine can tell: such arms have the recipe's steps.
        """
        recipe = arm.change(self.bench.base)
        terms = {
            name: bool(getattr(recipe, name).weight)
            for name in ("distortions", "semantics", "paths")
        }
        average, teachers = recipe.schedule.average, recipe.teachers
        of = f"{recipe.network} {terms} {average} {teachers}"
        return f"step {arm.build.__name__} {of}"

    def _shape(self, arm: CopyArm) -> str:
        kind = arm.build.__name__ if arm.trained else arm.name
        return f"shape {kind} {arm.change(self.bench.base).network}"


@dataclass(frozen=True)
class ArmPlan:
    """An arm, its recipe with the steps that it is given, seconds of one, and where it is kept."""

    arm: CopyArm
    recipe: CopiesRecipe
    each: float
    folder: Path

    @property
    def kept(self) -> TrainedArm | None:
        """What is known of an arm that has ended."""
        path = self.folder / ENDED
        if not path.exists():
            return None
        held = json.loads(path.read_text())
        return TrainedArm(**{**held, "scores": CopyScores(**held["scores"])})


def planned(bench: Bench, arm: CopyArm, timings: Timings, seconds: float) -> ArmPlan:
    """As many steps as fit ``seconds``; the folder's name is of all that the result depends on."""
    recipe, each = arm.change(bench.base), 0.0
    if arm.trained:
        each = timings.seconds(arm)
        recipe = lengthened(recipe, max(2, int(seconds / each)))
    of = f"{arm.name} {recipe!r} {ROUNDS} {bench.on.pairs}"
    return ArmPlan(arm, recipe, each, bench.work / hashlib.sha256(of.encode()).hexdigest()[:16])


def run_arm(bench: Bench, plan: ArmPlan, timings: Timings, commit: str) -> TrainedArm:
    """Train and judge an arm, or say what is known of it."""
    if plan.kept is not None:
        return plan.kept
    arm, recipe = plan.arm, plan.recipe
    steps = recipe.schedule.steps if arm.trained else 0
    student = train_arm(bench, arm, recipe, plan.folder) if steps else arm.build(recipe)
    found = TrainedArm(
        arm.heading,
        arm.name,
        sum(parameter.numel() for parameter in student.network.parameters()),
        steps,
        steps * recipe.batch,
        round(1000 * plan.each, 1),
        timings.images(arm),
        scores(student, recipe.network.side, bench.on, bench.base.seed),
        commit,
    )
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_whole(plan.folder / ENDED, json.dumps(asdict(found)))
    shutil.rmtree(plan.folder / "checkpoints", ignore_errors=True)
    return found
