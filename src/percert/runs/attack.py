"""Attack a set of images: read ahead, batched by size, each batch attacked and judged."""

import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import torch

from percert.attacks.attack import evaluating
from percert.attacks.goal import Model, NonFiniteScores
from percert.attacks.run import AttackResult, run_attack
from percert.check import one_line
from percert.images import ImageError
from percert.metrics.metric import Metric
from percert.runs.engine import Done, Step, batches, read_all, seed_of
from percert.runs.items import ImageItem, Sample, output_name, read_sample
from percert.runs.plan import AttackPlan, folder_names, record_columns
from percert.runs.tasks import Clean, Task, stack

#: Called with (attack, iterations done, iterations in all, images still at work).
IterationCallback: TypeAlias = Callable[[str, int, int, int], None]


def attack_batch(
    task: Task,
    plan: AttackPlan,
    attack: str,
    samples: Sequence[Sample],
    clean: Sequence[Clean],
    watching: IterationCallback | None = None,
) -> Step:
    """Attack ``samples``, all of the same sizes; the rows are in their order."""
    images = stack(task.model, samples)
    side = min(images.shape[2:])
    metrics = {
        name: cast(Metric, measure.metric)
        for name, measure in plan.measures.items()
        if side >= measure.smallest_side
    }
    seeds = [seed_of(plan.seed, sample.item.name) for sample in samples]

    def watch(done: int, total: int, active: int) -> bool:
        if watching is not None:
            watching(attack, done, total, active)
        return True

    result = run_attack(
        cast(Model, task.model),
        images,
        task.goal(samples, clean),
        plan.attacks[attack],
        threat=plan.threat,
        metrics=metrics,
        batch_size=len(samples),
        seeds=torch.tensor(seeds),
        watch=watch,
        seconds=plan.seconds,
    )
    rows = _rows(task, plan, attack, samples, clean, result)
    return Step(rows, list(result.verdict.images_8bit.cpu()) if plan.save else ())


def finite_or_none(value: float) -> float | None:
    """``value``, or nothing for the infinite PSNR of an image that is as it was."""
    return value if math.isfinite(value) else None


def unmoved(
    task: Task, plan: AttackPlan, attack: str, sample: Sample, clean: Clean
) -> dict[str, Any]:
    """The row of a sample that was not attacked."""
    columns = record_columns(task.columns, list(plan.measures))
    row: dict[str, Any] = dict.fromkeys(columns)
    row.update(
        _known(plan, attack, sample, clean),
        attacked=False,
        success=False,
        success_8bit=False,
        outside_8bit=False,
        seconds=0.0,
        cpu_seconds=0.0,
        model_calls=0.0,
        **task.unmoved(sample, clean),
    )
    return row


def _known(plan: AttackPlan, attack: str, sample: Sample, clean: Clean) -> dict[str, Any]:
    _, height, width = sample.image.shape
    return {
        "image": sample.item.name,
        "attack": attack,
        "label": clean.label,
        "clean_prediction": clean.prediction,
        "height": height,
        "width": width,
        "seed": seed_of(plan.seed, sample.item.name),
    }


def _rows(
    task: Task,
    plan: AttackPlan,
    attack: str,
    samples: Sequence[Sample],
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
    folder = folder_names(plan.attacks)[attack]
    rows = []
    outcomes = task.outcome(samples, verdict)
    for i, (sample, one, outcome) in enumerate(zip(samples, clean, outcomes, strict=True)):
        row: dict[str, Any] = dict.fromkeys(columns)
        row.update(
            _known(plan, attack, sample, one),
            attacked=True,
            seconds=result.seconds / len(samples),
            cpu_seconds=result.cpu_seconds / len(samples),
            model_calls=result.model_calls / len(samples),
            file=f"{folder}/{output_name(sample.item.name)}" if plan.save else None,
            **{name: values[i] for name, values in judged.items()},
            **outcome,
        )
        rows.append(row)
    return rows


_Judged: TypeAlias = tuple[Sample, Clean]


def attack_items(
    task: Task,
    plan: AttackPlan,
    items: Iterable[ImageItem],
    done: Done = frozenset(),
    watching: IterationCallback | None = None,
    read: Callable[[ImageItem], Sample] | None = None,
) -> Iterator[Step]:
    """Attack every item with every attack of the ``plan``, but for what is ``done``.

    Images are read once for all attacks, and batched with others of their sizes. An image that is
    bad, or that the model cannot judge (its size, scores that are NaN), and an attack that raises
    are given as steps; such an attack is not tried again.
    """
    todo = (
        item for item in items if any((item.name, attack) not in done for attack in plan.attacks)
    )
    samples = batches(
        read_all(todo, read or read_sample, lambda item: item.name, _why_bad),
        lambda sample: sample.sizes,
        plan.batch_size,
    )
    alive = dict.fromkeys(plan.attacks)
    with evaluating(task.model):
        for batch in batches(
            _judged(task, plan, samples, done), lambda one: one[0].sizes, plan.batch_size
        ):
            if isinstance(batch, Step):
                yield batch
                continue
            for attack in list(alive):
                left = [(s, clean) for s, clean in batch if (s.item.name, attack) not in done]
                for step in _attacked(task, plan, attack, left, watching) if left else ():
                    if step.failed is not None:
                        alive.pop(attack, None)
                    yield step


def _why_bad(item: ImageItem, error: ImageError) -> str:
    itself = error.path == item.source or str(error.path) == item.name
    return error.reason if itself else f"{error.path}: {error.reason}"


def _judged(
    task: Task, plan: AttackPlan, found: Iterable[list[Sample] | Step], done: Done
) -> Iterator[_Judged | Step]:
    """The samples to attack, with the model's clean predictions; steps for all others."""
    for samples in found:
        if isinstance(samples, Step):
            yield samples
            continue
        for one in _looked(task, samples):
            if isinstance(one, Step) or one[1].attack:
                yield one
                continue
            yield Step(
                [
                    unmoved(task, plan, attack, *one)
                    for attack in plan.attacks
                    if (one[0].item.name, attack) not in done
                ]
            )


def _looked(task: Task, samples: list[Sample]) -> Iterator[_Judged | Step]:
    """The samples with what is known of them; those that the model cannot judge as bad ones."""
    try:
        clean = task.look(samples)
    except ValueError as error:
        if len(samples) == 1:
            yield Step(bad=samples[0].item.name, reason=one_line(error, 1000))
            return
        for sample in samples:  # to tell them apart
            yield from _looked(task, [sample])
    else:
        yield from zip(samples, clean, strict=True)


def _attacked(
    task: Task,
    plan: AttackPlan,
    attack: str,
    judged: list[_Judged],
    watching: IterationCallback | None,
) -> Iterator[Step]:
    """One attack on one batch; image by image where the model says NaN of one on the way."""
    samples, clean = [s for s, _ in judged], [c for _, c in judged]
    try:
        yield attack_batch(task, plan, attack, samples, clean, watching)
    except NonFiniteScores as error:
        if len(judged) == 1:
            yield Step(bad=samples[0].item.name, reason=f"attack {attack}: {error}")
            return
        for one in judged:
            yield from _attacked(task, plan, attack, [one], watching)
    except Exception as error:  # noqa: BLE001  # one attack's defect must not end the others
        reason = one_line(error, 1000)
        yield Step(failed=attack, reason=f"{reason}\n{traceback.format_exc()}")
