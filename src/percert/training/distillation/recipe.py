"""The recipe of a distillation: everything that decides what a run gives."""

import os
from dataclasses import dataclass, field
from typing import Literal

from percert.metrics.exported import NetworkShape
from percert.training.engine.run import Schedule
from percert.training.recipe_file import read_recipe_file
from percert.training.views import Jitter


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
    """How much each loss counts; 0 switches it off."""

    standard: float = 1.0
    jittered: float = 0.0
    between: float = 1.0
    relational: float = 0.0


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
