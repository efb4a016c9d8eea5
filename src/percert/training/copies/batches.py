"""The batches of a run, all of a batch drawn by one generator, on the device that trains."""

from collections import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from percert.tensors import Images, Labels
from percert.training.augmentations import distortion_pair, downsample
from percert.training.copies.edits import random_edit
from percert.training.copies.paths import along_path
from percert.training.copies.pictures import UNLABELLED, Pictures, draw_pictures, read_pictures
from percert.training.copies.recipe import CopiesRecipe


def read_corpus(recipe: CopiesRecipe, root: Path, cache: Path) -> list[Pictures]:
    """Every picture that the recipe names, a source after the other."""
    return [read_pictures(root, source, recipe.seed, cache) for source in recipe.data]


@dataclass(frozen=True)
class CopyBatch:
    """The images of a step, a source after the other.

    ``standard`` and ``edited`` are ``(n, 3, h, w)`` and show the same images; ``identity`` says
    which, counted through the sources. An edit may show others beside: ``shown`` ``(s, n)`` are all
    that it shows. Pairs of an edited and a standard image are ``strangers`` ``(n, n)`` where
    neither shows anything of the other. ``labels`` are their classes, counted
    likewise, -1 where there are none. ``milder`` and ``stronger`` are the first few under two
    severities of a distortion, or empty, and ``along`` some under one plain edit, or empty.
    """

    standard: Images
    edited: Images
    milder: Images
    stronger: Images
    along: Images
    identity: Labels
    shown: Labels
    strangers: Tensor
    labels: Labels


@dataclass(frozen=True)
class CopyBatches:
    """Endless batches of one :class:`CopyBatch` each, and at once their order, for the engine.

    A cursor is the state of the random generator: the same numbers are drawn wherever a run is
    taken up, on the same kind of device. One process draws all, so there is no second to share.
    """

    recipe: CopiesRecipe
    corpus: list[Pictures]
    device: torch.device
    world: int = 1

    @property
    def batch(self) -> int:
        return self.recipe.batch

    @property
    def order(self) -> "CopyBatches":
        return self

    def start(self) -> Tensor:
        """Where a run begins."""
        return Generator(self.device).manual_seed(self.recipe.seed).get_state()

    def to_json(self, cursor: Tensor) -> dict[str, Any]:
        """A cursor as what JSON can hold."""
        return {"generator": bytes(cursor.tolist()).hex()}

    def from_json(self, held: dict[str, Any]) -> Tensor:
        """The reverse of :meth:`to_json`."""
        return torch.tensor(list(bytes.fromhex(held["generator"])), dtype=torch.uint8)

    def batches(self, start: Tensor) -> abc.Generator[tuple[list[CopyBatch], Tensor], None, None]:
        """Each batch with the cursor after it, from ``start`` on, without end."""
        generator = Generator(self.device)
        generator.set_state(start)
        corpus = [pictures.to(self.device) for pictures in self.corpus]
        while True:
            drawn = draw_batch(self.recipe, corpus, generator)
            yield [drawn], generator.get_state()


def draw_batch(recipe: CopiesRecipe, corpus: list[Pictures], generator: Generator) -> CopyBatch:
    """The next batch, all of it drawn from ``generator``."""
    size = recipe.network.side
    bases, identities, labels = [], [], []
    before = classes = 0
    for source, pictures in zip(recipe.data, corpus, strict=True):
        # Twice the network's size, so that crops of crops keep their detail.
        base, rows = draw_pictures(pictures, source, 2 * size, generator)
        found = pictures.labels[rows]
        bases.append(base)
        identities.append(before + rows)
        labels.append(torch.where(found == UNLABELLED, found, found + classes))
        before += len(pictures)
        classes += pictures.classes
    base, identity = torch.cat(bases), torch.cat(identities)
    edited = random_edit(base, base.roll(1, 0), base.roll(2, 0), recipe.edits, generator)
    # An edit may show two pictures more, of which it is neither a copy nor a stranger.
    shown = torch.stack([identity.roll(shift) for shift in range(3)])
    strangers = (shown[:, :, None] != identity).all(0)
    standard = downsample(base, size)
    milder = stronger = standard[:0]
    if recipe.distortions.weight:
        milder, stronger = distortion_pair(base[: recipe.schedule.triplets], generator)
    along = standard[:0]
    if recipe.paths.weight:
        along = along_path(base[: recipe.paths.pictures], recipe.paths, generator)
    return CopyBatch(
        standard, edited, milder, stronger, along, identity, shown, strangers, torch.cat(labels)
    )
