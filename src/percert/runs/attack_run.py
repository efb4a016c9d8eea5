"""An attack run: a set of images attacked into a folder, in this process or on Ray."""

from collections.abc import Callable, Iterable, Sequence

from percert.reports.records import Row
from percert.runs.attack import IterationCallback, attack_items
from percert.runs.engine import Done, Kept, Progress, RunFolder, Step, silent
from percert.runs.items import ImageItem, Sample, check_names
from percert.runs.plan import AttackPlan, RayCluster, record_columns
from percert.runs.tasks import Task


def run_attacks(
    folder: RunFolder,
    task: Task,
    plan: AttackPlan,
    items: Sequence[ImageItem],
    *,
    read: Callable[[ImageItem], Sample] | None = None,
    ray: RayCluster | None = None,
    progress: Progress = silent,
    watching: IterationCallback | None = None,
) -> Kept:
    """Attack ``items`` into ``folder``: images, ``records.parquet`` and ``run.json``.

    What is there already is not done again, whichever of the two ran it, this process or ``ray``.
    Raises ``ValueError`` where two items would be one in records or in files.
    """
    check_names(items)

    def steps(done: Done) -> Iterable[Step]:
        if ray is None:
            return attack_items(task, plan, items, done, watching, read)
        from percert.runs.ray_cluster import attack_items_on_ray

        return attack_items_on_ray(task, plan, items, done, ray)

    attacks = {name: place for place, name in enumerate(plan.attacks)}
    places = {item.name: place for place, item in enumerate(items)}
    return folder.keep(
        record_columns(task.columns, list(plan.measures)),
        steps,
        wanted=[(item.name, attack) for item in items for attack in plan.attacks],
        order=lambda row: (
            attacks.get(row["attack"], len(attacks)),
            places.get(row["image"], len(places)),
        ),
        summary=lambda rows: {
            "images": len(items),
            "clean_accuracy": clean_accuracy(rows, task.kind),
        },
        what="attacking",
        progress=progress,
    )


def clean_accuracy(rows: Sequence[Row], kind: str) -> float | None:
    """The share of the images that were right before anything was done to them.

    ``None`` without rows, and for a task of ``kind`` "embedding", which has no right and wrong.
    """
    if kind == "embedding":
        return None
    right = {row["image"]: row["clean_prediction"] == row["label"] for row in rows}
    return sum(right.values()) / len(right) if right else None
