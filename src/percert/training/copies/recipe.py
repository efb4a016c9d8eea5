"""The recipe of ``percert train copies``: everything that decides what a run gives."""

import os
from dataclasses import asdict, dataclass, field, fields

from percert.lipschitz.architectures import TinyShape
from percert.training.copies.edits import EditStrength
from percert.training.copies.paths import PathTerm
from percert.training.copies.pictures import PictureSource
from percert.training.engine.run import Schedule as EngineSchedule
from percert.training.recipe_file import read_recipe_file


@dataclass(frozen=True)
class CopiesSchedule:
    """How long and how fast. A step sees the shares of all sources, and an edit of each picture.

    The first ``triplets`` of them are shown under two severities of a distortion.
    """

    steps: int = 4000
    triplets: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    #: Share of the steps at full speed; a half cosine down to 0 follows.
    plateau: float = 0.3
    clip: float = 1.0
    average: float = 0.0
    #: Share of the steps, from the first, whose layers compute in bf16.
    bf16_share: float = 0.0
    log_every: int = 50
    save_every: int = 200

    def engine(self, batch: int) -> EngineSchedule:
        """The schedule of the training loop."""
        shared = {field.name for field in fields(EngineSchedule)}
        own = {name: value for name, value in asdict(self).items() if name in shared}
        return EngineSchedule(batch=batch, **own)


@dataclass(frozen=True)
class CopyLoss:
    """The copy loss; margins are l2 at the network's resolution.

    ``bank`` is how many embeddings of past steps are strangers as well, among which the ``hardest``
    share of all pairs is found (:class:`percert.training.copies.bank.Bank`).
    """

    threshold_degrees: float = 60.0
    margin: float = 6.0
    temperature: float = 1.0
    hardest: float = 0.05
    bank: int = 0

    def __post_init__(self) -> None:
        if self.bank < 0:
            raise ValueError(f"copies: expected a bank of at least 0, found {self.bank}")


@dataclass(frozen=True)
class TripletTerm:
    """A 2AFC loss, weighted against the copy loss."""

    weight: float = 0.0
    margin: float = 4.0
    temperature: float = 1.0


@dataclass(frozen=True)
class TeacherRecipe:
    """A network whose view of the pictures is imitated.

    ``name`` and ``weights`` (a file, from the data folder) are as for
    :func:`percert.training.distillation.teachers.load_teacher`; pictures smaller than ``size`` px
    are enlarged to it. ``imitation`` weighs the distance to its ``dimensions`` principal
    features, times ``scale``, ``angles`` the differences between its cosines and the student's.
    """

    name: str = "squeezenet1_0"
    weights: str = ""
    size: int = 0
    imitation: float = 0.0
    scale: float = 10.0
    dimensions: int = 128
    angles: float = 0.0


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
    data: tuple[PictureSource, ...] = (PictureSource(),)
    teachers: tuple[TeacherRecipe, ...] = ()
    network: TinyShape = field(default_factory=TinyShape)
    schedule: CopiesSchedule = field(default_factory=CopiesSchedule)
    copies: CopyLoss = field(default_factory=CopyLoss)
    distortions: TripletTerm = field(default_factory=TripletTerm)
    semantics: TripletTerm = field(default_factory=TripletTerm)
    paths: PathTerm = field(default_factory=PathTerm)
    edits: EditStrength = field(default_factory=EditStrength)

    def __post_init__(self) -> None:
        if not 0 <= self.blend < 1:
            raise ValueError(f"blend: expected a share in [0, 1), found {self.blend}")
        if self.batch < 4:  # an edit may show three of them, and strangers it shows none of
            raise ValueError(f"[[data]]: expected at least 4 pictures a step, found {self.batch}")
        if self.semantics.weight and not any(source.classes for source in self.data):
            raise ValueError("[semantics]: needs [[data]] with classes, found none")
        self.schedule.engine(self.batch)

    @property
    def batch(self) -> int:
        """The pictures of a step, their edits not counted."""
        return sum(source.share for source in self.data)


def read_copies_recipe(recipe: str | os.PathLike[str]) -> CopiesRecipe:
    """The recipe in a TOML file, or of percert by its name; what it leaves out keeps its default.

    Raises ``ValueError`` for a key that no recipe has, naming it and what there is.
    """
    return read_recipe_file(CopiesRecipe, recipe)
