"""Fine-tuning on triplets that people judged (``percert train finetune``): recipe and run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from percert.data.judgements import find_triplets
from percert.data.triplets import Triplet, load_triplet
from percert.images.load import decode_image
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import NetworkShape
from percert.training.augmentations import distortion_pair, standard_view
from percert.training.engine import run
from percert.training.engine.loader import Loader, MixedOrder, ShuffledOrder
from percert.training.engine.run import Schedule
from percert.training.image_sources import Entry, ImageSource, LabelledParquet, open_images
from percert.training.losses import Moving, hinge_loss, raw_margin_loss, signed_radius
from percert.training.recipe_file import read_recipe_file
from percert.training.student import finish, new_student, student_from


@dataclass(frozen=True)
class TripletData:
    """One set of triplets. ``path`` counts from the folder that the command is given.

    ``night`` and ``bapps`` are the published folders, ``csv`` a table of one's own (``images`` is
    where its paths count from), ``distortions`` any images, of which two severities of one
    distortion are made, and ``classes`` a parquet file with labels: two of a class, one of another.
    Images are shown at ``side`` x ``side``; ``flip`` is the chance that all three are mirrored.
    ``share`` of every so many triplets are from this set, where there are several.
    """

    kind: Literal["night", "bapps", "csv", "distortions", "classes"] = "night"
    path: str = ""
    images: str = ""
    split: str = "train"
    side: int = 224
    fit: Literal["squeeze", "crop"] = "squeeze"
    flip: float = 0.0
    mix: int = 4
    share: int = 1
    #: Weigh a triplet by how far its judges agree, 2 |share - 1/2|; otherwise all alike.
    agreement: bool = False

    def __post_init__(self) -> None:
        if self.side < 1 or self.share < 1 or not 0 <= self.flip <= 1:
            raise ValueError(
                "data: expected a side and a share of at least 1 and flip in [0, 1], found "
                f"{self.side}, {self.share} and {self.flip}"
            )


@dataclass(frozen=True)
class TripletLoss:
    """``hinge`` is the paper's, on distances; ``raw`` ours, on radii in the network's pixels.

    ``temperature``, ``focus`` and ``moving`` are of the second alone.
    """

    kind: Literal["hinge", "raw"] = "hinge"
    margin: float = 0.5
    temperature: float = 1.0
    focus: float = 0.0
    moving: Moving = "reference"

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.focus < 0:
            raise ValueError(
                "loss: expected a temperature above 0 and a focus of at least 0, found "
                f"{self.temperature} and {self.focus}"
            )


@dataclass(frozen=True)
class FinetuneRecipe:
    """One fine-tuning, whole.

    ``start`` is the model to begin with (the folder of a distillation, an exported one, or a file
    of LipSim's authors; counted from the data folder, and replaced by the command's ``--model``);
    without one, ``student`` begins with random weights.
    """

    name: str = "lipsim"
    seed: int = 0
    start: str = ""
    student: NetworkShape = field(default_factory=NetworkShape)
    data: tuple[TripletData, ...] = (TripletData(),)
    loss: TripletLoss = field(default_factory=TripletLoss)
    schedule: Schedule = field(default_factory=Schedule)


def read_finetune_recipe(recipe: str | os.PathLike[str]) -> FinetuneRecipe:
    """The recipe in a TOML file, or of percert by its name, its sets of triplets as ``[[data]]``.

    Raises ``ValueError`` for what is none.
    """
    found = read_recipe_file(FinetuneRecipe, recipe)
    if not found.data:
        raise ValueError(f"{recipe}: expected at least one [[data]], found none")
    return found


class TripletSample(NamedTuple):
    """Three images ``(3, side, side)``, +1 where ``left`` is closer or -1, and a weight."""

    reference: Tensor
    left: Tensor
    right: Tensor
    sign: float
    weight: float = 1.0


#: Makes a sample from an entry of a set, with random numbers of its own.
Prepare = Callable[[Any, np.random.Generator], TripletSample]


class ListedTriplets:
    """Triplets of image files, as one shard: names and judgements, no images."""

    def __init__(self, triplets: Sequence[Triplet], what: str) -> None:
        self.triplets = [triplet for triplet in triplets if triplet.choice is not None]
        if not self.triplets:
            raise ValueError(f"{what}: no triplets that judges agree on")

    def shards(self) -> Sequence[str]:
        return ["triplets"]

    def entries(self, shard: str, /) -> Sequence[Triplet]:
        return self.triplets


def open_triplets(data: TripletData, root: Path) -> tuple[Any, Prepare]:
    """What ``data`` names below ``root``: entries in shards, and what makes samples of them.

    Raises ``ValueError`` for what is not there or something else.
    """
    place = root / data.path
    if data.kind in ("night", "bapps", "csv"):
        images = root / data.images if data.images else None
        listed = find_triplets(place, data.kind, split=data.split, images=images)
        return ListedTriplets(list(listed), str(place)), _judged(data)
    if data.kind == "classes":
        labelled = LabelledParquet(open_images(data.path, root, mix=data.mix), str(place))
        return labelled, _of_classes(data, labelled)
    source = open_images(data.path, root, mix=data.mix)
    return source, _distorted(data, source)


def _judged(data: TripletData) -> Prepare:
    def prepare(triplet: Triplet, generator: np.random.Generator) -> TripletSample:
        images = [standard_view(image, data.side, data.fit) for image in load_triplet(triplet)]
        assert triplet.share is not None  # draws are left out
        weight = 2 * abs(triplet.share - 0.5) if data.agreement else 1.0
        return _sample(images, 1.0 if triplet.choice == 0 else -1.0, weight, data, generator)

    return prepare


def _distorted(data: TripletData, source: ImageSource) -> Prepare:
    def prepare(entry: Entry, generator: np.random.Generator) -> TripletSample:
        photo = decode_image(source.read(entry), str(entry))
        # Twice the size: what zooms in keeps its detail.
        large = standard_view(photo, 2 * data.side, data.fit)[None]
        drawn = torch.Generator().manual_seed(int(generator.integers(1 << 62)))
        milder, stronger = distortion_pair(large, drawn)
        reference = torch.nn.functional.avg_pool2d(large, 2)
        return _sample([reference[0], milder[0], stronger[0]], 1.0, 1.0, data, generator)

    return prepare


def _of_classes(data: TripletData, labelled: LabelledParquet) -> Prepare:
    def prepare(entry: Entry, generator: np.random.Generator) -> TripletSample:
        chosen = [entry, *labelled.same_and_other(entry, generator)]
        images = [
            standard_view(decode_image(labelled.read(one), str(one)), data.side, data.fit)
            for one in chosen
        ]
        return _sample(images, 1.0, 1.0, data, generator)

    return prepare


def _sample(
    images: Sequence[Tensor],
    sign: float,
    weight: float,
    data: TripletData,
    generator: np.random.Generator,
) -> TripletSample:
    if generator.random() < data.flip:
        images = [image.flip(-1) for image in images]
    reference, left, right = images
    return TripletSample(reference, left, right, sign, weight)


@dataclass(frozen=True)
class FinetuningTask:
    """The task: all three images of a triplet through the student, one loss."""

    loss: TripletLoss
    constant: float

    def losses(
        self, forward: Any, batch: Sequence[TripletSample], device: torch.device, gather: Any
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

    def prepare(entry: tuple[int, Any], generator: np.random.Generator) -> TripletSample:
        which, one = entry
        return makers[which](one, generator)

    loader: Loader[tuple[int, Any], TripletSample] = Loader(
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
    sources = [source for source, _ in opened]
    schedule = recipe.schedule.for_entries(*sources, whole=loader.batch * loader.world)
    run(
        FinetuningTask(recipe.loss, shape.constant),
        student,
        loader,
        schedule,
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
        "steps": schedule.steps,
        "global_batch": loader.batch * loader.world,
    }
    return finish(student, shape, recipe.name, out, fabric, trained)
