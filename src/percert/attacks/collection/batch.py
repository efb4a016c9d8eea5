"""One attack on one batch, as rows of records."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from percert.attacks.attack import Attack
from percert.attacks.collection.items import Item, Subject, output_name
from percert.attacks.collection.tasks import Clean, Task, stack
from percert.attacks.goal import Model
from percert.attacks.run import AttackResult, run_attack
from percert.attacks.threat import Threat
from percert.metrics.metric import Metric
from percert.reports.records import Columns

#: Called with (attack, iterations done, iterations in all, images still at work).
Watching: TypeAlias = Callable[[str, int, int, int], None]

#: What is always measured, in this order.
DISTANCES = ("l1", "l2", "linf", "ssim")


@dataclass(frozen=True)
class Measure:
    """A metric (or PSNR) to record, and the least side in pixels for which it means something."""

    metric: nn.Module
    smallest_side: int = 1


@dataclass(frozen=True)
class Plan:
    """How a collection is attacked: the same for all of its images.

    ``attacks`` by what they are called in the records, ``folders`` where the images of each go.
    ``seconds`` bounds the time of one attack on one batch. ``seed`` and an image's name give its
    own seed.
    """

    attacks: Mapping[str, Attack]
    folders: Mapping[str, str]
    measures: Mapping[str, Measure]
    threat: Threat | None = None
    batch_size: int = 32
    seed: int = 0
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a step: ``rows`` with the ``images`` (8 bits) of those that were attacked, or an

    item that could not be read or judged (``bad``), or an attack that gave up (``failed``); then
    ``reason``.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    images: list[torch.Tensor | None] = field(default_factory=list)
    bad: Item | None = None
    failed: str | None = None
    reason: str = ""


def record_columns(task_columns: Columns, measures: Sequence[str]) -> dict[str, type]:
    """The columns of the records: one row an image and attack.

    ``prediction`` and the distances are those of the 8-bit image; ``outside_8bit`` says that the
    goal is reached by an 8-bit image, but only outside of what was allowed. ``seconds`` of
    wall-clock time, ``cpu_seconds`` of this process and ``model_calls`` are an image's share of its
    batch. ``file`` is the path of the PNG from the output folder. What does not exist is null.
    """
    return {
        "image": str,
        "attack": str,
        "label": int,
        "clean_prediction": int,
        "prediction": int,
        "attacked": bool,
        "success": bool,
        "success_8bit": bool,
        "within_threat": bool,
        "within_threat_8bit": bool,
        "outside_8bit": bool,
        "margin": float,
        "margin_8bit": float,
        **dict.fromkeys((*DISTANCES, *measures), float),
        **task_columns,
        "seconds": float,
        "cpu_seconds": float,
        "model_calls": float,
        "height": int,
        "width": int,
        "seed": int,
        "file": str,
    }


def seed_of(seed: int, name: str) -> int:
    """An image's own seed: whatever else is attacked, in whatever order, it stays the same.

    >>> seed_of(0, "a.png") != seed_of(1, "a.png") != seed_of(1, "b.png")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")


def attack_batch(
    task: Task,
    plan: Plan,
    attack: str,
    subjects: Sequence[Subject],
    clean: Sequence[Clean],
    watching: Watching | None = None,
) -> Outcome:
    """Attack ``subjects``, all of the same sizes; the rows are in their order."""
    images = stack(task.model, subjects)
    side = min(images.shape[2:])
    metrics = {
        name: cast(Metric, measure.metric)
        for name, measure in plan.measures.items()
        if side >= measure.smallest_side
    }
    seeds = [seed_of(plan.seed, subject.item.name) for subject in subjects]

    def watch(done: int, total: int, active: int) -> bool:
        if watching is not None:
            watching(attack, done, total, active)
        return True

    result = run_attack(
        plan.attacks[attack],
        cast(Model, task.model),
        images,
        task.goal(subjects, clean),
        threat=plan.threat,
        metrics=metrics,
        batch_size=len(subjects),
        seeds=torch.tensor(seeds),
        watch=watch,
        seconds=plan.seconds,
    )
    rows = _rows(task, plan, attack, subjects, clean, result)
    return Outcome(rows, list(result.verdict.images_8bit.cpu()))


def finite_or_none(value: float) -> float | None:
    """``value``, or nothing for the infinite PSNR of an image that is as it was."""
    return value if math.isfinite(value) else None


def unmoved(task: Task, plan: Plan, attack: str, subject: Subject, clean: Clean) -> dict[str, Any]:
    """The row of a subject that was not attacked."""
    columns = record_columns(task.columns, list(plan.measures))
    row: dict[str, Any] = dict.fromkeys(columns)
    row.update(
        _known(plan, attack, subject, clean),
        attacked=False,
        success=False,
        success_8bit=False,
        outside_8bit=False,
        seconds=0.0,
        cpu_seconds=0.0,
        model_calls=0.0,
        **task.unmoved(subject, clean),
    )
    return row


def _known(plan: Plan, attack: str, subject: Subject, clean: Clean) -> dict[str, Any]:
    _, height, width = subject.image.shape
    return {
        "image": subject.item.name,
        "attack": attack,
        "label": clean.label,
        "clean_prediction": clean.prediction,
        "height": height,
        "width": width,
        "seed": seed_of(plan.seed, subject.item.name),
    }


def _rows(
    task: Task,
    plan: Plan,
    attack: str,
    subjects: Sequence[Subject],
    clean: Sequence[Clean],
    result: AttackResult,
) -> list[dict[str, Any]]:
    verdict = result.verdict
    judged: dict[str, list[Any]] = {
        "success": verdict.success.tolist(),
        "success_8bit": verdict.success_8bit.tolist(),
        "within_threat": verdict.within_threat.tolist(),
        "within_threat_8bit": verdict.within_threat_8bit.tolist(),
        "outside_8bit": verdict.outside_8bit.tolist(),
        "margin": verdict.margin.tolist(),
        "margin_8bit": verdict.margin_8bit.tolist(),
        **{
            name: [finite_or_none(value) for value in values.tolist()]
            for name, values in verdict.distances.items()
        },
    }
    columns = record_columns(task.columns, list(plan.measures))
    rows = []
    outcomes = task.outcome(subjects, verdict)
    for i, (subject, one, outcome) in enumerate(zip(subjects, clean, outcomes, strict=True)):
        row: dict[str, Any] = dict.fromkeys(columns)
        row.update(
            _known(plan, attack, subject, one),
            attacked=True,
            seconds=result.seconds / len(subjects),
            cpu_seconds=result.cpu_seconds / len(subjects),
            model_calls=result.model_calls / len(subjects),
            file=f"{plan.folders[attack]}/{output_name(subject.item.name)}",
            **{name: values[i] for name, values in judged.items()},
            **outcome,
        )
        rows.append(row)
    return rows
