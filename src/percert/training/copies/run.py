"""Training to know copies (``percert train copies``): the run, and its teacher's targets."""

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.files import replacing
from percert.lipschitz.centre import Centre
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import NetworkShape
from percert.tensors import Embeddings
from percert.training.copies.bank import Bank
from percert.training.copies.batches import CopyBatch, CopyBatches, read_corpus
from percert.training.copies.pictures import Pictures
from percert.training.copies.recipe import CopiesRecipe, TeacherRecipe
from percert.training.distillation.targets import fit_target
from percert.training.distillation.teachers import Teacher, load_teacher
from percert.training.engine import run
from percert.training.losses import (
    class_loss,
    copy_loss,
    distillation_loss,
    kept_loss,
    relational_loss,
    twoafc_loss,
)
from percert.training.student import AXES, finish, new_student, student_from


def teacher_features(
    recipe: CopiesRecipe, data: Path, corpus: list[Pictures], out: Path, device: torch.device
) -> list[Embeddings]:
    """What each teacher of the recipe makes of all pictures, ``(n, d)`` each, a source after the
    other.

    They are kept in ``out``, and taken from there if pictures and teacher are the same still.
    """
    found = []
    for number, settings in enumerate(recipe.teachers):
        teacher = load_teacher(
            settings.name, data / settings.weights if settings.weights else None, bf16=False
        )
        key = hashlib.sha256(f"{teacher.fingerprint} {settings.size}".encode())
        for pictures in corpus:
            key.update(f"{tuple(pictures.images.shape)} ".encode())
            key.update(pictures.images.numpy().data)
        path = out / f"teacher-{number}.safetensors"
        features = _kept(path, key.hexdigest())
        if features is None:
            sys.stderr.write(f"{settings.name}: features of {sum(map(len, corpus))} pictures\n")
            features = torch.cat([_features(teacher, p, settings.size, device) for p in corpus])
            with replacing(path) as unfinished:
                save_file({"features": features}, unfinished, {"key": key.hexdigest()})
        found.append(features)
    return found


def _features(
    teacher: Teacher, pictures: Pictures, size: int, device: torch.device, batch: int = 64
) -> Embeddings:
    found = []
    for start in range(0, len(pictures), batch):
        seen = pictures.images[start : start + batch].to(device).float() / 255
        if pictures.images.shape[-1] < size:
            seen = F.interpolate(seen, size=(size, size), mode="bilinear", antialias=True)
        found.append(teacher(seen.clamp(0, 1)).cpu())
    return torch.cat(found)


def _kept(path: Path, key: str) -> Tensor | None:
    """The features in ``path`` if they are those of ``key``; a damaged file holds none."""
    try:
        with safe_open(path, "pt") as file:
            same = (file.metadata() or {}).get("key") == key
            features: Tensor | None = file.get_tensor("features") if same else None
            return features
    except (OSError, SafetensorError):
        return None


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of every picture, and how it is imitated; ``None`` of what is not.

    ``targets`` are ``(n, k)``, its principal features; ``directions`` are ``(n, d)``, counted from
    their mean.
    """

    settings: TeacherRecipe
    targets: Tensor | None
    directions: Tensor | None


def lesson_of(settings: TeacherRecipe, features: Embeddings, device: torch.device) -> Lesson:
    """The lesson of a teacher's features, on ``device``."""
    features = features.to(device)
    targets = directions = None
    if settings.imitation:
        dimensions = min(settings.dimensions, *features.shape)
        targets = fit_target(features, dimensions, settings.scale)(features)
    if settings.angles:
        units = F.normalize(features, dim=1)
        directions = F.normalize(units - units.mean(0), dim=1)
    return Lesson(settings, targets, directions)


@dataclass(frozen=True)
class CopyTask:
    """The task: copies, distortions, classes and teachers, the first three in raw radii.

    A ``bank`` is filled as it goes: it is part of the run's state.
    """

    recipe: CopiesRecipe
    lessons: list[Lesson]
    bank: Bank | None = None

    def losses(
        self, forward: Any, batch: Sequence[CopyBatch], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        recipe, (drawn,) = self.recipe, batch
        images = (drawn.standard, drawn.edited, drawn.milder, drawn.stronger, drawn.along)
        embeddings = forward(torch.cat(images))
        here, there, milder, stronger, along = embeddings.split([len(part) for part in images])
        copies = recipe.copies
        others, strangers = here, drawn.strangers
        if self.bank is not None:
            # Their copies come first; what is kept of past steps is a stranger or nothing.
            others = torch.cat((here, self.bank.embeddings))
            strangers = torch.cat((strangers, self.bank.strangers(drawn.shown)), 1)
        losses = {
            "copies": copy_loss(
                there,
                others,
                strangers,
                threshold_angle=math.radians(copies.threshold_degrees),
                margin=copies.margin,
                temperature=copies.temperature,
                hardest=copies.hardest,
            )
        }
        if self.bank is not None:
            self.bank.add(here, drawn.identity)
        if recipe.distortions.weight:
            term = recipe.distortions
            losses["distortions"] = term.weight * twoafc_loss(
                here[: len(milder)],
                milder,
                stronger,
                margin=term.margin,
                temperature=term.temperature,
            )
        if recipe.paths.weight:
            path = recipe.paths
            losses["paths"] = path.weight * kept_loss(
                along,
                here[: len(along)],
                threshold_angle=math.radians(copies.threshold_degrees),
                margin=path.margin,
                temperature=path.temperature,
            )
        if recipe.semantics.weight:
            labelled, term = drawn.labels >= 0, recipe.semantics
            losses["semantics"] = term.weight * class_loss(
                here[labelled],
                drawn.labels[labelled],
                margin=term.margin,
                temperature=term.temperature,
            )
        for number, lesson in enumerate(self.lessons):
            settings = lesson.settings
            if lesson.targets is not None:
                target = lesson.targets[drawn.identity]
                loss = settings.imitation * distillation_loss(here, there, target)
                losses[f"imitation {number}"] = loss
            if lesson.directions is not None:
                loss = settings.angles * relational_loss(here, lesson.directions[drawn.identity])
                losses[f"angles {number}"] = loss
        return losses


def bank_of(recipe: CopiesRecipe, device: torch.device) -> Bank | None:
    """The empty bank of a recipe, or ``None`` where it asks for none."""
    size = recipe.copies.bank
    return Bank.of(size, recipe.network.embedding, device) if size else None


def network_shape(recipe: CopiesRecipe) -> NetworkShape:
    """The network of a recipe, with the centre that its embeddings count from."""
    return NetworkShape(
        family="tiny", tiny=recipe.network, constant=0.0, resize="box", centre_axes=AXES
    )


def train_copies(
    recipe: CopiesRecipe,
    data: Path,
    out: Path,
    fabric: Any,
    *,
    model: Path | None = None,
    tensorboard: bool = True,
) -> EmbeddingMetric:
    """Train the network of ``recipe`` on images below ``data``; goes on where it stopped.

    ``model`` is the folder of a finished run or an export whose weights a new run begins with.
    Writes checkpoints, logs, and at the end ``model.safetensors`` and ``config.json`` into ``out``,
    which is then the folder of a metric. ``fabric`` comes from ``engine.start_fabric`` and has one
    process. Raises ``ValueError`` where data or model do not fit, or a loss is not finite.
    """
    if fabric.world_size > 1:
        raise ValueError(f"training copies: runs in one process, found {fabric.world_size}")
    shape = network_shape(recipe)
    if model is None:
        student = new_student(shape, recipe.name, recipe.seed)
        begun = weights_hash(student.network)
    else:
        student, found = student_from(model, recipe.name)
        if replace(found, centre_axes=AXES) != shape:
            raise ValueError(f"{model}: a network of another shape than the recipe's [network]")
        begun = weights_hash(student.network)
        if found.centre_axes is None:
            student.network.layers.append(Centre(shape.width, AXES))
        else:
            shape = found
    student.centred = recipe.centred
    first = {name: value.clone() for name, value in student.network.state_dict().items()}
    corpus = read_corpus(recipe, data, out)
    features = teacher_features(recipe, data, corpus, out, fabric.device)
    lessons = [
        lesson_of(settings, found, fabric.device)
        for settings, found in zip(recipe.teachers, features, strict=True)
    ]
    bank = bank_of(recipe, fabric.device)
    run(
        CopyTask(recipe, lessons, bank),
        student,
        CopyBatches(recipe, corpus, fabric.device),
        recipe.schedule.engine(recipe.batch),
        fabric,
        out,
        recipe=f"{recipe!r}\nfrom {begun}",
        state=bank.state if bank else None,
        tensorboard=tensorboard,
    )
    if recipe.blend:
        _blend(student.network.cpu(), first, recipe.blend)
    trained = {
        "by": "percert train copies",
        "from": begun,
        "pictures": sum(map(len, corpus)),
        "steps": recipe.schedule.steps,
        "batch": recipe.batch,
    }
    # The angle that copies were pushed inside, and others outside: about the point they count from.
    angle = math.radians(recipe.copies.threshold_degrees)
    threshold = round(1 - math.cos(angle), 6) if recipe.centred else None
    return finish(student, shape, recipe.name, out, fabric, trained, copy_threshold=threshold)


def _blend(network: nn.Module, first: Mapping[str, Tensor], share: float) -> None:
    """Mix the parameters: whatever their values, the layers that they describe are 1-Lipschitz."""
    ended = network.state_dict()
    network.load_state_dict(
        {name: share * first[name] + (1 - share) * value for name, value in ended.items()}
    )
