"""``percert train copies``: the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from percert.lipschitz.centre import Centre
from percert.lipschitz.weights_hash import weights_hash
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.exported import ModelCard, NetworkShape, metric_of
from percert.tensors import Embeddings, Labels
from percert.training.centre import AXES
from percert.training.copies.draws import Drawn, Draws, read_corpus
from percert.training.copies.recipe import CopiesRecipe, Triplets
from percert.training.copies.teacher import teacher_targets
from percert.training.engine import run
from percert.training.losses import copy_loss, distillation_loss, twoafc_loss
from percert.training.student import finished, new_student, save_model, student_from


@dataclass(frozen=True)
class CopyTraining:
    """The task: copies, distortions, classes and a teacher, the first three in raw radii.

    ``targets`` are the teacher's, one row an image of the corpus, or ``None``.
    """

    recipe: CopiesRecipe
    targets: Tensor | None

    def losses(
        self, forward: Any, batch: Sequence[Drawn], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        recipe, (drawn,) = self.recipe, batch
        images = (drawn.standard, drawn.edited, drawn.milder, drawn.stronger)
        embeddings = forward(torch.cat(images).to(device))
        here, there, milder, stronger = embeddings.split([len(part) for part in images])
        identity, copies = drawn.identity.to(device), recipe.copies
        losses = {
            "copies": copy_loss(
                there,
                here,
                identity,
                threshold_angle=math.radians(copies.threshold_degrees),
                margin=copies.margin,
                temperature=copies.temperature,
                hardest=copies.hardest,
            )
        }
        if recipe.distortions.weight:
            losses["distortions"] = _triplet_loss(
                recipe.distortions, here[: len(milder)], milder, stronger
            )
        if recipe.semantics.weight:
            labelled = here[recipe.schedule.photographs :]
            losses["semantics"] = _class_loss(recipe.semantics, labelled, drawn.labels.to(device))
        if self.targets is not None:
            target = self.targets.to(device)[identity]
            weight = recipe.distillation.weight
            losses["distillation"] = weight * distillation_loss(here, there, target)
        return losses


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
    shape = NetworkShape(
        family="tiny", tiny=recipe.network, constant=0.0, resize="box", centre_axes=AXES
    )
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
    corpus = read_corpus(recipe, data)
    targets = teacher_targets(recipe, data, corpus, out, fabric.device)
    run(
        CopyTraining(recipe, targets),
        student,
        Draws(recipe, corpus),
        recipe.schedule.engine(),
        fabric,
        out,
        recipe=f"{recipe!r}\nfrom {begun}",
        tensorboard=tensorboard,
    )
    if recipe.blend:
        _blend(student.network.cpu(), first, recipe.blend)
    network = finished(student)
    trained = {
        "by": "percert train copies",
        "from": begun,
        "photographs": len(corpus.photographs.images),
        "labelled": len(corpus.labelled.images),
        "steps": recipe.schedule.steps,
        "batch": recipe.schedule.batch,
    }
    # The angle that copies were pushed inside, and others outside: about the point they count from.
    angle = math.radians(recipe.copies.threshold_degrees)
    threshold = round(1 - math.cos(angle), 6) if recipe.centred else None
    save_model(network, shape, recipe.name, out, trained, copy_threshold=threshold)
    return metric_of(ModelCard(recipe.name, shape, ""), network)


def _blend(network: nn.Module, first: Mapping[str, Tensor], share: float) -> None:
    """Mix the parameters: whatever their values, the layers that they describe are 1-Lipschitz."""
    ended = network.state_dict()
    network.load_state_dict(
        {name: share * first[name] + (1 - share) * value for name, value in ended.items()}
    )


def _triplet_loss(
    settings: Triplets, reference: Embeddings, near: Embeddings, far: Embeddings
) -> Tensor:
    loss = twoafc_loss(
        reference, near, far, margin=settings.margin, temperature=settings.temperature
    )
    return settings.weight * loss


def _class_loss(settings: Triplets, embeddings: Embeddings, labels: Labels) -> Tensor:
    """Every pair of one class against every image of another class in the batch."""
    index = torch.arange(len(labels), device=labels.device)
    reference, other = torch.where(labels[:, None] != labels[None])
    if not len(reference):  # every pair drawn is of one class: nothing to compare
        return embeddings.sum() * 0
    partner = index ^ 1  # rows come in pairs
    return _triplet_loss(
        settings, embeddings[reference], embeddings[partner[reference]], embeddings[other]
    )
