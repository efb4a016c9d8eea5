"""The recipe of ``percert train copies``, and the batches that are drawn as it says.

Images are decoded once and kept in memory as bytes; one generator draws crops, edits and pairs.
"""

import os
from collections import abc
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from percert.data.labelled_images import read_labelled_images
from percert.images import Resize, find_images, load_image
from percert.lipschitz.architectures import RESOLUTION, TinyShape
from percert.tensors import Images, Labels
from percert.training.augmentations import (
    EditStrength,
    distortion_pair,
    downsample,
    random_crop,
    random_edit,
)
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
        """The schedule of the training loop."""
        shared = {field.name for field in fields(EngineSchedule)}
        own = {name: value for name, value in asdict(self).items() if name in shared}
        return EngineSchedule(batch=self.batch, **own)


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


@dataclass(frozen=True)
class ImagePool:
    """Images ``(n, 3, s, s)`` as uint8, and what is the same photograph or class ``(n,)``."""

    images: Tensor
    labels: Labels

    def take(self, rows: Labels) -> Images:
        return self.images[rows].float() / 255


def photograph_pool(root: Path, data: CopiesData) -> ImagePool:
    """Every photograph of the folder, squeezed to ``data.side``, but for those held out."""
    folder = root / data.photographs
    paths = [
        path
        for index, path in enumerate(find_images([folder]))
        if not data.hold_out or index % data.hold_out != data.hold_out - 1
    ]
    if not paths:
        raise ValueError(f"{folder}: no photographs found")
    resize = Resize((data.side, data.side), "bicubic")
    images = [_to_uint8(resize(load_image(path)[None]))[0] for path in paths]
    return ImagePool(torch.stack(images), torch.arange(len(images)))


def labelled_pool(root: Path, data: CopiesData, seed: int) -> ImagePool:
    """``data.labelled_count`` images of the parquet file, drawn at random; none without a file."""
    if not data.labelled:
        return ImagePool(
            torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.long)
        )
    labelled = read_labelled_images(root / data.labelled)
    count = min(data.labelled_count, len(labelled.labels))
    rows = np.random.default_rng(seed).choice(len(labelled.labels), count, replace=False)
    return ImagePool(_to_uint8(labelled.decode(rows)), torch.from_numpy(labelled.labels[rows]))


def draw_photographs(
    pool: ImagePool, count: int, size: int, generator: Generator
) -> tuple[Images, Labels]:
    """Random crops of random photographs, ``(count, 3, size, size)``, and their rows."""
    rows = torch.randint(len(pool.images), (count,), generator=generator)
    return random_crop(pool.take(rows), 0.55, 0.15, size, generator), rows


def draw_pairs(
    pool: ImagePool, count: int, size: int, generator: Generator
) -> tuple[Images, Labels]:
    """``count`` images in pairs of one class (rows 2i and 2i + 1), enlarged, and their rows."""
    first = torch.randint(len(pool.images), (count // 2,), generator=generator)
    same = pool.labels[first][:, None] == pool.labels[None]
    second = torch.multinomial(same.float(), 1, generator=generator)[:, 0]
    rows = torch.stack((first, second), 1).flatten()
    larger = F.interpolate(pool.take(rows), size=(size, size), mode="bicubic").clamp(0, 1)
    return random_crop(larger, 0.75, 0.1, size, generator), rows


def _to_uint8(images: Images) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


#: Photographs are cropped at twice the network's size, so that crops of crops keep their detail.
BASE_SIZE = 2 * RESOLUTION[0]


@dataclass(frozen=True)
class Corpus:
    """The images of a run, in memory."""

    photographs: ImagePool
    labelled: ImagePool


@dataclass(frozen=True)
class CopyBatch:
    """The images of a step: photographs first, then labelled images in pairs of one class.

    ``standard`` and ``edited`` are ``(n, 3, h, w)`` and show the same images, ``identity`` says
    which, counted through the corpus; ``labels`` are the classes of the labelled ones. ``milder``
    and ``stronger`` are the first few under two severities of a distortion, or empty.
    """

    standard: Images
    edited: Images
    milder: Images
    stronger: Images
    identity: Labels
    labels: Labels


def read_corpus(recipe: CopiesRecipe, root: Path) -> Corpus:
    """Decode every image that the recipe names. Raises ``ValueError`` where there are none."""
    photographs = photograph_pool(root, recipe.data)
    return Corpus(photographs, labelled_pool(root, recipe.data, recipe.seed))


@dataclass(frozen=True)
class CopyBatches:
    """Endless batches of one :class:`CopyBatch` each, and at once their order, for the engine.

    A cursor is the state of the random generator: the same numbers are drawn wherever a run is
    taken up. One process draws all, so there is no second one to share with.
    """

    recipe: CopiesRecipe
    corpus: Corpus
    world: int = 1

    @property
    def batch(self) -> int:
        return self.recipe.schedule.batch

    @property
    def order(self) -> "CopyBatches":
        return self

    def start(self) -> Tensor:
        """Where a run begins."""
        return Generator().manual_seed(self.recipe.seed).get_state()

    def to_json(self, cursor: Tensor) -> dict[str, Any]:
        """A cursor as what JSON can hold."""
        return {"generator": bytes(cursor.tolist()).hex()}

    def from_json(self, held: dict[str, Any]) -> Tensor:
        """The reverse of :meth:`to_json`."""
        return torch.tensor(list(bytes.fromhex(held["generator"])), dtype=torch.uint8)

    def batches(self, start: Tensor) -> abc.Generator[tuple[list[CopyBatch], Tensor], None, None]:
        """Each batch with the cursor after it, from ``start`` on, without end."""
        generator = Generator()
        generator.set_state(start)
        while True:
            drawn = draw_batch(self.recipe, self.corpus, generator)
            yield [drawn], generator.get_state()


def draw_batch(recipe: CopiesRecipe, corpus: Corpus, generator: Generator) -> CopyBatch:
    """The next batch, all of it drawn from ``generator``."""
    schedule = recipe.schedule
    base, rows = draw_photographs(corpus.photographs, schedule.photographs, BASE_SIZE, generator)
    pair_rows = rows[:0]
    if schedule.labelled:
        pairs, pair_rows = draw_pairs(corpus.labelled, schedule.labelled, BASE_SIZE, generator)
        base = torch.cat((base, pairs))
    edited = random_edit(base, base.roll(1, 0), recipe.edits, generator)
    standard = downsample(base, RESOLUTION[0])
    milder = stronger = standard[:0]
    if recipe.distortions.weight:
        milder, stronger = distortion_pair(base[: schedule.triplets], generator)
    identity = torch.cat((rows, len(corpus.photographs.images) + pair_rows))
    labels = corpus.labelled.labels[pair_rows]
    return CopyBatch(standard, edited, milder, stronger, identity, labels)
