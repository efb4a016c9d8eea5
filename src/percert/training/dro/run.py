"""``percert train adversarial-dataset`` and ``percert train dro``: the runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from percert.files import file_sha256
from percert.reports.records import Row, check_same_settings, read_run, write_run
from percert.training.dro.accuracy import HeldOut
from percert.training.dro.attack import AttackTally
from percert.training.dro.dataset import AdversarialDataset, open_dataset
from percert.training.dro.images import TrainingImages, read_training_images
from percert.training.dro.recipe import AdversarialRecipe, DRORecipe, parse_solver
from percert.training.dro.rounds import Progress, make_adversarial_dataset
from percert.training.dro.train import (
    full_spec,
    record_store,
    save_classifier,
    train_models,
    trainable_classifier,
)


@dataclass(frozen=True)
class DatasetSummary:
    """What Algorithm 2 made: the number of ``images``, of ``clean`` ones among them and of classes.

    ``rounds`` has the :class:`~percert.training.dro.attack.AttackTally` of each, and the median
    ``cost`` of its adversarial images: of all, of those that their cluster's centre spared the
    attack (``cost_spared``), and of the others (``cost_attacked``); ``None`` where there are none.
    """

    out: str
    images: int
    clean: int
    classes: int
    rounds: list[dict[str, Any]]


def adversarial_dataset(
    recipe: AdversarialRecipe,
    images: Path,
    out: Path,
    fabric: Any,
    *,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> DatasetSummary:
    """Algorithm 2 as ``recipe`` says, on the labelled ``images``; goes on where it stopped.

    ``images`` is as for :func:`~percert.training.dro.images.read_training_images`. ``fabric`` comes
    from :func:`~percert.training.engine.launched`; its processes share each batch. Writes the data
    set's shards, ``model.safetensors`` (the model at the end of the rounds) and ``run.json`` with
    the ``command`` into ``out``. Raises ``ValueError`` for images, an attack or a model that cannot
    be used, and for a folder with another data set.
    """
    began = time.perf_counter()
    before = float((read_run(out) or {}).get("seconds") or 0.0)
    settings = recipe.rounds
    attack = parse_solver(recipe.attack)
    root = Path(recipe.root) if recipe.root else None
    found = read_training_images(images, size=recipe.size, root=root)
    if recipe.limit is not None:
        found = found.some(recipe.limit, settings.seed)
    spec = full_spec(recipe.model, found.classes)
    start = _start(recipe.start)
    described = {
        "attack": recipe.attack,
        "model": spec,
        "theta_0": _content(start),
        "images": str(images.resolve()),
        "limit": recipe.limit,
        "size": recipe.size,
        "held_out": recipe.held_out or None,
    }
    held = None
    if recipe.held_out:
        held = HeldOut(_held_out(recipe.held_out, found.size, root), attack, settings.seed)
    model = trainable_classifier(spec, fabric.device, seed=settings.seed, weights=start)
    dataset, tallies = make_adversarial_dataset(
        model,
        found,
        attack,
        out,
        settings,
        described=described,
        held=held,
        fabric=fabric,
        progress=progress,
    )
    summary = _summary(dataset, tallies, out)
    if not fabric.is_global_zero:
        return summary
    save_classifier(model, spec, out / "model.safetensors")
    write_run(
        out,
        command=list(command),
        settings=described,
        seed=settings.seed,
        device=str(fabric.device),
        seconds=before + time.perf_counter() - began,
        finished=True,
        **asdict(summary),
    )
    return summary


def train_dro(
    recipe: DRORecipe,
    dataset: Path,
    out: Path,
    fabric: Any,
    *,
    command: Sequence[str] = (),
    progress: Callable[[Row], None] | None = None,
) -> list[dict[str, Any]]:
    """Algorithm 3 as ``recipe`` says, on the D in ``dataset``; models that are there are kept.

    ``fabric`` comes from :func:`~percert.training.engine.launched`; its processes share the models
    and nothing else. ``progress`` is called with the record of each model that this process has
    trained. Writes ``model-NUMBER.safetensors``, ``records.parquet`` and ``run.json`` into ``out``.
    Returns the records of all models, in the first process; none in the others. Raises
    ``ValueError`` for a folder with models of other settings.
    """
    began = time.perf_counter()
    opened = open_dataset(dataset)
    spec = full_spec(recipe.model, opened.about.classes)
    settings = replace(
        recipe.training,
        draws=recipe.training.draws or len(opened),
        weights=recipe.training.weights or opened.about.weights,
    )
    start = _start(recipe.start)
    agreed = {
        **asdict(settings),
        "model": spec,
        "theta_0": _content(start),
        "dataset": str(dataset.resolve()),
        "held_out": recipe.held_out or None,
        "shards": [shard.digest for shard in opened.shards],
    }
    earlier = read_run(out)
    if earlier is not None:
        check_same_settings(
            out, earlier.get("settings", {}), agreed, holds="models", has="these have"
        )
    before = float((earlier or {}).get("seconds") or 0.0)

    def note(finished: bool) -> None:
        write_run(
            out,
            command=list(command),
            settings=agreed,
            seed=settings.seed,
            device=str(fabric.device),
            seconds=before + time.perf_counter() - began,
            finished=finished,
            models=recipe.models,
        )

    held = None
    if recipe.held_out:
        attack = parse_solver(str(opened.about.settings.get("attack", "human-perc-ot")))
        held = HeldOut(
            _held_out(
                recipe.held_out, opened.about.size, Path(recipe.root) if recipe.root else None
            ),
            attack,
            settings.seed,
        )
    if fabric.is_global_zero:
        note(finished=False)
    for row in train_models(
        opened,
        spec,
        out,
        range(fabric.global_rank, recipe.models, fabric.world_size),
        settings,
        start=start,
        device=fabric.device,
        at_once=recipe.at_once or (10 if fabric.device.type == "cuda" else 1),
        held=held,
    ):
        if progress is not None:
            progress(row)
    fabric.barrier()
    if not fabric.is_global_zero:
        return []
    rows = record_store(out, judged=held is not None).merge(lambda row: row["model"])
    note(finished=True)
    return rows


def _held_out(path: str, size: tuple[int, int], root: Path | None) -> TrainingImages:
    square = size[0] if size[0] == size[1] else 0
    found = read_training_images(Path(path), size=square, root=root, split="val")
    if found.size != size:
        raise ValueError(
            f"held_out: expected images of {size} as those trained on, found {found.size}"
        )
    return found


def _start(path: str) -> Path | None:
    """The file of theta_0, if any."""
    return Path(path).resolve() if path else None


def _content(start: Path | None) -> str | None:
    """What theta_0 is by its bytes: another model at the same path is another run."""
    try:
        return None if start is None else file_sha256(start)
    except OSError as error:
        raise ValueError(f"{start}: cannot be read ({error.strerror})") from None


def _summary(dataset: AdversarialDataset, tallies: list[AttackTally], out: Path) -> DatasetSummary:
    facts = dataset.facts
    rounds = []
    for tally in tallies:
        good = (facts.round == tally.round) & facts.success
        chosen = {
            "cost": good,
            "cost_spared": good & facts.spared,
            "cost_attacked": good & ~facts.spared,
        }
        costs = {
            name: float(np.median(facts.cost[rows])) if rows.any() else None
            for name, rows in chosen.items()
        }
        rounds.append(asdict(tally) | costs)
    about = dataset.about
    return DatasetSummary(str(out), len(dataset), about.count, about.classes, rounds)
