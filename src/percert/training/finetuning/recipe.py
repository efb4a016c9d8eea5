"""The recipe of a fine-tuning: everything that decides what a run gives."""

import os
from dataclasses import dataclass, field
from typing import Literal

from percert.metrics.exported import NetworkShape
from percert.training.engine.run import Schedule
from percert.training.finetuning.losses import Moving
from percert.training.recipe_file import read_recipe_file


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

    ``start`` is the folder of the model to begin with (of a distillation, or exported; counted from
    the data folder, and replaced by the command's ``--model``); without one, ``student`` begins
    with random weights.
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
