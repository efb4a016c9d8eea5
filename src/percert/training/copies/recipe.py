"""The recipe of ``percert train copies``: everything that decides what a run gives."""

import os
from dataclasses import dataclass, field

from percert.lipschitz.architectures import TinyShape
from percert.training.augmentations import EditStrength
from percert.training.engine.run import Schedule as EngineSchedule
from percert.training.recipe_file import read_recipe_file


@dataclass(frozen=True)
class CopiesData:
    """What is trained on. Paths are relative to the data folder that the command is given.

    ``labelled`` is a parquet file of images with classes, or empty: photographs alone.
    """

    photographs: str = "imagenet-samples"
    labelled: str = "tiny-imagenet-32/train.parquet"
    teacher: str = "../weights/squeezenet1_0-imagenet.safetensors"
    #: Photographs are kept at this height and width, at twice the network's size and some more.
    side: int = 208
    #: Every k-th photograph is left out, to choose settings on; 0 trains on all.
    hold_out: int = 0
    #: How many labelled images are drawn (without replacement) and kept.
    labelled_count: int = 30_000


@dataclass(frozen=True)
class CopiesSchedule:
    """How long and how fast. A step sees ``photographs`` + ``labelled`` images and their edits.

    ``triplets`` of them are shown under two severities of a distortion.
    """

    steps: int = 4000
    photographs: int = 48
    labelled: int = 16
    triplets: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    #: Share of the steps at full speed; a half cosine down to 0 follows.
    plateau: float = 0.3
    clip: float = 1.0
    average: float = 0.0
    log_every: int = 50
    save_every: int = 200

    def __post_init__(self) -> None:
        if self.photographs < 2 or self.labelled < 0 or self.labelled % 2:
            raise ValueError(
                "schedule: expected at least 2 photographs and an even number of labelled images, "
                f"found {self.photographs} and {self.labelled}"
            )
        self.engine()

    @property
    def batch(self) -> int:
        """The images of a step, their edits not counted."""
        return self.photographs + self.labelled

    def engine(self) -> EngineSchedule:
        """The same as the engine has it."""
        return EngineSchedule(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            plateau=self.plateau,
            clip=self.clip,
            average=self.average,
            log_every=self.log_every,
            save_every=self.save_every,
        )


@dataclass(frozen=True)
class CopyLoss:
    """The copy loss; margins are l2 at the network's 64 px."""

    threshold_degrees: float = 60.0
    margin: float = 6.0
    temperature: float = 1.0
    hardest: float = 0.05


@dataclass(frozen=True)
class TripletTerm:
    """A 2AFC loss, weighted against the copy loss."""

    weight: float = 0.0
    margin: float = 4.0
    temperature: float = 1.0


@dataclass(frozen=True)
class DistillationTerm:
    """Imitation of the teacher's ``dimensions`` principal features, times ``scale``."""

    weight: float = 0.0
    scale: float = 10.0
    dimensions: int = 128


@dataclass(frozen=True)
class CopiesRecipe:
    """One training run, whole.

    ``blend`` is the share that the weights which the run began with have in those it ends with: the
    mean of two networks often does better than either. ``centred`` trains embeddings that count
    from that of a plain picture; either way they do when training has ended.
    """

    name: str = "lipsim-tiny"
    seed: int = 0
    blend: float = 0.0
    centred: bool = True
    data: CopiesData = field(default_factory=CopiesData)
    network: TinyShape = field(default_factory=TinyShape)
    schedule: CopiesSchedule = field(default_factory=CopiesSchedule)
    copies: CopyLoss = field(default_factory=CopyLoss)
    distortions: TripletTerm = field(default_factory=TripletTerm)
    semantics: TripletTerm = field(default_factory=TripletTerm)
    distillation: DistillationTerm = field(default_factory=DistillationTerm)
    edits: EditStrength = field(default_factory=EditStrength)

    def __post_init__(self) -> None:
        if not 0 <= self.blend < 1:
            raise ValueError(f"blend: expected a share in [0, 1), found {self.blend}")
        if bool(self.data.labelled) != bool(self.schedule.labelled):
            raise ValueError(
                "recipe: expected both or neither of [data] labelled and [schedule] labelled, "
                f"found {self.data.labelled!r} and {self.schedule.labelled}"
            )
        if self.semantics.weight and not self.data.labelled:
            raise ValueError("recipe: [semantics] needs [data] labelled images, found none")


def read_copies_recipe(recipe: str | os.PathLike[str]) -> CopiesRecipe:
    """The recipe in a TOML file, or of percert by its name; what it leaves out keeps its default.

    Raises ``ValueError`` for a key that no recipe has, naming it and what there is.
    """
    return read_recipe_file(CopiesRecipe, recipe)
