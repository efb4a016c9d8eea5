"""Judge a triplet: which image is closer, the certified radius of that, and attacks on it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.app.images import SHOWN, Upload, fit, magnified, magnified_words, observers_of
from percert.app.worker import JobRun, Worker
from percert.attacks import FlipTriplet, LpBall, create_attack, run_attack
from percert.certify.answers import judge_triplet
from percert.certify.sentences import judgement_sentence
from percert.certify.twoafc import PerturbedTriplet
from percert.reports.budgets import one_level

MOVING: tuple[PerturbedTriplet, ...] = ("reference", "candidates", "all")


@dataclass(frozen=True)
class TripletQuestion:
    """A reference, two candidates, and the metric to judge by."""

    reference: Upload
    left: Upload
    right: Upload
    metric: str = ""


@dataclass(frozen=True)
class Standing:
    """How far the answer stands while the ``perturbed`` images move, each by less than ``radius``.

    ``radius_paper`` is LipSim's. ``None``: nothing can be proven so; 0: nothing is.
    """

    perturbed: Literal["reference", "candidates", "all"]
    radius: float | None
    radius_paper: float | None
    says: str


@dataclass(frozen=True)
class TripletAnswer:
    """The answer of ``percert judge`` for each choice of what may move; left where they tie.

    ``resolution`` (height, width) is the reference's, in whose pixels its radius counts.
    """

    metric: str
    reference: str
    left: str
    right: str
    closer: Literal["left", "right"]
    distance_left: float
    distance_right: float
    resolution: tuple[int, int]
    standings: list[Standing]


def answer_triplet(worker: Worker, question: TripletQuestion) -> TripletAnswer:
    """Judge the triplet. ``ValueError`` where they are no images, or do not fit the metric."""
    card = worker.resources.card(question.metric)
    uploads = (question.reference, question.left, question.right)
    images = [one.image(worker.limits.pixels) for one in uploads]
    metric = worker.resources.metric(card.name)
    names = {
        "reference": question.reference.name,
        "candidates": f"{question.left.name} and {question.right.name} each",
        "all": "the three images each",
    }
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    moved = {"reference": sizes[:1], "candidates": sizes[1:], "all": sizes}
    judgements = [judge_triplet(metric, *images, perturbed=one) for one in MOVING]
    return TripletAnswer(
        metric=card.name,
        reference=question.reference.name,
        left=question.left.name,
        right=question.right.name,
        closer=judgements[0].closer,
        distance_left=judgements[0].distance_left,
        distance_right=judgements[0].distance_right,
        resolution=sizes[0],
        standings=[
            Standing(
                perturbed,
                _finite(one.radius),
                one.radius_paper,
                judgement_sentence(one, names[perturbed], set(moved[perturbed]), card.name),
            )
            for perturbed, one in zip(MOVING, judgements, strict=True)
        ],
    )


def _finite(radius: float | None) -> float | None:
    return None if radius == float("inf") else radius


STEPS = 40
#: Inside the radius, and just so.
INSIDE = 0.99


@dataclass(frozen=True)
class Attempt:
    """An attack on the reference within l2 ``eps``: did it turn the answer round?

    ``flipped`` counts only what stayed within eps, ``flipped_8bit`` the same after rounding to a
    file. The distances are after the attack; ``observers`` says how many people would notice.
    """

    where: Literal["inside", "outside"]
    eps: float
    flipped: bool
    flipped_8bit: bool
    distance_left: float
    distance_right: float
    l2: float
    model_calls: int
    seconds: float
    says: str
    observers: str


@dataclass(frozen=True)
class TripletAttackAnswer:
    """Both attempts; only the one outside where no radius is proven."""

    metric: str
    closer: Literal["left", "right"]
    radius: float
    sound: bool
    attempts: list[Attempt]
    resolution: tuple[int, int]
    cut_short: bool


def attack_triplet(
    run: JobRun,
    reference: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    metric: str,
    times: float,
) -> TripletAttackAnswer:
    """Attack the reference within 0.99 and within ``times`` of its radius.

    Where nothing is proven, ``times`` one 8-bit level on every value stands for the second.
    """
    judged = run.resources.proven(metric)
    judgement = judge_triplet(judged, reference, left, right, perturbed="reference")
    size = reference.shape[1], reference.shape[2]
    radius = judgement.radius or 0.0
    if radius == float("inf"):
        raise ValueError("No change of the reference turns this round: there is nothing to attack.")
    budgets: list[tuple[Literal["inside", "outside"], float]] = [
        ("outside", times * (radius or one_level(size)))
    ]
    if radius > 0:
        budgets.insert(0, ("inside", INSIDE * radius))
    choice = torch.tensor([0 if judgement.closer == "left" else 1])
    goal = FlipTriplet(left[None], right[None], choice)
    attempts = []
    for part, (where, eps) in enumerate(budgets):
        attack = create_attack("apgd", norm="l2", eps=eps, steps=STEPS, loss="margin")
        result = run_attack(
            judged,
            reference[None],
            goal,
            attack,
            threat=LpBall("l2", eps),
            watch=run.watch(f"attacking {where} the radius", part, len(budgets)),
        )
        run.check()
        verdict = result.verdict
        flipped = bool(verdict.success.item())
        with torch.no_grad():
            distances = [judged(verdict.images, one[None]).item() for one in (left, right)]
        attempts.append(
            Attempt(
                where=where,
                eps=eps,
                flipped=flipped,
                flipped_8bit=bool(verdict.success_8bit.item()),
                distance_left=distances[0],
                distance_right=distances[1],
                l2=float((verdict.images - reference[None]).norm()),
                model_calls=result.model_calls,
                seconds=result.seconds,
                says=_says(where, flipped, radius),
                observers=observers_of(reference, verdict.images_8bit[0]),
            )
        )
        after = verdict.images[0]
        run.picture(where, after, "The reference after the attack")
        change, often = magnified(fit(reference, SHOWN), fit(after, SHOWN))
        run.picture(f"{where}-change", change, magnified_words(often))
    return TripletAttackAnswer(
        metric=judged.name,
        closer=judgement.closer,
        radius=radius,
        sound=not any(one.flipped for one in attempts if one.where == "inside"),
        attempts=attempts,
        resolution=size,
        cut_short=run.cut_short,
    )


def _says(where: str, flipped: bool, radius: float) -> str:
    if where == "inside":
        if flipped:
            return (
                "The answer was turned round inside the proven radius: a defect of percert. Please "
                "report it with the images."
            )
        return "Inside the radius the attack fails, as every attack must: that is proven."
    beyond = "outside the radius" if radius else "where nothing is proven"
    if flipped:
        return f"{beyond.capitalize()} the attack turns the answer round."
    return f"{beyond.capitalize()} this attack fails too; another one may not."
