"""Triplets for LipSim's tables and its Figure 5, and what metrics and attacks make of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from experiments.papers.item import COMMAND, Findings, Setting, StandIn
from experiments.papers.networks import Judge
from experiments.papers.photographs import pictures_folder
from percert.data.judgements import night_triplets
from percert.data.triplets import Triplet, distortion_triplets, load_triplet
from percert.evaluation.attack_runs.pages import as_picture
from percert.evaluation.copies.measure import spread
from percert.evaluation.twoafc.attacks import PlannedAttack
from percert.evaluation.twoafc.evaluate import CLEAN, TwoAFCRun, keep_twoafc
from percert.lipschitz.network import weights_hash
from percert.metrics.metric import Metric
from percert.reports.page import Figure
from percert.reports.plots import Cell, picture_grid
from percert.runs import RunFolder
from percert.runs.items import resized

#: For every photograph, so many triplets of different distortions.
KINDS = ("jpeg", "blur", "noise")
#: For natural scores, of which two tell metrics apart: most metrics see more noise in any case.
TELLING = ("jpeg", "hue", "shift")
#: Where what was found of each metric lies, beside the items' own folders.
SHARED = "judged-triplets"
#: The folder of ImageNet photographs, beside those that are not ImageNet's.
IMAGENET = "imagenet-samples"
#: How many triplets the paper's tables are of, which it does not say: of the 85 percentages in its
#: Tables 1 to 3, 74 are whole numbers of 1,824, and of no other count up to 3,000 more than 48.
NIGHT_TEST = 1824
WHAT = f"NIGHT's {NIGHT_TEST:,} test triplets, with people's judgements"
#: The side at which the paper looks at images, in pixels.
SIDE = 224


@dataclass(frozen=True)
class Triplets:
    """Triplets, and what they stand for: nothing, where they are all of NIGHT's test set.

    ``source`` tells them from others in records.
    """

    items: list[Triplet]
    source: str
    stand: StandIn | None = None

    @property
    def whole(self) -> bool:
        """Whether they are the paper's."""
        return self.stand is None

    @property
    def here(self) -> str:
        """What they are."""
        return WHAT if self.stand is None else self.stand.here


def find_triplets(setting: Setting, *, of_imagenet: bool = False) -> Triplets:
    """NIGHT's test triplets where they are in the data folder, else distorted photographs.

    Of each of the first photographs one for each of :data:`KINDS`, in the group "other"; with
    ``of_imagenet`` of :data:`TELLING`, and as many of ImageNet's photographs, in the group
    "imagenet", where they are there. Raises
    :class:`~experiments.papers.item.MissingDataError` without photographs.
    """
    if setting.data is not None and (setting.data / "night").is_dir():
        found = list(night_triplets(setting.data / "night"))
        some = found[: setting.images * len(KINDS)]
        stand = None if len(some) == NIGHT_TEST else StandIn(WHAT, _part(len(some), len(found)))
        return Triplets(some, str((setting.data / "night").resolve()), stand)
    folder, where = pictures_folder(setting)
    kinds = TELLING if of_imagenet else KINDS
    made = _distorted(folder, "other", kinds, setting, first=True)
    imagenet = None if setting.data is None else setting.data / IMAGENET
    if of_imagenet and imagenet is not None and imagenet.is_dir():
        made += _distorted(imagenet, "imagenet", kinds, setting, first=False)
        where += " (other) and of ImageNet"
    here = (
        f"{len(made)} triplets: {where} under {', '.join(kinds)}, the less distorted one being the "
        "closer, as nobody judged"
    )
    return Triplets(made, str(folder.resolve()), StandIn(WHAT, here))


def _part(some: int, all_of_them: int) -> str:
    if some == all_of_them:
        return f"all {some} of the test set in DATA/night"
    return f"the first {some} of {all_of_them} in DATA/night (--images takes more)"


def _distorted(
    folder: Path, group: str, kinds: tuple[str, ...], setting: Setting, *, first: bool
) -> list[Triplet]:
    made = list(distortion_triplets(folder, distortions=kinds, seed=setting.seed))
    count = made[-1].index + 1
    # ImageNet's samples are sorted by class: the first ones would all be fish.
    chosen = range(setting.images) if first else spread(count, setting.images)
    wanted = frozenset(chosen)
    return [replace(triplet, group=group) for triplet in made if triplet.index in wanted]


def judged_rows(
    setting: Setting,
    judge: Judge,
    triplets: Triplets,
    attacks: Mapping[str, PlannedAttack],
    *,
    own_choice: bool = False,
) -> list[dict[str, Any]]:
    """What ``judge`` says of the triplets as they are, and under each of ``attacks``.

    With ``own_choice`` attacks are against what the metric says, and not against what people do.
    What an earlier item or a run that was killed has found is not found again. Raises
    ``ValueError`` for a triplet that cannot be read.
    """
    known = {triplet.name: triplet for triplet in triplets.items}
    asked = [replace(one, share=None) for one in triplets.items] if own_choice else triplets.items
    run = TwoAFCRun(
        metric=cast(Metric, judge.metric),
        attacks=attacks,
        size=(SIDE, SIDE),
        batch_size=8,
        seed=setting.seed,
        device=setting.device,
        # Of a made triplet it is the answer that says which side is which.
        load=lambda one: _load(known[one.name]),
    )
    names = {triplet.name for triplet in triplets.items}
    wanted = {(name, attack) for name in names for attack in (CLEAN, *attacks)}
    what = f"{judge.title}, {'as they are' if not attacks else 'under attack'}: triplets' rows"
    own = "-own-choice" if own_choice else ""
    folder = RunFolder(
        setting.out.parent / SHARED / f"{judge.key}{own}",
        {
            "eval": "twoafc",
            "source": triplets.source,
            "metric": judge.key,
            "weights_sha256": weights_hash(judge.metric),
            "size": [SIDE, SIDE],
            "seed": setting.seed,
        },
        command=[*COMMAND, setting.out.name],
        device=setting.device,
        seed=setting.seed,
    )
    kept = keep_twoafc(folder, run, asked, lambda _, done, total: setting.watch(what, done, total))
    if kept.bad:
        raise ValueError(f"{kept.bad[0][0]}: {kept.bad[0][1]}")
    return [row for row in kept.rows if (row["image"], row["attack"]) in wanted]


def _load(triplet: Triplet) -> tuple[Tensor, Tensor, Tensor]:
    reference, left, right = (image.float() / 255 for image in _small(triplet))
    return reference, left, right


@lru_cache(maxsize=512)
def _small(triplet: Triplet) -> tuple[Tensor, ...]:
    """The images as bytes at the side that they are looked at: many metrics look at them."""
    found = (resized(image, (SIDE, SIDE)) for image in load_triplet(triplet))
    return tuple((255 * image).round().to(torch.uint8) for image in found)


SHOWN = 6


def figure_5(setting: Setting) -> Findings:
    """A column a triplet: the left candidate, the reference, the right candidate."""
    triplets = find_triplets(setting, of_imagenet=True)
    chosen = [triplets.items[place] for place in spread(len(triplets.items), SHOWN)]
    figure = Figure(
        picture_grid([_cell(triplet) for triplet in chosen], across=len(chosen)),
        "Each column a triplet, from top to bottom: the left candidate, the reference, the right "
        "candidate; above it which of them is the closer one.",
        f"{len(chosen)} triplets of images",
    )
    shown = StandIn(
        "some triplets of NIGHT, it does not say which",
        f"{len(chosen)} of {triplets.here}",
    )
    return Findings((), (), (figure,), (shown,))


def _cell(triplet: Triplet) -> Cell:
    reference, left, right = (
        as_picture(resized(image, (SIDE, SIDE))) for image in load_triplet(triplet)
    )
    kind = triplet.distortion or triplet.group
    return Cell(f"{kind}: {_said(triplet)}", (left, reference, right))


def _said(triplet: Triplet) -> str:
    if triplet.choice is None or triplet.share is None:
        return "undecided"
    agreed = max(triplet.share, 1 - triplet.share)
    who = f", {agreed:.0%} of {triplet.votes}" if triplet.votes else ""
    return ("left" if triplet.choice == 0 else "right") + who
