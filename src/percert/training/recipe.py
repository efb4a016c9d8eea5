"""A training recipe: everything that decides what a run gives, read from TOML."""

import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from percert.lipschitz.tiny import TinyShape
from percert.training.batch_edits import EditStrength

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class Data:
    """What is trained on. Paths are relative to the data folder that the command is given."""

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
class Schedule:
    """How long and how fast. A step sees ``photographs`` + ``labelled`` images and their edits."""

    steps: int = 4000
    photographs: int = 48
    labelled: int = 16
    triplets: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    #: Share of the steps at full speed; a half cosine down to 0 follows.
    plateau: float = 0.3
    clip: float = 1.0
    save_every: int = 200


@dataclass(frozen=True)
class Copies:
    """The copy loss; margins are l2 at the network's 64 px."""

    threshold_degrees: float = 60.0
    margin: float = 6.0
    temperature: float = 1.0
    hardest: float = 0.05


@dataclass(frozen=True)
class Triplets:
    """A 2AFC loss, weighted against the copy loss."""

    weight: float = 0.0
    margin: float = 4.0
    temperature: float = 1.0


@dataclass(frozen=True)
class Distillation:
    """Imitation of the teacher's ``dimensions`` principal features, times ``scale``."""

    weight: float = 0.0
    scale: float = 10.0
    dimensions: int = 128


@dataclass(frozen=True)
class Recipe:
    """One training run, whole."""

    name: str = "lipsim-tiny"
    seed: int = 0
    data: Data = field(default_factory=Data)
    network: TinyShape = field(default_factory=TinyShape)
    schedule: Schedule = field(default_factory=Schedule)
    copies: Copies = field(default_factory=Copies)
    distortions: Triplets = field(default_factory=Triplets)
    semantics: Triplets = field(default_factory=Triplets)
    distillation: Distillation = field(default_factory=Distillation)
    edits: EditStrength = field(default_factory=EditStrength)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; what it leaves out keeps its default.

    Raises ``ValueError`` for a key that no recipe has, naming it and what there is.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not a readable TOML recipe: {error}") from error
    return _build(Recipe, table, str(path))


def _build(kind: type[T], table: dict[str, Any], where: str) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # always one of the above
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    values = {
        name: _build(hints[name], value, f"{where}: [{name}]")
        if is_dataclass(hints[name])
        else value
        for name, value in table.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
