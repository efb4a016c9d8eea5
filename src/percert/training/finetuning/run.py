"""``percert train finetune``: the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import ModelCard, metric_of
from percert.training.engine import run
from percert.training.finetuning.triplets import FinetuneRecipe, Sample, TripletLoss, open_triplets
from percert.training.losses import hinge_loss, raw_margin_loss, signed_radius
from percert.training.sources import Loader, ShuffledOrder
from percert.training.sources.loader import MixedOrder
from percert.training.student import finished, new_student, save_model, student_from


@dataclass(frozen=True)
class FinetuningTask:
    """The task: all three images of a triplet through the student, one loss."""

    loss: TripletLoss
    constant: float

    def losses(
        self, forward: Any, batch: Sequence[Sample], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        columns = [torch.stack([sample[i] for sample in batch]) for i in range(3)]  # type: ignore[misc]
        sign = torch.tensor([sample.sign for sample in batch], device=device)
        weight = torch.tensor([sample.weight for sample in batch], device=device)
        reference, left, right = forward(torch.cat(columns).to(device)).chunk(3)
        loss = self.loss
        if loss.kind == "hinge":
            each = hinge_loss(
                reference, left, right, sign, margin=loss.margin, constant=self.constant
            )
            return {"hinge": (weight * each).mean()}
        constant = self.constant if loss.moving == "reference" else 0.0
        radius = signed_radius(reference, left, right, moving=loss.moving, constant=constant)
        each = raw_margin_loss(
            radius, sign, margin=loss.margin, temperature=loss.temperature, focus=loss.focus
        )
        return {"raw": (weight * each).mean()}


def finetune(
    recipe: FinetuneRecipe,
    data: Path,
    out: Path,
    fabric: Any,
    *,
    model: Path | None = None,
    tensorboard: bool = True,
) -> EmbeddingMetric:
    """Fine-tune a student as ``recipe`` says, on triplets below ``data``; goes on where it stopped.

    ``model`` is the folder to start from, in place of the recipe's. Writes checkpoints, logs, and
    at the end ``model.safetensors`` and ``config.json`` into ``out``, which is then the folder of a
    metric. Raises ``ValueError`` where data or model do not fit.
    """
    opened = [open_triplets(one, data) for one in recipe.data]
    makers = [prepare for _, prepare in opened]
    order = MixedOrder(
        [
            ShuffledOrder(source, seed=recipe.seed + i, mix=one.mix)
            for i, ((source, _), one) in enumerate(zip(opened, recipe.data, strict=True))
        ],
        [one.share for one in recipe.data],
    )

    def prepare(entry: tuple[int, Any], generator: np.random.Generator) -> Sample:
        which, one = entry
        return makers[which](one, generator)

    loader: Loader[tuple[int, Any], Sample] = Loader(
        order,
        prepare,
        recipe.schedule.batch,
        recipe.seed,
        fabric.global_rank,
        fabric.world_size,
        recipe.schedule.workers,
    )
    start = model or (data / recipe.start if recipe.start else None)
    if start is None:
        student, shape = new_student(recipe.student, recipe.name, recipe.seed), recipe.student
    else:
        student, shape = student_from(start, recipe.name)
    begun = weights_hash(student.network)
    run(
        FinetuningTask(recipe.loss, shape.constant),
        student,
        loader,
        recipe.schedule,
        fabric,
        out,
        recipe=f"{recipe!r}\nfrom {begun}",
        tensorboard=tensorboard,
    )
    trained = {
        "by": "percert train finetune",
        "from": begun,
        "data": [one.kind for one in recipe.data],
        "loss": recipe.loss.kind,
        "margin": recipe.loss.margin,
        "steps": recipe.schedule.steps,
        "global_batch": loader.batch * loader.world,
    }
    network = finished(student)
    if fabric.is_global_zero:
        save_model(network, shape, recipe.name, out, trained)
    fabric.barrier()
    return metric_of(ModelCard(recipe.name, shape, ""), network)
