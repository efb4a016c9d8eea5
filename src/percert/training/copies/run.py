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
from percert.models.imagenet_networks import SqueezeNet, squeezenet
from percert.tensors import Embeddings, Labels
from percert.training.copies.recipe import (
    CopiesRecipe,
    CopyBatch,
    CopyBatches,
    Corpus,
    TripletTerm,
    read_corpus,
)
from percert.training.distillation.targets import fit_target
from percert.training.engine import run
from percert.training.losses import copy_loss, distillation_loss, twoafc_loss
from percert.training.student import AXES, finish, new_student, student_from

#: The teacher sees photographs and the small labelled images at these sizes.
LARGE, SMALL = 208, 112
#: Where a run keeps the features, for when it goes on.
KEPT = "teacher.safetensors"


def teacher_targets(
    recipe: CopiesRecipe, data: Path, corpus: Corpus, out: Path, device: torch.device
) -> Tensor | None:
    """The targets of all images, photographs first; ``None`` where the recipe wants no teacher.

    The teacher's features are kept in ``out``, and taken from there if images and teacher are the
    same still.
    """
    settings = recipe.distillation
    if not settings.weight:
        return None
    teacher = squeezenet(data / recipe.data.teacher).to(device)
    pools = ((corpus.photographs.images, LARGE), (corpus.labelled.images, SMALL))
    key = hashlib.sha256(weights_hash(teacher).encode())
    for images, size in pools:
        key.update(f"{size} {tuple(images.shape)} ".encode())
        key.update(images.numpy().tobytes())
    features = _kept(out / KEPT, key.hexdigest())
    if features is None:
        count = sum(len(images) for images, _ in pools)
        sys.stderr.write(f"teacher's features of {count} images\n")
        parts = [teacher_features(teacher, images, size) for images, size in pools if len(images)]
        features = torch.cat(parts)
        with replacing(out / KEPT) as unfinished:
            save_file({"features": features}, unfinished, {"key": key.hexdigest()})
    dimensions = min(settings.dimensions, *features.shape)
    return fit_target(features, dimensions, settings.scale)(features)


def teacher_features(
    teacher: SqueezeNet, images: Tensor, size: int, *, batch: int = 64
) -> Embeddings:
    """SqueezeNet's pooled features ``(n, 512)`` of uint8 ``(n, 3, s, s)``, seen at ``size`` px."""
    device = next(teacher.parameters()).device
    features = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = images[start : start + batch].to(device).float() / 255
            pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
            features.append(teacher.embed(pixels.clamp(0, 1)).cpu())
    return torch.cat(features).clone()


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
class CopyTask:
    """The task: copies, distortions, classes and a teacher, the first three in raw radii.

    ``targets`` are the teacher's, one row an image of the corpus, or ``None``.
    """

    recipe: CopiesRecipe
    targets: Tensor | None

    def losses(
        self, forward: Any, batch: Sequence[CopyBatch], device: torch.device, gather: Any
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
        CopyTask(recipe, targets),
        student,
        CopyBatches(recipe, corpus),
        recipe.schedule.engine(),
        fabric,
        out,
        recipe=f"{recipe!r}\nfrom {begun}",
        tensorboard=tensorboard,
    )
    if recipe.blend:
        _blend(student.network.cpu(), first, recipe.blend)
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
    return finish(student, shape, recipe.name, out, fabric, trained, copy_threshold=threshold)


def _blend(network: nn.Module, first: Mapping[str, Tensor], share: float) -> None:
    """Mix the parameters: whatever their values, the layers that they describe are 1-Lipschitz."""
    ended = network.state_dict()
    network.load_state_dict(
        {name: share * first[name] + (1 - share) * value for name, value in ended.items()}
    )


def _triplet_loss(
    settings: TripletTerm, reference: Embeddings, near: Embeddings, far: Embeddings
) -> Tensor:
    loss = twoafc_loss(
        reference, near, far, margin=settings.margin, temperature=settings.temperature
    )
    return settings.weight * loss


def _class_loss(settings: TripletTerm, embeddings: Embeddings, labels: Labels) -> Tensor:
    """Every pair of one class against every image of another class in the batch."""
    index = torch.arange(len(labels), device=labels.device)
    reference, other = torch.where(labels[:, None] != labels[None])
    if not len(reference):  # every pair drawn is of one class: nothing to compare
        return embeddings.sum() * 0
    partner = index ^ 1  # rows come in pairs
    return _triplet_loss(
        settings, embeddings[reference], embeddings[partner[reference]], embeddings[other]
    )
