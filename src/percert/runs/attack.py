"""Attack a set of images: read ahead, batched by size, each batch attacked and judged.

One attack on one batch, as rows of records.

Attack a collection in this process: read ahead, sort out, fill batches of one size, attack.
"""

import hashlib
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from percert.attacks.attack import Attack, evaluating
from percert.attacks.goal import Model, NonFiniteScores
from percert.attacks.run import AttackResult, run_attack
from percert.attacks.threat import Threat
from percert.check import one_line
from percert.images import ImageError
from percert.metrics.metric import Metric
from percert.reports.records import Columns
from percert.runs.items import ImageItem, Sample, output_name, read_sample
from percert.runs.tasks import Clean, Task, stack

#: Called with (attack, iterations done, iterations in all, images still at work).
IterationCallback: TypeAlias = Callable[[str, int, int, int], None]

#: What is always measured, in this order.
DISTANCES = ("l1", "l2", "linf", "ssim")


@dataclass(frozen=True)
class RecordedMetric:
    """A metric (or PSNR) to record, and the least side in pixels for which it means something."""

    metric: nn.Module
    smallest_side: int = 1


@dataclass(frozen=True)
class AttackPlan:
    """How a collection is attacked: the same for all of its images.

    ``attacks`` by what they are called in the records, ``folders`` where the images of each go.
    ``seconds`` bounds the time of one attack on one batch. ``seed`` and an image's name give its
    own seed.
    """

    attacks: Mapping[str, Attack]
    folders: Mapping[str, str]
    measures: Mapping[str, RecordedMetric]
    threat: Threat | None = None
    batch_size: int = 32
    seed: int = 0
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """What came of a step: ``rows`` with the ``images`` (8 bits) of those that were attacked, or an

    item that could not be read or judged (``bad``), or an attack that gave up (``failed``); then
    ``reason``.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    images: list[torch.Tensor | None] = field(default_factory=list)
    bad: ImageItem | None = None
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
    plan: AttackPlan,
    attack: str,
    subjects: Sequence[Sample],
    clean: Sequence[Clean],
    watching: IterationCallback | None = None,
) -> Step:
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
    return Step(rows, list(result.verdict.images_8bit.cpu()))


def finite_or_none(value: float) -> float | None:
    """``value``, or nothing for the infinite PSNR of an image that is as it was."""
    return value if math.isfinite(value) else None


def unmoved(
    task: Task, plan: AttackPlan, attack: str, subject: Sample, clean: Clean
) -> dict[str, Any]:
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


def _known(plan: AttackPlan, attack: str, subject: Sample, clean: Clean) -> dict[str, Any]:
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
    plan: AttackPlan,
    attack: str,
    subjects: Sequence[Sample],
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


#: How many batches' worth of images are held at once, where their sizes differ.
HELD = 8

#: (image, attack) of the rows that are there already.
Done: TypeAlias = Set[tuple[str, str]]
_Known: TypeAlias = tuple[Sample, Clean]
_Sizes: TypeAlias = tuple[tuple[int, ...], ...]


def attack_items(
    task: Task,
    plan: AttackPlan,
    items: Iterable[ImageItem],
    done: Done = frozenset(),
    watching: IterationCallback | None = None,
) -> Iterator[Step]:
    """Attack every item with every attack of the ``plan``, but for what is ``done``.

    Images are read once for all attacks, and batched with others of their sizes. An image that is
    bad, or that the model cannot judge (its size, scores that are NaN), and an attack that raises
    are given as outcomes; such an attack is not tried again.
    """
    with evaluating(task.model):
        yield from _outcomes(task, plan, items, done, watching)


def _outcomes(
    task: Task,
    plan: AttackPlan,
    items: Iterable[ImageItem],
    done: Done,
    watching: IterationCallback | None,
) -> Iterator[Step]:
    alive = dict.fromkeys(plan.attacks)
    waiting: dict[_Sizes, list[_Known]] = {}
    for group in _by_size(_read(task, plan, items, done), plan.batch_size):
        if isinstance(group, Step):
            yield group
            continue
        for known in _looked(task, group):
            if isinstance(known, Step):
                yield known
                continue
            subject, clean = known
            if clean.attack:
                waiting.setdefault(subject.sizes, []).append(known)
            else:
                rows = [
                    unmoved(task, plan, attack, subject, clean)
                    for attack in plan.attacks
                    if (subject.item.name, attack) not in done
                ]
                yield Step(rows, [None] * len(rows))
        for sizes in _full(waiting, plan.batch_size):
            yield from _attack(task, plan, waiting.pop(sizes), alive, done, watching)
    for rest in waiting.values():
        yield from _attack(task, plan, rest, alive, done, watching)


def _read(
    task: Task, plan: AttackPlan, items: Iterable[ImageItem], done: Done
) -> Iterator[Sample | Step]:
    for item in items:
        if all((item.name, attack) in done for attack in plan.attacks):
            continue
        try:
            yield read_sample(item)
        except ImageError as error:
            at = (
                ""
                if error.path == item.source or str(error.path) == item.name
                else f"{error.path}: "
            )
            yield Step(bad=item, reason=f"{at}{error.reason}")


def _by_size(subjects: Iterable[Sample | Step], batch_size: int) -> Iterator[list[Sample] | Step]:
    """Lists of subjects of the same sizes, full ones where possible."""
    waiting: dict[_Sizes, list[Sample]] = {}
    for subject in subjects:
        if isinstance(subject, Step):
            yield subject
            continue
        waiting.setdefault(subject.sizes, []).append(subject)
        for sizes in _full(waiting, batch_size):
            yield waiting.pop(sizes)
    yield from waiting.values()


def _full(waiting: Mapping[_Sizes, Sequence[object]], batch_size: int) -> list[_Sizes]:
    """The sizes whose turn it is: full batches, and the most frequent where too many are held."""
    full = [sizes for sizes, found in waiting.items() if len(found) >= batch_size]
    if not full and sum(map(len, waiting.values())) >= HELD * batch_size:
        full = [max(waiting, key=lambda sizes: len(waiting[sizes]))]
    return full


def _looked(task: Task, subjects: list[Sample]) -> Iterator[_Known | Step]:
    """The subjects with what is known of them; those that the model cannot judge as bad items."""
    try:
        clean = task.look(subjects)
    except ValueError as error:
        if len(subjects) == 1:
            yield Step(bad=subjects[0].item, reason=one_line(error, 1000))
            return
        for subject in subjects:  # to tell them apart
            yield from _looked(task, [subject])
    else:
        yield from zip(subjects, clean, strict=True)


def _attack(
    task: Task,
    plan: AttackPlan,
    known: list[_Known],
    alive: dict[str, None],
    done: Done,
    watching: IterationCallback | None,
) -> Iterator[Step]:
    for start in range(0, len(known), plan.batch_size):
        batch = known[start : start + plan.batch_size]
        for attack in list(alive):
            todo = [(s, clean) for s, clean in batch if (s.item.name, attack) not in done]
            if not todo:
                continue
            for outcome in _attacked(task, plan, attack, todo, watching):
                if outcome.failed is not None:
                    alive.pop(attack, None)
                yield outcome


def _attacked(
    task: Task,
    plan: AttackPlan,
    attack: str,
    known: list[_Known],
    watching: IterationCallback | None,
) -> Iterator[Step]:
    """One attack on one batch; image by image where the model says NaN of one on the way."""
    subjects, clean = [s for s, _ in known], [c for _, c in known]
    try:
        yield attack_batch(task, plan, attack, subjects, clean, watching)
    except NonFiniteScores as error:
        if len(known) == 1:
            yield Step(bad=subjects[0].item, reason=f"attack {attack}: {error}")
            return
        for one in known:
            yield from _attacked(task, plan, attack, [one], watching)
    except Exception as error:  # noqa: BLE001  # one attack's defect must not end the others
        reason = one_line(error, 1000)
        yield Step(failed=attack, reason=f"{reason}\n{traceback.format_exc()}")
