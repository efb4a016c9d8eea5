"""Rows of a 2AFC evaluation: per triplet the choice, its certified radius, the attacked choice.

LipSim (Ghazanfari et al., ICLR 2024), section 5. One row for each triplet as it is (attack
``none``) and one for each attack on it; :mod:`percert.evaluation.twoafc.scores` sums them up.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from percert.attacks.goal_through import ROLES, flip_together, interleave, take_apart
from percert.attacks.run import CountedModel, timed_attack
from percert.attacks.threat import length, round_inside, threat_of
from percert.certify.features import embed
from percert.certify.twoafc import PerturbedTriplet, twoafc_of_features
from percert.data.triplets import Triplet, load_triplet
from percert.evaluation.twoafc.attacks import PlannedAttack
from percert.images import round_to_8bit
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.runs.certified import check_attack, check_decision
from percert.runs.engine import (
    Done,
    Kept,
    Progress,
    RunFolder,
    Step,
    batches,
    read_all,
    seed_of,
    silent,
)
from percert.runs.items import resized
from percert.tensors import Images, Vector

#: What reads a triplet: reference, left and right, ``(3, h, w)`` each.
Load: TypeAlias = Callable[[Triplet], tuple[Tensor, Tensor, Tensor]]
#: The row of a triplet as it is.
CLEAN = "none"

COLUMNS: dict[str, type] = {
    "image": str,
    "attack": str,
    "split": str,
    "group": str,
    "share": float,
    "label": int,
    "clean_prediction": int,
    "prediction": int,
    "distance_left": float,
    "distance_right": float,
    "radius": float,
    "radius_paper": float,
    "norm": str,
    "eps": float,
    "attacked": bool,
    "success": bool,
    "success_8bit": bool,
    "l1": float,
    "l2": float,
    "linf": float,
    "ssim": float,
    "distance_moved": float,
    "seconds": float,
    "model_calls": float,
    "height": int,
    "width": int,
    "seed": int,
}


@dataclass(frozen=True)
class TwoAFCRun:
    """How triplets are evaluated: the same for all.

    ``perturbed`` says which images move, each within the budget. ``size`` resizes all images to
    (height, width) first (bicubic with antialiasing, rounded to 8 bits), as the paper does to
    224 x 224: budgets are l2 lengths in the pixels that remain.
    """

    metric: Metric
    attacks: Mapping[str, PlannedAttack] = field(default_factory=dict)
    perturbed: PerturbedTriplet = "reference"
    size: tuple[int, int] | None = None
    batch_size: int = 16
    seed: int = 0
    device: str = "cpu"
    load: Load = load_triplet


#: A triplet and its images, as they are evaluated.
Loaded: TypeAlias = tuple[Triplet, tuple[Tensor, Tensor, Tensor]]


class TripletBatch:
    """Triplets of the same sizes, what the metric says of them, and what is proven."""

    def __init__(self, run: TwoAFCRun, loaded: Sequence[Loaded]) -> None:
        self.run = run
        self.triplets = [triplet for triplet, _ in loaded]
        self.images = {
            role: torch.stack([images[place] for _, images in loaded]).to(run.device)
            for place, role in enumerate(("reference", "left", "right"))
        }
        self.left, self.right = distances(run.metric, self.images)
        self.tied = (self.left == self.right).tolist()
        self.choice = (self.right < self.left).long()
        count = len(loaded)
        self.radius: list[float | None] = [None] * count
        self.radius_paper: list[float | None] = [None] * count
        if isinstance(run.metric, EmbeddingMetric):
            features = [embed(run.metric, images) for images in self.images.values()]
            proven = twoafc_of_features(*features, perturbed=run.perturbed)
            self.radius = proven.radius.tolist()
            self.radius_paper = [
                None if radius != radius else radius for radius in proven.radius_paper.tolist()
            ]
            check_decision([t.name for t in self.triplets], proven, self.choice)
        # Where nobody says what is right, it is the metric's own choice that has to stand.
        self.label = [
            (None if triplet.share is not None else choice) if label is None else label
            for triplet, choice in zip(self.triplets, self.choice.tolist(), strict=True)
            for label in (triplet.choice,)
        ]

    def clean_row(self, i: int) -> dict[str, Any]:
        # Of what moves: of linf budgets this says how long they can be in l2.
        moving = ROLES[self.run.perturbed]
        triplet = self.triplets[i]
        _, _, height, width = max(
            (self.images[role].shape for role in moving), key=torch.Size.numel
        )
        choice = None if self.tied[i] else int(self.choice[i])
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row.update(
            image=triplet.name,
            attack=CLEAN,
            split=triplet.split,
            group=triplet.group,
            share=triplet.share,
            label=self.label[i],
            clean_prediction=choice,
            prediction=choice,
            distance_left=float(self.left[i]),
            distance_right=float(self.right[i]),
            radius=self.radius[i],
            radius_paper=self.radius_paper[i],
            attacked=False,
            success=False,
            success_8bit=False,
            seconds=0.0,
            model_calls=0.0,
            height=height,
            width=width,
            seed=seed_of(self.run.seed, triplet.name),
        )
        return row

    def attack_rows(self, planned: PlannedAttack, left: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of one attack on the triplets ``left``, those that it cannot worsen included."""
        rows = {
            i: {
                **self.clean_row(i),
                "attack": planned.name,
                "norm": planned.norm,
                "eps": planned.budget and planned.budget.eps,
            }
            for i in left
        }
        worth = [
            i
            for i in left
            if self.label[i] is not None and rows[i]["prediction"] in (self.label[i], None)
        ]
        if worth:
            for i, found in zip(worth, self._fitting(planned, worth), strict=True):
                rows[i].update(found)
        return list(rows.values())

    def _fitting(self, planned: PlannedAttack, worth: Sequence[int]) -> list[dict[str, Any]]:
        """Attack in halves where memory does not suffice: no result depends on its batch."""
        try:
            return self._attack(planned, worth)
        except torch.OutOfMemoryError:
            if len(worth) == 1:
                raise
        torch.cuda.empty_cache()
        middle = len(worth) // 2
        return [*self._fitting(planned, worth[:middle]), *self._fitting(planned, worth[middle:])]

    def _attack(self, planned: PlannedAttack, worth: Sequence[int]) -> list[dict[str, Any]]:
        run = self.run
        index = torch.tensor(worth, device=self.left.device)
        images = {role: batch[index.to(batch.device)] for role, batch in self.images.items()}
        label = torch.tensor([self.label[i] for i in worth], device=run.device)
        goal = flip_together(run.metric, images, label, run.perturbed)
        seeds = [seed_of(run.seed, self.triplets[i].name) for i in worth]
        # The images of a triplet start from numbers of their own.
        moving = len(ROLES[run.perturbed])
        several = torch.tensor([seed + place for seed in seeds for place in range(moving)])
        counted = CountedModel(run.metric)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*DLR is not defined", category=UserWarning)
            together = interleave(images, run.perturbed)
            batch, seconds = timed_attack(planned.attack, counted, together, goal, several)
        moved = take_apart(batch, images, run.perturbed)
        outcome = _outcome(run, planned, images, moved, label)
        for place, i in enumerate(worth):
            check_attack(self.triplets[i].name, planned.name, self.radius[i], outcome[place])
            outcome[place].update(
                attacked=True, seconds=seconds / len(worth), model_calls=counted.calls / len(worth)
            )
        return outcome


@torch.no_grad()
def _outcome(
    run: TwoAFCRun,
    planned: PlannedAttack,
    images: dict[str, Images],
    moved: dict[str, Images],
    label: Tensor,
) -> list[dict[str, Any]]:
    """The metric's choice on the attacked images, and how far each moved; of several the most."""
    left, right = distances(run.metric, moved)
    roles = ROLES[run.perturbed]
    files = {role: round_to_8bit(batch) for role, batch in moved.items()}
    for role in roles:  # as files, too, they stay within the attack's budget
        allowed = threat_of(planned.attack, run.metric, images[role])
        files[role] = round_inside(allowed, images[role], moved[role])
    file_left, file_right = distances(run.metric, files)
    changes = [moved[role].double() - images[role].double() for role in roles]
    lengths = {
        norm: torch.stack([length(change, norm) for change in changes]).amax(0).tolist()
        for norm in ("l1", "l2", "linf")
    }
    ssim = _ssim(run, images, moved, roles)
    moved_by = (
        run.metric(images["reference"], moved["reference"]).tolist()
        if "reference" in roles
        else [None] * len(label)
    )
    won, won_8bit = (
        _wrong(*pair, label).tolist() for pair in ((left, right), (file_left, file_right))
    )
    return [
        {
            "prediction": None if left[i] == right[i] else int(right[i] < left[i]),
            "distance_left": float(left[i]),
            "distance_right": float(right[i]),
            "success": won[i],
            "success_8bit": won_8bit[i],
            **{norm: values[i] for norm, values in lengths.items()},
            "ssim": ssim[i],
            "distance_moved": moved_by[i],
        }
        for i in range(len(label))
    ]


def _wrong(left: Vector, right: Vector, label: Tensor) -> Tensor:
    """Whether the candidate that is not the label's is strictly closer."""
    return torch.where(label == 0, right < left, left < right)


def _ssim(
    run: TwoAFCRun, images: dict[str, Images], moved: dict[str, Images], roles: Sequence[str]
) -> list[float | None]:
    if min(min(images[role].shape[2:]) for role in roles) < metric_card("ssim").smallest_side:
        return [None] * len(images["reference"])
    ssim = create_metric("ssim", device=run.device)
    found: list[float | None] = (
        torch.stack([ssim(images[role], moved[role]) for role in roles]).amax(0).tolist()
    )
    return found


@torch.no_grad()
def distances(metric: Metric, triplet: Mapping[str, Images]) -> tuple[Vector, Vector]:
    """How far left and right are from the reference, ``(n,)`` each."""
    return (
        metric(triplet["reference"], triplet["left"]),
        metric(triplet["reference"], triplet["right"]),
    )


def evaluate_twoafc(
    run: TwoAFCRun, triplets: Iterable[Triplet], done: Done = frozenset()
) -> Iterator[Step]:
    """Evaluate ``triplets`` as they come; yields rows of :data:`COLUMNS`, batch by batch.

    What is ``done`` already, (image, attack), is left out. A right choice alone is attacked: what
    is wrong cannot get worse. Raises :class:`~percert.runs.certified.BrokenCertificate`
    as soon as an attack succeeds inside of a certified radius.
    """
    wanted = (CLEAN, *run.attacks)

    def load(triplet: Triplet) -> Loaded:
        reference, left, right = (resized(image, run.size) for image in run.load(triplet))
        return triplet, (reference, left, right)

    todo = (one for one in triplets if any((one.name, attack) not in done for attack in wanted))
    loaded = read_all(todo, load, lambda triplet: triplet.name)
    for some in batches(loaded, lambda one: tuple(image.shape for image in one[1]), run.batch_size):
        if isinstance(some, Step):
            yield some
            continue
        batch = TripletBatch(run, some)
        for name in wanted:
            left = [i for i, (triplet, _) in enumerate(some) if (triplet.name, name) not in done]
            if left and name == CLEAN:
                yield Step([batch.clean_row(i) for i in left])
            elif left:
                yield Step(batch.attack_rows(run.attacks[name], left))


def keep_twoafc(
    folder: RunFolder, run: TwoAFCRun, triplets: Sequence[Triplet], progress: Progress = silent
) -> Kept:
    """Evaluate ``triplets`` into ``folder``, all but what is there already."""
    return folder.keep(
        COLUMNS,
        lambda done: evaluate_twoafc(run, triplets, done),
        wanted=[(one.name, attack) for one in triplets for attack in (CLEAN, *run.attacks)],
        what=getattr(run.metric, "name", "metric"),
        progress=progress,
    )
