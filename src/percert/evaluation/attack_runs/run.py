"""Attack a classifier or a metric on a set of images, from settings to the files of a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from percert.check import Argument, ArgumentError, Wording
from percert.device import resolve_device
from percert.evaluation.attack_runs.pages import write_attack_report
from percert.images import LeftOut
from percert.images.walk import listed, listed_left_out
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric
from percert.metrics.seen_study import OBSERVERS, observers_words
from percert.models import load_classifier
from percert.reports import AttackSummary, summarise_attacks
from percert.reports.attack_summary import rounding_words
from percert.reports.table import Column, Table, number, percent
from percert.runs.attack import IterationCallback
from percert.runs.attack_run import clean_accuracy, run_attacks
from percert.runs.engine import Kept, Progress, RunFolder, RunResult, silent
from percert.runs.items import ImageItem, Sample, find_items, read_triplets
from percert.runs.labels import number_labels, probe, with_labels
from percert.runs.plan import AttackPlan, RayCluster, attacks_for, parse_threat, recorded_metrics
from percert.runs.tasks import ClassifierTask, EmbeddingTask, Task, TripletTask


@dataclass(frozen=True, kw_only=True)
class AttackRecipe:
    """How a set is attacked and what is recorded, whatever is attacked.

    ``attacks`` are names of the catalog with their settings (``pgd:eps=1``). ``threat`` is what
    counts as allowed, such as ``linf:8/255``, and ``confidence`` by how much a goal is to be
    exceeded, in logits. ``metrics`` are recorded beside l1, l2, linf, SSIM and ``seen``, each with
    a file of weights or ``None``; ``psnr``, in dB, is one too. ``seconds`` bounds one attack on one
    batch. ``save`` keeps the attacked images. With ``ray`` the workers of a cluster attack.
    """

    attacks: tuple[str, ...]
    threat: str | None = None
    metrics: Mapping[str, str | Path | None] = field(default_factory=dict)
    confidence: float = 0.0
    attack_misclassified: bool = False
    batch_size: int = 32
    limit: int | None = None
    seconds: float | None = None
    seed: int = 0
    save: bool = True
    device: str = "auto"
    ray: RayCluster | None = None


@dataclass(frozen=True, kw_only=True)
class ClassifierSet:
    """A classifier and the images that it is to misclassify.

    ``images`` is a folder or a parquet file; ``labels`` a CSV file of classes that count from
    ``labels_from``, found by :func:`~percert.runs.labels.with_labels`. ``targets`` is a column of
    it, or the number of one class for all: attacks then aim at these.
    """

    images: Path
    model: str = "efficientnet-lite0"
    weights: Path | None = None
    labels: Path | None = None
    labels_from: Literal["auto", "0", "1"] = "auto"
    image_column: str | None = None
    label_column: str | None = None
    targets: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricSet:
    """A metric, and the triplets whose choice is to be turned, or the images it is to displace.

    ``triplets`` is a CSV file, whose paths count from the folder ``images`` or its own; for the
    goal "embedding" ``images`` are moved, ``beyond`` a squared distance if there is one.
    """

    metric: str = "lipsim-tiny"
    checkpoint: Path | None = None
    goal: Literal["triplet", "embedding"] = "triplet"
    triplets: Path | None = None
    images: Path | None = None
    beyond: float | None = None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A prepared attack run: the settings for its ``run.json``, and how samples are read."""

    task: Task
    items: Sequence[ImageItem]
    settings: Mapping[str, Any]
    left_out: Sequence[LeftOut] = ()
    read: Callable[[ImageItem], Sample] | None = None


def attack_set(
    attacked: ClassifierSet | MetricSet,
    recipe: AttackRecipe,
    out: Path,
    *,
    command: Sequence[str] = (),
    progress: Progress = silent,
    watching: IterationCallback | None = None,
    warn: Callable[[Wording], object] = lambda wording: None,
) -> RunResult:
    """Attack a set into the folder ``out``: images, ``records.parquet``, a report and ``run.json``.

    A run that was stopped goes on; attacks can be added. ``warn`` is told what is doubtful before
    anything is attacked. Raises ``ValueError`` for settings that make no sense, and where ``out``
    holds a run with others; what cannot be read, and attacks that gave up, are in the result.
    """
    threat = None if recipe.threat is None else parse_threat(recipe.threat)
    goal = "classifier" if isinstance(attacked, ClassifierSet) else attacked.goal
    attacks = attacks_for(recipe.attacks, goal)
    # On Ray this process only looks at the first images; the workers have the GPUs.
    device = str(resolve_device("cpu" if recipe.ray else recipe.device))
    prepared = (
        _classifier(attacked, recipe, device, warn)
        if isinstance(attacked, ClassifierSet)
        else _metric(attacked, recipe, device)
    )
    plan = AttackPlan(
        attacks=attacks,
        measures=recorded_metrics({OBSERVERS: None, **recipe.metrics}, device),
        threat=threat,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        seconds=recipe.seconds,
        save=recipe.save,
    )
    settings = {
        "goal": goal,
        **prepared.settings,
        "confidence": recipe.confidence,
        "threat": recipe.threat,
        "metrics": list(plan.measures),
        "attack_misclassified": recipe.attack_misclassified,
        "seconds_a_batch": recipe.seconds,
        "seed": recipe.seed,
    }
    folder = RunFolder(out, settings, device=device, seed=recipe.seed, command=command)
    kept = run_attacks(
        folder,
        prepared.task,
        plan,
        prepared.items,
        read=prepared.read,
        ray=recipe.ray,
        progress=progress,
        watching=watching,
    )
    try:
        write_attack_report(out)
    except ValueError as error:  # an attack that went well does not fail for want of what draws it
        warn(Wording(f"no report.html: {error}"))
    return _result(kept, prepared, plan, folder)


def _classifier(
    chosen: ClassifierSet, recipe: AttackRecipe, device: str, warn: Callable[[Wording], object]
) -> _Prepared:
    targets, labels = chosen.targets, chosen.labels
    target_class = int(targets) if targets is not None and targets.isdigit() else None
    left_out: list[LeftOut] = []
    items = find_items(chosen.images, left_out)
    if labels is not None:
        found = len(items)
        items = with_labels(
            items,
            labels,
            image_column=chosen.image_column,
            label_column=chosen.label_column,
            target_column=targets if target_class is None else None,
        )
        if len(items) < found:
            warn(Wording(f"{found - len(items)} of {found} images have no label, left out"))
    elif targets is not None and target_class is None:
        raise ArgumentError(
            Argument("targets"), ": a column needs ", Argument("labels"), ", the file that has it"
        )
    if target_class is not None:
        items = [replace(item, target=target_class) for item in items]
    network = load_classifier(chosen.model, device, chosen.weights)
    items = items[: recipe.limit]
    seen = probe(network, items, batch_size=recipe.batch_size)
    numbered = number_labels(items, seen, chosen.labels_from, str(labels or chosen.images))
    for warning in numbered.warnings:
        warn(warning)
    task = ClassifierTask(
        network, targets is not None, recipe.confidence, recipe.attack_misclassified
    )
    settings = {
        "images": str(chosen.images.resolve()),
        "labels": labels and str(labels.resolve()),
        "labels_from": numbered.base,
        "targets": targets,
        "model": chosen.model,
        "weights_sha256": weights_hash(network),
    }
    return _Prepared(task, numbered.items, settings, left_out, seen.read)


def _metric(chosen: MetricSet, recipe: AttackRecipe, device: str) -> _Prepared:
    left_out: list[LeftOut] = []
    if chosen.goal == "triplet":
        if chosen.triplets is None:
            raise ValueError("triplets: expected a CSV file of them, found none")
        items = read_triplets(chosen.triplets, chosen.images)
    else:
        if chosen.images is None:
            raise ValueError("images: expected a folder whose embeddings are moved, found none")
        items = find_items(chosen.images, left_out)
    metric: Any = create_metric(chosen.metric, checkpoint=chosen.checkpoint, device=device)
    beyond = float("inf") if chosen.beyond is None else chosen.beyond
    task: Task = (
        TripletTask(metric, recipe.confidence, recipe.attack_misclassified)
        if chosen.goal == "triplet"
        else EmbeddingTask(metric, beyond)
    )
    settings = {
        "images": chosen.images and str(chosen.images.resolve()),
        "triplets": chosen.triplets and str(chosen.triplets.resolve()),
        "metric": chosen.metric,
        "weights_sha256": weights_hash(metric),
        "beyond": chosen.beyond,
    }
    return _Prepared(task, items[: recipe.limit], settings, left_out)


def _result(kept: Kept, prepared: _Prepared, plan: AttackPlan, folder: RunFolder) -> RunResult:
    distances = ["l1", "l2", "linf", *plan.measures]
    endless = False
    if prepared.task.kind == "embedding":
        distances += ["moved", "distance"]
        endless = prepared.settings["beyond"] is None
    over = "attacked" if endless else "success_8bit"
    summaries = summarise_attacks(kept.rows, distances, over=over)
    answer = {
        "out": str(folder.path),
        "images": len(prepared.items),
        "clean_accuracy": clean_accuracy(kept.rows, prepared.task.kind),
        "labels_from": prepared.settings.get("labels_from"),
        "device": folder.device,
        "seconds": folder.seconds,
        "attacks": [asdict(summary) for summary in summaries],
        "bad": listed(kept.bad, "name"),
        "failed": listed(kept.failed, "name"),
        "left_out": listed_left_out(prepared.left_out),
    }
    which = "are attacked" if endless else "succeed as files of 8 bits"
    shown: tuple[Table | str, ...] = ("Nothing was attacked.",)
    if summaries:
        noticed = _observers(summaries)
        mean = ", people a mean" if noticed else ""
        shown = (
            summary_table(summaries, distances),
            *_rounding(summaries),
            *noticed,
            f"Distances are medians over the images that {which}{mean}.",
            f"Images, records.parquet and report.html are in {folder.path}",
        )
    return RunResult(answer, shown, kept.bad, kept.failed, prepared.left_out)


def summary_table(summaries: Sequence[AttackSummary], distances: Sequence[str]) -> Table:
    """The summary on the terminal: success, median distances and effort, a row an attack."""
    columns: list[Column[AttackSummary]] = [
        Column("attack", lambda one: one.attack),
        Column("attacked", lambda one: f"{one.attacked} of {one.images}", side="right"),
        Column("success", lambda one: one.success, percent),
        Column("8-bit", lambda one: one.success_8bit, percent),
        *(Column(name, _median(name), number) for name in distances),
        Column("s/image", lambda one: one.seconds, number),
        Column("calls", lambda one: one.model_calls, number),
    ]
    return Table.of(summaries, columns)


def _median(name: str) -> Callable[[AttackSummary], float | None]:
    return lambda one: one.median[name]


def _rounding(summaries: Sequence[AttackSummary]) -> list[str]:
    """What rounding to 8 bits cost, an attack a sentence."""
    said = [
        rounding_words(one.attack, one.attacked, one.outside_8bit or 0.0, one.undone_8bit or 0.0)
        for one in summaries
    ]
    return [f"{words}." for words in said if words]


def _observers(summaries: Sequence[AttackSummary]) -> list[str]:
    """How many people would notice what each attack made, on average, a sentence an attack."""
    noticed = [(one.attack, one.mean.get(OBSERVERS)) for one in summaries]
    return [f"{name}: {observers_words(mean)}." for name, mean in noticed if mean is not None]
