"""Attack a judgement: inside the proven radius, where it must fail, and outside of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.app.pictures import SHOWN, fit, magnified, magnified_words
from percert.app.run import Run
from percert.attacks import FlipTriplet, LpBall, create_attack, run_attack
from percert.certify.triplet import judge_triplet
from percert.reports.lengths import one_level

STEPS = 40
#: Inside the radius, and just so.
INSIDE = 0.99


@dataclass(frozen=True)
class Attempt:
    """An attack on the reference within l2 ``eps``: did it turn the answer round?

    ``flipped`` counts only what stayed within eps, ``flipped_8bit`` the same after rounding to a
    file. The distances are after the attack.
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
    run: Run,
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
    judged = run.loaded.proven(metric)
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
            attack,
            judged,
            reference[None],
            goal,
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
