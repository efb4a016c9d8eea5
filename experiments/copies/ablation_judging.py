"""What a short training of the ablation is judged by, all on pictures that it did not see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.copies.ablation_arms import drawn_pictures
from experiments.copies.training import (
    SIDE,
    HeldOutPictures,
    edited_pictures,
    embed_pictures,
    held_out,
    shares_found,
)
from experiments.speed.networks import Case, time_cases
from percert.data.labelled_images import semantic_triplets
from percert.images import Resize
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.training.copies import CopiesRecipe
from percert.training.copies.pictures import Pictures, PictureSource, read_pictures
from percert.training.student import Student

#: Photographs that are edited and looked for, how often each, and pictures that they are not.
PHOTOGRAPHS, ROUNDS, STRANGERS = 400, 2, 2000
RATE = 1e-3
TRIPLETS = 4000
#: Of the classes never trained on, every so manieth picture.
CLASSES_EVERY = 20
#: Drawn pictures of each kind, of another seed than those that anything is fitted to or trained on.
DRAWN_EACH, DRAWN_SEED = 16, 0
#: Pictures embedded at once: what the caches of a CPU hold.
TOGETHER = 64
BATCHES = (1, 32)


@dataclass(frozen=True)
class JudgedOn:
    """Pictures as bytes; ``edits`` are by the side that a network sees, made once."""

    held: HeldOutPictures
    classes: Pictures
    drawn: Mapping[str, Tensor]
    edits: dict[int, dict[str, Tensor]]

    @property
    def pairs(self) -> int:
        return len(self.held.photographs) * len(self.held.strangers)

    def edited(self, side: int) -> dict[str, Tensor]:
        if side not in self.edits:
            self.edits[side] = edited_pictures(self.held, side, ROUNDS)
        return self.edits[side]


@dataclass(frozen=True)
class CopyScores:
    """``found`` and ``hard`` are shares at l2 = 0, 4, 16 and 32 of 299 px, at :data:`RATE`.

    ``classes`` is the share of triplets answered rightly, ``length`` that of a photograph's
    embedding, ``drawn`` by kind the share of pairs of drawn pictures within the threshold.
    """

    found: list[float]
    hard: list[float]
    classes: float
    length: float
    drawn: dict[str, float]


def judged_on(recipe: CopiesRecipe, trained: Tensor, data: Path, cache: Path) -> JudgedOn:
    """What the sources hold out, evenly many of it, and what is drawn."""
    held = held_out(recipe, trained[:1], data, cache)
    strangers = _evenly(held.strangers, STRANGERS)
    photographs = _evenly(held.photographs, min(PHOTOGRAPHS, len(strangers)))
    held = replace(held, photographs=photographs, strangers=strangers)
    drawn = drawn_pictures(DRAWN_EACH, recipe.data[0].side, DRAWN_SEED)
    return JudgedOn(held, unseen_classes(recipe, data, cache), drawn, {})


def _evenly(pictures: Tensor, count: int) -> Tensor:
    return pictures[torch.linspace(0, len(pictures) - 1, min(count, len(pictures))).long()]


def unseen_classes(recipe: CopiesRecipe, data: Path, cache: Path) -> Pictures:
    """Pictures of the classes that the last source leaves out of training."""
    source = recipe.data[-1]
    names = {folder.name for folder in (data / source.path).iterdir() if folder.is_dir()}
    left = tuple(sorted(names - set(source.leave_out)))
    others = replace(
        PictureSource(source.path, source.share, source.side, classes=True, crop=source.crop),
        hold_out=CLASSES_EVERY,
        leave_out=left,
    )
    return read_pictures(data, others, recipe.seed, cache, held_out=True)


@torch.no_grad()
def scores(student: Student, side: int, on: JudgedOn, seed: int) -> CopyScores:
    """A network, judged."""
    student.eval()
    embed = partial(embed_pictures, student, side=side, batch=TOGETHER)
    stored = embed(on.held.photographs)
    views, strangers = F.normalize(stored, dim=1), F.normalize(embed(on.held.strangers), dim=1)
    near = (views @ strangers.T).flatten()
    tau = near.topk(max(1, int(RATE * len(near)))).values[-1]
    own = torch.zeros(len(views))
    found = {
        kind: shares_found(embed(edits), [views], [own], tau, side)
        for kind, edits in on.edited(side).items()
    }
    drawn = {kind: pairs_within(embed(images), float(tau)) for kind, images in on.drawn.items()}
    return CopyScores(
        found["usual"],
        found["hard"],
        round(class_score(embed(on.classes.images), on.classes.labels, seed), 4),
        round(float(stored.norm(dim=1).mean()), 2),
        {kind: round(share, 4) for kind, share in drawn.items()},
    )


def pairs_within(embeddings: Tensor, cosine: float) -> float:
    """The share of all pairs whose cosine is at least ``cosine``.

    >>> pairs_within(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]]), 0.9)
    0.3333333333333333
    """
    units = F.normalize(embeddings, dim=1)
    first, second = torch.triu_indices(len(units), len(units), 1)
    close = (units[first] * units[second]).sum(1) >= cosine
    return float(close.double().mean())


def class_score(embeddings: Tensor, labels: Tensor, seed: int) -> float:
    """How often the picture of the same class is the closer one; a tie is an error."""
    units = F.normalize(embeddings, dim=1)
    triplets = semantic_triplets(labels.numpy(), TRIPLETS, seed)
    here, same, other = (units[torch.from_numpy(column)] for column in np.asarray(triplets).T)
    closer: Tensor = (here * same).sum(1) > (here * other).sum(1)
    return float(closer.double().mean())


@torch.no_grad()
def speeds(students: Sequence[Student], repeats: int) -> list[dict[str, float]]:
    """Photographs of 299 px embedded a second in double precision, as metrics compute, by batch.

    The networks take turns, so that a busy minute falls on all of them.
    """
    cases = []
    for student in students:
        network = student.network
        metric = EmbeddingMetric(network.double(), Resize(network.resolution, "box"), name="arm")
        for batch in BATCHES:
            images = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
            cases.append(Case(str(batch), "embed", batch, partial(metric.embed, images)))
    timings, _ = time_cases(cases, repeats, 1)
    rates = [{one.name: round(one.images_per_second, 1)} for one in timings]
    return [{**first, **second} for first, second in zip(rates[::2], rates[1::2], strict=True)]
