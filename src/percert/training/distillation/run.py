"""Distillation (``percert train distill``): the recipe, everything that decides, and the run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from percert.images.load import decode_image
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import NetworkShape
from percert.training.augmentations import Jitter, draw_jitter, jittered, standard_view
from percert.training.distillation.targets import (
    CachedTeacher,
    EmbeddingCache,
    Target,
    TargetView,
    fit_target,
    image_key,
    save_target,
    saved_target,
)
from percert.training.distillation.teachers import Teacher, load_teacher
from percert.training.engine import run
from percert.training.engine.loader import Loader, ShuffledOrder
from percert.training.engine.run import Schedule
from percert.training.image_sources import Entry, ImageSource, open_images
from percert.training.losses import mean_length, relational_loss, rmse
from percert.training.recipe_file import read_recipe_file
from percert.training.student import finish, new_student


@dataclass(frozen=True)
class ImageData:
    """Images, and how they are shown. ``images`` counts from the folder that the command is given.

    ``images`` is a folder, parquet files or tars (``train-{0000..0146}.tar``). Every image is
    brought to ``side`` x ``side`` (``fit``: squeezed, or its centre cropped), which the teacher and
    the student's resize see; ``flip`` is the chance that the standard view is mirrored. ``mix``
    shards are shuffled together.
    """

    images: str = ""
    side: int = 224
    fit: Literal["squeeze", "crop"] = "squeeze"
    flip: float = 0.5
    mix: int = 8

    def __post_init__(self) -> None:
        if self.side < 1 or not 0 <= self.flip <= 1:
            raise ValueError(
                f"data: expected a side of at least 1 and flip in [0, 1], found {self.side} and "
                f"{self.flip}"
            )


@dataclass(frozen=True)
class TeacherChoice:
    """Which teacher, and what of it is imitated.

    ``weights`` counts from the data folder. With ``target = "raw"`` its embeddings as they are
    (the paper's: DreamSim's have norms of about 1); with ``"unit"`` their directions; with
    ``"principal"`` the directions of their first ``dimensions`` principal components, fitted to
    ``fitted_on`` images. Each times ``scale`` (s). ``cache`` is a folder for its embeddings,
    counted from the run's own, ``cache_dtype`` how they are kept there; empty: they are computed
    each time.
    """

    name: str = "dreamsim"
    weights: str = ""
    bf16: bool = False
    target: Literal["raw", "unit", "principal"] = "raw"
    dimensions: int = 128
    fitted_on: int = 2048
    scale: float = 1.0
    cache: str = "teacher-cache"
    cache_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.dimensions < 1 or self.fitted_on < 2:
            raise ValueError(
                "teacher: expected a scale above 0, at least 1 dimension and 2 images to fit, "
                f"found {self.scale}, {self.dimensions} and {self.fitted_on}"
            )


@dataclass(frozen=True)
class DistillWeights:
    """How much each loss counts; 0 switches it off.

    ``kind`` says how the first three compare embeddings: ``"rmse"``, the root of the mean
    square (the paper's), or ``"length"``, the mean l2 distance. The paper's text asks for the first
    and the third; its authors' code takes (standard + jittered) / 2.
    """

    standard: float = 1.0
    jittered: float = 0.0
    between: float = 1.0
    relational: float = 0.0
    kind: Literal["rmse", "length"] = "rmse"


@dataclass(frozen=True)
class DistillRecipe:
    """One distillation, whole."""

    name: str = "lipsim"
    seed: int = 0
    data: ImageData = field(default_factory=ImageData)
    teacher: TeacherChoice = field(default_factory=TeacherChoice)
    student: NetworkShape = field(default_factory=NetworkShape)
    jitter: Jitter = field(default_factory=Jitter)
    losses: DistillWeights = field(default_factory=DistillWeights)
    schedule: Schedule = field(default_factory=Schedule)


def read_distill_recipe(recipe: str | os.PathLike[str]) -> DistillRecipe:
    """The recipe in a TOML file, or of percert by its name; ``ValueError`` for what is none."""
    return read_recipe_file(DistillRecipe, recipe)


@dataclass(frozen=True)
class DistillationTask:
    """The task: both pipelines through the student, the standard one through the teacher."""

    answers: CachedTeacher
    target: Target
    weights: DistillWeights

    def losses(
        self, forward: Any, batch: Sequence[TargetView], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        images = torch.stack([view.image for view in batch]).to(device)
        draws = torch.stack([view.draws for view in batch]).to(device)
        asked = self.target(self.answers(batch, device))
        # One pass for both: DDP counts on one forward a step.
        here, there = forward(torch.cat((images, jittered(images, draws)))).chunk(2)
        width = asked.shape[1]
        here, there = here[:, :width], there[:, :width]
        # Of all processes: a root, and what rows say of each other, is no mean over parts.
        here, there, asked = gather(here), gather(there), gather(asked)
        weights = self.weights
        apart = {"rmse": rmse, "length": mean_length}[weights.kind]
        losses = {
            "standard": weights.standard * apart(here, asked),
            "jittered": weights.jittered * apart(there, asked),
            "between": weights.between * apart(here, there),
        }
        if weights.relational:
            losses["relational"] = weights.relational * relational_loss(here, asked)
        return {name: loss for name, loss in losses.items() if getattr(weights, name)}


def distill(
    recipe: DistillRecipe,
    data: Path,
    out: Path,
    fabric: Any,
    *,
    teacher: Teacher | None = None,
    tensorboard: bool = True,
) -> EmbeddingMetric:
    """Distil a student as ``recipe`` says, from images below ``data``; goes on where it stopped.

    Writes checkpoints, logs, and at the end ``model.safetensors`` and ``config.json`` into ``out``,
    which is then the folder of a metric. ``fabric`` comes from ``engine.start_fabric``; ``teacher``
    replaces the recipe's. Raises ``ValueError`` where data, teacher or shapes do not fit.
    """
    source = open_images(recipe.data.images, data, mix=recipe.data.mix)
    if teacher is None:
        chosen = recipe.teacher
        weights = data / chosen.weights if chosen.weights else None
        teacher = load_teacher(chosen.name, weights, bf16=chosen.bf16)
    loader = _loader(recipe, source, fabric)
    kept = recipe.teacher.cache
    cache = (
        EmbeddingCache(out / kept, teacher.fingerprint, dtype=recipe.teacher.cache_dtype)
        if kept
        else None
    )
    try:
        answers = CachedTeacher(teacher, cache)
        target = _target(recipe, answers, loader, fabric, out)
        student = new_student(recipe.student, recipe.name, recipe.seed)
        schedule = recipe.schedule.for_entries(source, whole=loader.batch * loader.world)
        _check_width(recipe, answers, target, loader, fabric)
        run(
            DistillationTask(answers, target, recipe.losses),
            student,
            loader,
            schedule,
            fabric,
            out,
            recipe=f"{recipe!r}\nteacher {teacher.fingerprint}",
            tensorboard=tensorboard,
        )
    finally:
        if cache is not None:
            cache.close()
    trained = {
        "by": "percert train distill",
        "teacher": teacher.name,
        "teacher_fingerprint": teacher.fingerprint,
        "scale": recipe.teacher.scale,
        "steps": schedule.steps,
        "global_batch": loader.batch * loader.world,
    }
    return finish(student, recipe.student, recipe.name, out, fabric, trained)


def _loader(recipe: DistillRecipe, source: ImageSource, fabric: Any) -> Loader[Entry, TargetView]:
    return Loader(
        ShuffledOrder(source, seed=recipe.seed, mix=recipe.data.mix),
        _prepare(recipe, source),
        recipe.schedule.batch,
        recipe.seed,
        fabric.global_rank,
        fabric.world_size,
        recipe.schedule.workers,
    )


def _prepare(
    recipe: DistillRecipe, source: ImageSource
) -> Callable[[Entry, np.random.Generator], TargetView]:
    data = recipe.data

    def prepare(entry: Entry, generator: np.random.Generator) -> TargetView:
        content = source.read(entry)
        image = standard_view(decode_image(content, str(entry)), data.side, data.fit)
        mirrored = bool(generator.random() < data.flip)
        key = image_key(content, f"{data.side} {data.fit} {'mirrored' if mirrored else 'upright'}")
        draws = draw_jitter(recipe.jitter, generator)
        return TargetView(image.flip(-1) if mirrored else image, key, draws)

    return prepare


def _target(
    recipe: DistillRecipe,
    answers: CachedTeacher,
    loader: Loader[Entry, TargetView],
    fabric: Any,
    out: Path,
) -> Target:
    chosen = recipe.teacher
    if chosen.target != "principal":
        return Target(chosen.scale, unit=chosen.target == "unit")
    path = out / "target.safetensors"
    if fabric.is_global_zero and saved_target(path, chosen.scale) is None:
        # Every process sees the first images of one and the same order.
        alone = Loader(loader.order, loader.prepare, loader.batch, loader.seed)
        batches = alone.batches(alone.order.start())
        seen: list[Tensor] = []
        try:
            while sum(map(len, seen)) < chosen.fitted_on:
                views, _ = next(batches)
                seen.append(answers(views, fabric.device).cpu())
        finally:
            batches.close()
        fitted = torch.cat(seen)[: chosen.fitted_on]
        save_target(fit_target(fitted, chosen.dimensions, chosen.scale), path)
    fabric.barrier()
    target = saved_target(path, chosen.scale)
    assert target is not None  # written above
    return target


def _check_width(
    recipe: DistillRecipe,
    answers: CachedTeacher,
    target: Target,
    loader: Loader[Entry, TargetView],
    fabric: Any,
) -> None:
    """Raise ``ValueError`` where the target is wider than the student's embedding."""
    if target.axes is not None:
        width = len(target.axes)
    else:
        batches = loader.batches(loader.order.start())
        try:
            views, _ = next(batches)
        finally:
            batches.close()
        width = answers(views, fabric.device).shape[1]
    if width > recipe.student.width:
        raise ValueError(
            f"student: expected an embedding of at least the target's {width} values, found "
            f'{recipe.student.width}; make it wider, or take target = "principal"'
        )
