"""The batches of a run: crops, edits and pairs, drawn one after another by one generator."""

from collections import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from percert.lipschitz.tiny import RESOLUTION
from percert.tensors import Images, Labels
from percert.training.batch_edits import downsample, random_edit
from percert.training.copies.photographs import (
    Pool,
    draw_pairs,
    draw_photographs,
    labelled_pool,
    photograph_pool,
)
from percert.training.copies.recipe import CopiesRecipe
from percert.training.distortions import distortion_pair

#: Photographs are cropped at twice the network's size, so that crops of crops keep their detail.
BASE_SIZE = 2 * RESOLUTION[0]


@dataclass(frozen=True)
class Corpus:
    """The images of a run, in memory."""

    photographs: Pool
    labelled: Pool


@dataclass(frozen=True)
class Drawn:
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
class Draws:
    """Endless batches of one :class:`Drawn` each, and at once their order, for the engine.

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
    def order(self) -> "Draws":
        return self

    def start(self) -> Tensor:
        """Where a run begins."""
        return Generator().manual_seed(self.recipe.seed).get_state()

    def held(self, cursor: Tensor) -> dict[str, Any]:
        """A cursor as what JSON can hold."""
        return {"generator": bytes(cursor.tolist()).hex()}

    def found(self, held: dict[str, Any]) -> Tensor:
        """The reverse of :meth:`held`."""
        return torch.tensor(list(bytes.fromhex(held["generator"])), dtype=torch.uint8)

    def batches(self, start: Tensor) -> abc.Generator[tuple[list[Drawn], Tensor], None, None]:
        """Each batch with the cursor after it, from ``start`` on, without end."""
        generator = Generator()
        generator.set_state(start)
        while True:
            drawn = draw(self.recipe, self.corpus, generator)
            yield [drawn], generator.get_state()


def draw(recipe: CopiesRecipe, corpus: Corpus, generator: Generator) -> Drawn:
    """One batch."""
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
    return Drawn(standard, edited, milder, stronger, identity, labels)
