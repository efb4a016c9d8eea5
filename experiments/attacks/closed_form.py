"""How near the smallest possible change do the minimal attacks come, where that is known exactly?

    python -m experiments attacks.closed_form --out docs/results

Three classifiers of 8 x 8 images, attacked in float images far from 0 and 1: two classes with
linear logits (Gaussian weights), ten with rows of a Hadamard matrix, whose boundaries are all at
one distance a unit of logits, and a ball, inside and outside. Every attack runs at its default
budget, without rounding. The distance is divided by the closed form's; calls are images passed
through the model.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from percert.attacks import Untargeted, parse_attack
from percert.attacks.goal import Classifier
from percert.attacks.run import CountedModel
from percert.attacks.threat import Norm, length
from percert.reports.table import Column, Table

SIDE = 8
PIXELS = 3 * SIDE * SIDE
#: The attacks that are raced by default, each in the norm that it minimises.
RACES: tuple[tuple[str, Norm], ...] = (
    ("ddn:levels=0", "l2"),
    ("fmn:norm=l2,rescale_steps=0", "l2"),
    ("fmn:norm=l1,rescale_steps=0", "l1"),
    ("fmn:norm=linf,rescale_steps=0", "linf"),
    ("cw:rescale_steps=0", "l2"),
    ("fab:norm=l2", "l2"),
    ("fab:norm=linf", "linf"),
)


@dataclass(frozen=True, eq=False)
class Course:
    """A classifier, images that it gets right, and the least distance to an error, by norm."""

    name: str
    model: Classifier
    images: Tensor
    labels: Tensor
    nearest: dict[Norm, Tensor]


@dataclass(frozen=True)
class Ran:
    """How one attack did on one course; ``ratio`` is distance / optimum of the successes."""

    attack: str
    course: str
    norm: str
    images: int
    success: float
    mean_ratio: float
    max_ratio: float
    calls: float


@dataclass(frozen=True)
class ClosedFormResult:
    """All races of one run."""

    benchmark: str
    conditions: Conditions
    races: list[Ran]


def two_classes(count: int, seed: int = 0) -> Course:
    """Logits +-w . (x - 1/2), scaled: the distance is the gap over the dual norm of w."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(PIXELS, generator=source)
    scale = 10 / weight.norm()
    images = 0.5 + 0.02 * (torch.rand(count, PIXELS, generator=source) - 0.5)
    images = images - ((images - 0.5) @ weight)[:, None] * weight / weight.square().sum()
    side = torch.arange(count) % 2
    away = 0.04 + 0.05 * torch.rand(count, generator=source)
    images = images + ((2 * side - 1) * away)[:, None] * weight / weight.norm()

    def model(batch: Tensor) -> Tensor:
        value = scale * ((batch - 0.5).flatten(1) @ weight)
        return torch.stack([-value / 2, value / 2], 1)

    gap = away * weight.norm()
    nearest: dict[Norm, Tensor] = {
        "l1": gap / weight.abs().max(),
        "l2": away,
        "linf": gap / weight.abs().sum(),
    }
    return Course("two classes", model, _pictures(images), side, nearest)


def ten_classes(count: int, seed: int = 0) -> Course:
    """Ten rows of a Hadamard matrix: all differences of two rows have the same norms."""
    source = torch.Generator().manual_seed(seed)
    hadamard = torch.ones(1, 1)
    while len(hadamard) < 64:
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1),
                              torch.cat([hadamard, -hadamard], 1)])  # fmt: skip
    rows = hadamard[1:11].repeat_interleave(3, 1)
    labels = torch.arange(count) % 10
    images = 0.5 + 0.02 * (torch.rand(count, PIXELS, generator=source) - 0.5)
    images = images + 0.012 * rows[labels]

    def model(batch: Tensor) -> Tensor:
        return (batch - 0.5).flatten(1) @ rows.T * 4

    logits = model(images)
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    gap = (logits.gather(1, labels[:, None])[:, 0] - others) / 4
    difference = rows[0] - rows[1]
    nearest: dict[Norm, Tensor] = {
        "l1": gap / difference.abs().max(),
        "l2": gap / difference.norm(),
        "linf": gap / difference.abs().sum(),
    }
    return Course("ten classes", model, _pictures(images), labels, nearest)


def ball(count: int, seed: int = 0) -> Course:
    """Inside or outside of a ball of radius 0.6: the l2 distance is that to its surface."""
    source = torch.Generator().manual_seed(seed)
    direction = torch.randn(count, PIXELS, generator=source)
    direction = direction / direction.norm(dim=1, keepdim=True)
    inside = torch.arange(count) % 2
    distance = 0.1 + 0.3 * torch.rand(count, generator=source)
    radius = 0.6 + (1 - 2 * inside) * distance
    images = 0.5 + radius[:, None] * direction

    def model(batch: Tensor) -> Tensor:
        value = 10 * (0.6 - (batch - 0.5).flatten(1).norm(dim=1))
        return torch.stack([-value / 2, value / 2], 1)

    return Course("ball", model, _pictures(images), inside, {"l2": distance})


def courses(count: int) -> list[Course]:
    """The three courses, ``count`` images each."""
    return [two_classes(count), ten_classes(count), ball(count)]


def run(attack: str, norm: Norm, course: Course) -> Ran:
    """One attack, written as on a command line, on one course."""
    model = CountedModel(course.model)
    moved = parse_attack(attack)[1](model, course.images, Untargeted(course.labels))
    ratio = length(moved - course.images, norm) / course.nearest[norm]
    there = course.model(moved).argmax(1) != course.labels
    ratio = ratio[there] if there.any() else ratio.new_full((1,), -1.0)
    return Ran(
        attack=attack,
        course=course.name,
        norm=norm,
        images=len(there),
        success=there.float().mean().item(),
        mean_ratio=ratio.mean().item(),
        max_ratio=ratio.max().item(),
        calls=model.calls / len(there),
    )


def _pictures(flat: Tensor) -> Tensor:
    return flat.view(-1, 3, SIDE, SIDE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Minimal attacks against closed forms.")
    parser.add_argument("--out", type=Path, help="folder for closed-form.json")
    parser.add_argument("--count", type=int, default=20, help="images of each classifier")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    races = []
    for attack, norm in RACES:
        for course in courses(options.count):
            if norm not in course.nearest:
                continue
            ran = run(attack, norm, course)
            races.append(ran)
            print(ran, file=sys.stderr, flush=True)
    print(report(races))
    if options.out is not None:
        result = ClosedFormResult("closed_form", conditions(0), races)
        write_result(options.out / "closed-form.json", result)
        (options.out / "closed-form.md").write_text(report(races))


def report(races: Sequence[Ran]) -> str:
    """The page: one row a race."""
    columns: list[Column[Ran]] = [
        Column("attack", lambda ran: f"`{ran.attack}`"),
        Column("classifier", attrgetter("course"), side="right"),
        Column("norm", attrgetter("norm"), side="right"),
        Column("success", attrgetter("success"), ".2f"),
        Column("distance / optimum", attrgetter("mean_ratio"), ".4f"),
        Column("worst", attrgetter("max_ratio"), ".4f"),
        Column("calls", attrgetter("calls"), ".0f"),
    ]
    table = Table.of(races, columns).markdown()
    return f"# Minimal attacks against closed forms\n\n{ABOUT}\n{table}"


ABOUT = """Distance found over the least possible one, mean and worst over the images, at default
budgets, in floats (`python -m experiments attacks.closed_form`, whose head describes the
classifiers); calls are images passed through the model for each image.
"""


if __name__ == "__main__":
    main()
