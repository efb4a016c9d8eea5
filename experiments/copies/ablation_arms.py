"""The arms of the ablation: named changes of a recipe, each under the heading it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.copies.ablation_networks import (
    circle_student,
    low_pass_student,
    shipped,
)
from experiments.copies.training import VARIANTS, fresh_student
from percert.data.plain_pictures import KINDS, plain_pictures
from percert.images import Resize
from percert.training.copies import CopiesRecipe
from percert.training.copies.pictures import UNLABELLED, Pictures, PictureSource
from percert.training.copies.recipe import TeacherRecipe
from percert.training.student import Student

Change = Callable[[CopiesRecipe], CopiesRecipe]
#: Where drawn pictures are among the sources of a recipe: no folder.
DRAWN = "drawn pictures"
#: Kinds that hold something: plain pictures have no direction.
DRAWN_KINDS = tuple(kind for kind in KINDS if kind != "flat colours")
#: Of each kind, to train on; the seed is none that anything is fitted to or judged on (0 and 1).
DRAWN_EACH, DRAWN_SEED = 60, 2
DRAWN_SHARE, DRAWN_SIDE = 12, 160
TEACHER = "experiments.copies.ablation_networks:small_teacher"
ANGLES = 20.0
BANK = 2000


@dataclass(frozen=True)
class CopyArm:
    """A change of the recipe. ``build`` makes the network that is trained; ``trained`` is false of
    one that is judged as it comes.
    """

    heading: str
    name: str
    change: Change = lambda recipe: recipe
    build: Callable[[CopiesRecipe], Student] = fresh_student
    trained: bool = True


def network(**changes: Any) -> Change:
    """Other shapes of the network."""
    return lambda recipe: replace(recipe, network=replace(recipe.network, **changes))


def copies(**changes: Any) -> Change:
    """Another copy loss."""
    return lambda recipe: replace(recipe, copies=replace(recipe.copies, **changes))


def seeded(more: int) -> Change:
    """Another start and other draws."""
    return lambda recipe: replace(recipe, seed=recipe.seed + more)


def alone(place: int) -> Change:
    """One source alone, all others' share its own."""

    def change(recipe: CopiesRecipe) -> CopiesRecipe:
        source = replace(recipe.data[place], share=recipe.batch // 2 * 2)
        semantics = recipe.semantics if source.classes else replace(recipe.semantics, weight=0.0)
        return replace(recipe, data=(source,), semantics=semantics)

    return change


def tenth(recipe: CopiesRecipe) -> CopiesRecipe:
    """A tenth of each source's pictures."""
    sources = (replace(source, count=max(8, source.count // 10)) for source in recipe.data)
    return replace(recipe, data=tuple(sources))


def drawings(recipe: CopiesRecipe) -> CopiesRecipe:
    """Drawn pictures among the others, in the place of as many of the first source."""
    first, *others = recipe.data
    share = min(DRAWN_SHARE, first.share // 2)
    drawn = PictureSource(DRAWN, share, DRAWN_SIDE, crop=0.75, count=DRAWN_EACH * len(DRAWN_KINDS))
    return replace(recipe, data=(replace(first, share=first.share - share), drawn, *others))


def taught(recipe: CopiesRecipe) -> CopiesRecipe:
    """The angles between a teacher's features, imitated."""
    return replace(recipe, teachers=(TeacherRecipe(name=TEACHER, angles=ANGLES),))


def averaged(recipe: CopiesRecipe) -> CopiesRecipe:
    """The running average of the weights."""
    return replace(recipe, schedule=replace(recipe.schedule, average=0.9))


def without(term: str) -> Change:
    """One of the losses left out."""

    def change(recipe: CopiesRecipe) -> CopiesRecipe:
        found: Any = {term: replace(getattr(recipe, term), weight=0.0)}
        return replace(recipe, **found)

    return change


RECIPE, LAYERS, DATA, TEACHERS, LOSSES = "the recipe", "layers", "data", "teacher", "losses"
CENTRE, DRAWINGS, SIZE, FRONT = "centre", "drawings", "size", "in front"
TWO, AVERAGE, MEMORY = "two networks", "averaging", "memory"
#: In the order in which they are trained: what was asked for most comes first.
ARMS = (
    CopyArm(RECIPE, "as it is"),
    CopyArm(RECIPE, "another seed", seeded(1)),
    CopyArm(MEMORY, f"bank of {BANK:,} strangers", copies(bank=BANK)),
    CopyArm(TWO, "two of width 64, on the circle", network(width=64, embedding=512, inner=256),
        circle_student),
    CopyArm(DRAWINGS, "drawn pictures as strangers", drawings),
    CopyArm(AVERAGE, "weights averaged, 0.9", averaged),
    CopyArm(CENTRE, "trained without", lambda recipe: replace(recipe, centred=False)),
    CopyArm(DATA, "last source alone", alone(-1)),
    CopyArm(DATA, "first source alone, without classes", alone(0)),
    CopyArm(DATA, "a tenth of the pictures", tenth),
    CopyArm(LOSSES, "without distortions", without("distortions")),
    CopyArm(LOSSES, "without semantics", without("semantics")),
    CopyArm(SIZE, "width 64", network(width=64)),
    CopyArm(SIZE, "width 128", network(width=128)),
    CopyArm(SIZE, "128 px inside, width 64", VARIANTS["128 px inside"]),
    CopyArm(FRONT, "a learned low-pass", build=low_pass_student),
    CopyArm(LAYERS, "LipNeXt's: on the manifold, l2 pooling", network(architecture="lipnext")),
    CopyArm(LAYERS, "BRONet's: block reflectors", network(architecture="bronet")),
    CopyArm(RECIPE, "a third seed", seeded(2)),
    CopyArm(TEACHERS, "angles of EfficientNet-Lite0", taught),
    CopyArm(SIZE, "embedding of 512", network(embedding=512)),
    CopyArm(SIZE, "embedding of 2,048", network(embedding=2048)),
    *(CopyArm(LOSSES, name, VARIANTS[name])
      for name in ("semantics 1.5", "hardest 5 %", "threshold 60", "margin 5")),
    CopyArm(MEMORY, f"bank of {BANK:,}, hardest 0.02 %", copies(bank=BANK, hardest=0.0002)),
    CopyArm(TWO, "shipped `lipsim-tiny`", build=lambda _: shipped(2), trained=False),
    CopyArm(TWO, "shipped `lipsim-tiny-1`", build=lambda _: shipped(1), trained=False),
    CopyArm(TWO, "both, on the circle at 45 degrees", build=lambda _: shipped(2, 1), trained=False),
)  # fmt: skip
#: In the order of the page.
HEADINGS = (
    *(RECIPE, LAYERS, DATA, TEACHERS, LOSSES, CENTRE),
    *(DRAWINGS, SIZE, FRONT, TWO, AVERAGE, MEMORY),
)


def drawn_pictures(each: int, side: int, seed: int) -> Mapping[str, Tensor]:
    """``each`` pictures of every kind that holds something, ``(each, 3, side, side)``, as bytes."""
    resize = Resize((side, side), "box")
    found = {}
    for kind in DRAWN_KINDS:
        drawn = [_as_tensor(picture) for picture in plain_pictures(kind, each, seed)]
        shown = torch.cat([resize(one[None]) for one in drawn])
        found[kind] = (255 * shown).round().to(torch.uint8)
    return found


def _as_tensor(picture: Any) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def corpus_of(recipe: CopiesRecipe, held: dict[str, Pictures]) -> list[Pictures]:
    """The pictures of each source, by its path; of more than ``count`` evenly many are left out.

    Drawn pictures are drawn when they are first asked for, and kept in ``held``.
    """
    found = []
    for source in recipe.data:
        if source.path == DRAWN and DRAWN not in held:
            drawn = drawn_pictures(DRAWN_EACH, source.side, DRAWN_SEED).values()
            images = torch.cat(list(drawn))
            held[DRAWN] = Pictures(images, torch.full((len(images),), UNLABELLED))
        pictures = held[source.path]
        if source.count < len(pictures):
            rows = torch.linspace(0, len(pictures) - 1, source.count).long()
            pictures = Pictures(pictures.images[rows], pictures.labels[rows])
        found.append(pictures)
    return found
