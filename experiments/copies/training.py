"""What a copy network's recipe is worth: each change trained for equal seconds, and measured.

    python -m experiments copies.training --data data --recipe lipsim-tiny --seconds 12 \
        --device cuda --out docs/results

Every variant starts from the same random weights and is trained for so many seconds; what it knows
is measured on the pictures that the recipe's sources hold out, under random edits drawn from a
seed of their own: the share found where a given share of the pairs of strangers is let in, and the
share found and certified at l2 = 4, 16 and 32 at 299 px, for whole pictures with one threshold, and
for nineteen views of the stored one, each with a threshold of its own (tau + b/2, b its highest
cosine with a background). The shipped networks of the same shape are measured beside.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from experiments.conditions import Conditions, conditions, write_result
from percert.device import resolve_device
from percert.metrics.certified.exported import NetworkShape
from percert.metrics.certified.lipsim import LipSimTiny
from percert.search.ingest.views import VIEW_SETS, find_view
from percert.training.copies import CopiesRecipe, read_copies_recipe
from percert.training.copies.batches import CopyBatch, CopyBatches, read_corpus
from percert.training.copies.edits import HARD, EditStrength, random_edit
from percert.training.copies.pictures import Pictures, read_pictures
from percert.training.copies.run import CopyTask, Lesson, bank_of, network_shape
from percert.training.engine import Devices, run, start_fabric
from percert.training.student import Student, new_student

#: Changes of the recipe, each kept if it scores better than what was best before.
VARIANTS: Mapping[str, Callable[[CopiesRecipe], CopiesRecipe]] = {
    "threshold 60": lambda r: replace(r, copies=replace(r.copies, threshold_degrees=60.0)),
    "hardest 5 %": lambda r: replace(r, copies=replace(r.copies, hardest=0.05)),
    "semantics 1.5": lambda r: replace(r, semantics=replace(r.semantics, weight=1.5)),
    "margin 5": lambda r: replace(r, copies=replace(r.copies, margin=5.0)),
    "half the batch": lambda r: replace(
        r, data=tuple(replace(s, share=s.share // 4 * 2) for s in r.data)
    ),
    "128 px inside": lambda r: replace(
        r,
        network=replace(r.network, width=64, depths=(3, 3, 3, 3)),
        copies=replace(r.copies, margin=2 * r.copies.margin, temperature=2 * r.copies.temperature),
    ),
}
USUAL = EditStrength(crop=0.8, crop_share=0.4, hard_share=0.0, brightness=0.3, contrast=0.3)
HARDER = EditStrength(
    crop=0.8, crop_share=0.3, hard_share=1.0, degrees=20.0, collage=0.5,
    hard=tuple(kind for kind in HARD if kind != "blend"),
)  # fmt: skip
#: The length of a tamper of 299 px, in pixels of a network that sees a side of s: s/299 of it.
SIDE = 299
LENGTHS = (0.0, 4.0, 16.0, 32.0)
RATES = (1e-3, 1e-6)
ROUNDS = 4


@dataclass(frozen=True)
class Trial:
    """``found`` are shares at :data:`LENGTHS`, by rule, rate and kind of edits."""

    name: str
    steps: int
    pictures: int
    milliseconds: float
    found: dict[str, list[float]]


@dataclass(frozen=True)
class TrainingResult:
    benchmark: str
    recipe: str
    seconds: float
    trials: list[Trial]
    conditions: Conditions


@dataclass(frozen=True)
class HeldOutPictures:
    """uint8 pictures on the device: photographs, strangers, and a background of neither."""

    photographs: Tensor
    strangers: Tensor
    background: Tensor


def held_out(recipe: CopiesRecipe, trained: Tensor, root: Path, cache: Path) -> HeldOutPictures:
    """What the first source holds out, against what the last does; the background is trained on."""
    photographs, strangers = (
        read_pictures(root, source, recipe.seed, cache, held_out=True).images[:limit]
        for source, limit in ((recipe.data[0], 1000), (recipe.data[-1], 4000))
    )
    background = trained[::30][:2000]
    return HeldOutPictures(
        *(part.to(trained.device) for part in (photographs, strangers, background))
    )


def embed_pictures(student: Student, images: Tensor, side: int, batch: int = 512) -> Tensor:
    """Embeddings of uint8 or [0, 1] pictures, seen at ``side`` px, counted from a plain one's."""
    plain = student.network(torch.full((1, 3, side, side), 0.5, device=images.device))
    parts = [
        student.network(_resized(part.float() / 255 if part.dtype == torch.uint8 else part, side))
        for part in torch.split(images, batch)
    ]
    embeddings: Tensor = torch.cat(parts) - plain
    return embeddings


def edited_pictures(held: HeldOutPictures, side: int, rounds: int = ROUNDS) -> dict[str, Tensor]:
    """Random edits of the photographs, ``rounds`` of each, for a network that sees ``side`` px.

    Those of one kind are the same whenever they are asked for: of the usual edits, then the hard.
    """
    large = _resized(held.photographs.float() / 255, 2 * side)
    others = _resized(held.strangers[: len(large)].float() / 255, 2 * side)
    large = large[: len(others)]
    generator = Generator(large.device).manual_seed(77)
    return {
        name: torch.cat(
            [
                random_edit(large, others, others.roll(1, 0), strength, generator)
                for _ in range(rounds)
            ]
        )
        for name, strength in (("usual", USUAL), ("hard", HARDER))
    }


def shares_found(
    queries: Tensor, views: Sequence[Tensor], own: Sequence[Tensor], tau: Tensor, side: int
) -> list[float]:
    """Shares of edits that are within the angle of a view, at :data:`LENGTHS` of 299 px.

    ``own`` is by how much each view's least cosine is above ``tau``. Edits come in rounds of all.
    """
    best = torch.full((len(queries),), -1.0, device=queries.device)
    rounds = len(queries) // len(views[0])
    for view, b in zip(views, own, strict=True):
        cosine = (F.normalize(queries, dim=1) * view.repeat(rounds, 1)).sum(1)
        room = torch.arccos((tau + b.repeat(rounds)).clamp(-1, 1)) - torch.arccos(
            cosine.clamp(-1, 1)
        )
        radius = queries.norm(dim=1) * SIDE / side * room.clamp(-1, math.pi / 2).sin()
        best = torch.maximum(best, radius)
    return [round(float((best > length).float().mean()), 4) for length in LENGTHS]


@torch.no_grad()
def measure(student: Student, side: int, held: HeldOutPictures) -> dict[str, list[float]]:
    """Shares found and certified of two kinds of edits, by two rules, at two rates."""
    student.eval()
    embed = partial(embed_pictures, student, side=side)
    edited = {name: embed(edits) for name, edits in edited_pictures(held, side).items()}
    cuts = [find_view(name) for name in VIEW_SETS["thorough"]]
    whole = held.photographs[: len(held.strangers)]
    stored = [F.normalize(embed(cut(whole)), dim=1) for cut in cuts if cut.asked == "whole"]
    strangers = F.normalize(embed(held.strangers), dim=1)
    background = F.normalize(embed(held.background), dim=1)
    found = {}
    for rule, views, share in (("whole", stored[:1], 0.0), ("views", stored, 0.5)):
        own = [share * (view @ background.T).amax(1) for view in views]
        pairs = torch.stack([v @ strangers.T - b[:, None] for v, b in zip(views, own, strict=True)])
        near = pairs.amax(0).flatten()
        for rate in RATES:
            tau = near.topk(max(1, int(rate * len(near)))).values[-1]
            for name, queries in edited.items():
                found[f"{rule}, {rate:g}, {name}"] = shares_found(queries, views, own, tau, side)
    return found


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    smaller = images.shape[-1] > side
    size = (side, side)
    resized = F.interpolate(images, size, mode="bilinear", antialias=smaller, align_corners=False)
    return resized.clamp(0, 1)


def score(found: Mapping[str, Sequence[float]]) -> float:
    """What decides: found and far certified by views at 1e-6, hard edits, and whole pictures."""
    usual, hard = found["views, 1e-06, usual"], found["views, 1e-06, hard"]
    whole = found["whole, 1e-06, usual"][0] + found["whole, 0.001, usual"][0]
    return usual[0] + usual[2] + usual[3] + hard[0] + hard[1] + whole


def fresh_student(recipe: CopiesRecipe) -> Student:
    """The network of a recipe before it is trained."""
    student = new_student(network_shape(recipe), recipe.name, recipe.seed)
    student.centred = recipe.centred
    return student


def train_steps(
    recipe: CopiesRecipe,
    corpus: list[Pictures],
    steps: int,
    device: torch.device,
    out: Path,
    *,
    student: Student | None = None,
    lessons: Sequence[Lesson] = (),
    save_every: int = 0,
    watch: Callable[[], None] | None = None,
) -> Student:
    """The student of a recipe after ``steps``, from the last checkpoint in ``out``.

    It begins as ``student`` where one is given, follows ``lessons``, the teachers', and calls
    ``watch`` whenever a step begins.
    """
    student = student or fresh_student(recipe)
    every = save_every or steps
    schedule = replace(recipe.schedule, steps=steps, save_every=every, log_every=every)
    bank = bank_of(recipe, device)
    task = CopyTask(recipe, list(lessons), bank)
    run(
        WatchedTask(task, watch) if watch else task,
        student,
        CopyBatches(recipe, corpus, device),
        schedule.engine(recipe.batch),
        start_fabric(Devices(device.type)),
        out,
        recipe=f"{recipe!r} {steps}",
        state=bank.state if bank else None,
        tensorboard=False,
    )
    return student


@dataclass(frozen=True)
class WatchedTask:
    """A task that says when it begins a step."""

    task: CopyTask
    watch: Callable[[], None]

    def losses(
        self, forward: Any, batch: Sequence[CopyBatch], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        self.watch()
        return self.task.losses(forward, batch, device, gather)


def train(
    recipe: CopiesRecipe, corpus: list[Pictures], seconds: float, device: torch.device
) -> tuple[Student, int, float]:
    """The student of a recipe after so many seconds, its steps, and seconds a step."""

    def once(steps: int) -> tuple[Student, float]:
        start = perf_counter()
        with tempfile.TemporaryDirectory() as out:
            student = train_steps(recipe, corpus, steps, device, Path(out))
        return student, (perf_counter() - start) / steps

    once(2)
    _, each = once(3)
    steps = max(3, int(seconds / each))
    student, each = once(steps)
    return student, steps, each


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What each change of a copy recipe is worth.")
    parser.add_argument("--data", type=Path, required=True, help="the recipe's data folder")
    parser.add_argument("--recipe", default="lipsim-tiny")
    parser.add_argument("--variant", action="append", choices=sorted(VARIANTS), help="repeatable")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each training")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, default=Path("runs/training"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    device = resolve_device(options.device)
    best = replace(read_copies_recipe(options.recipe), teachers=())
    corpus = [one.to(device) for one in read_corpus(best, options.data, options.cache)]
    held = held_out(best, corpus[-1].images, options.data, options.cache)
    trials = []
    for version in (1, 2) if best.network.side == LipSimTiny().resolution[0] else ():
        metric = LipSimTiny(version=version).float()
        shipped = Student(metric.network, NetworkShape(family="tiny")).to(device)  # type: ignore[arg-type]
        trials.append(Trial(metric.name, 0, 0, 0.0, measure(shipped, best.network.side, held)))
    variants = {"the recipe": lambda recipe: recipe} | {
        name: VARIANTS[name] for name in options.variant or VARIANTS
    }
    top = -1.0
    for name, change in variants.items():
        recipe = change(best)
        student, steps, each = train(recipe, corpus, options.seconds, device)
        found = measure(student, recipe.network.side, held)
        trials.append(Trial(name, steps, steps * recipe.batch, round(1000 * each, 1), found))
        print(name, steps, f"{1000 * each:.0f} ms a step, score {score(found):.4f}", flush=True)
        if score(found) > top:
            best, top = recipe, score(found)
    result = TrainingResult(
        "training", options.recipe, options.seconds, trials, conditions(best.seed)
    )
    write_result(options.out / "copies-training.json", result)


if __name__ == "__main__":
    main()
