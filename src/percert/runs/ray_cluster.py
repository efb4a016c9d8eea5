"""Attack a collection on the workers of a Ray cluster; the records are those of one process."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from percert.ray_session import ray_session, worker_count
from percert.runs.attack import attack_items
from percert.runs.engine import Done, Step
from percert.runs.items import ImageItem
from percert.runs.plan import AttackPlan, RayCluster
from percert.runs.tasks import Task, on_device


def attack_items_on_ray(
    task: Task,
    plan: AttackPlan,
    items: Iterable[ImageItem],
    done: Done = frozenset(),
    cluster: RayCluster | None = None,
) -> Iterator[Step]:
    """As :func:`~percert.runs.attack.attack_items`, on Ray; steps come as they end.

    Without the address of a running cluster, Ray is started on this machine and ended again. Each
    of the cluster's workers (default: one a GPU, or one a processor) has a copy of the model, and
    takes ``plan.batch_size`` items at a time. Image files are read by the workers, so each must
    see them under the same path. What comes back is written here. Raises ``ValueError`` where Ray
    is missing, the cluster cannot be reached, or a worker dies.
    """
    cluster = cluster or RayCluster()
    with ray_session(cluster.address, cluster.workers) as ray:
        count, gpu = worker_count(ray, cluster.workers)
        actor = ray.remote(num_cpus=0 if gpu else 1, num_gpus=1 if gpu else 0)(_Worker)
        shared = ray.put((on_device(task, torch.device("cpu")), plan))
        pool = [actor.remote(shared, gpu) for _ in range(count)]
        try:
            yield from _spread(ray, pool, _units(plan, items, done), done)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"ray: a worker failed ({reason}); what is done is kept") from error


class _Worker:
    """An actor: one model, attacking one unit after another."""

    def __init__(self, shared: tuple[Task, AttackPlan], gpu: bool) -> None:
        if gpu:
            device = torch.device("cuda")
        else:
            device = torch.device("cpu")
            torch.set_num_threads(1)  # the processors are shared out among the workers
        task, plan = shared
        self.task = on_device(task, device)
        measures = {
            name: replace(measure, metric=measure.metric.to(device))
            for name, measure in plan.measures.items()
        }
        self.plan = replace(plan, measures=measures)

    def attack(self, items: Sequence[ImageItem], done: Done) -> list[Step]:
        return [_packed(outcome) for outcome in attack_items(self.task, self.plan, items, done)]


def _units(plan: AttackPlan, items: Iterable[ImageItem], done: Done) -> Iterator[list[ImageItem]]:
    """What is not done, by as many as make a batch."""
    todo = (
        item for item in items if any((item.name, attack) not in done for attack in plan.attacks)
    )
    while unit := list(islice(todo, plan.batch_size)):
        yield unit


def _spread(
    ray: Any, pool: Sequence[Any], units: Iterator[list[ImageItem]], done: Done
) -> Iterator[Step]:
    """Keep every actor of the ``pool`` at work; an attack that fails is said once."""
    busy: dict[Any, Any] = {}

    def employ(actor: Any) -> None:
        unit = next(units, None)
        if unit is not None:
            names = {item.name for item in unit}
            known = frozenset(pair for pair in done if pair[0] in names)
            busy[actor.attack.remote(unit, known)] = actor

    for actor in pool:
        employ(actor)
    failed: set[str] = set()
    while busy:
        (ready, *_), _ = ray.wait(list(busy), num_returns=1)
        outcomes = ray.get(ready)
        employ(busy.pop(ready))
        for outcome in outcomes:
            if outcome.failed is None or outcome.failed not in failed:
                yield _unpacked(outcome)
            failed.update([outcome.failed] if outcome.failed else [])


def _packed(outcome: Step) -> Step:
    """Images as bytes, a quarter of the size, for their way back."""
    images = [
        None if image is None else (255 * image).round().to(torch.uint8).contiguous()
        for image in outcome.images
    ]
    return replace(outcome, images=images)


def _unpacked(outcome: Step) -> Step:
    images = [None if image is None else image.float() / 255 for image in outcome.images]
    return replace(outcome, images=images)
