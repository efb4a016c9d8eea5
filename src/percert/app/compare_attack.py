"""An attack on a comparison: the distance pushed both ways, beside what is proven of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.app.compare import asked_rule
from percert.app.images import SHOWN, fit, magnified, magnified_words, observers_of
from percert.app.worker import JobRun
from percert.attacks import LpBall, MoveEmbedding, Verdict, create_attack, run_attack
from percert.certify import distance
from percert.certify.answers import Reference, compare_pair, prepare
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.budgets import one_level
from percert.search.query.reference_rule import (
    DEFAULT_RULE,
    ReferenceRule,
    RuleAsked,
)
from percert.tensors import Images

STEPS = 20


@dataclass(frozen=True)
class PairAttackAnswer:
    """What an attack on the candidate's pixels within l2 ``eps`` made of the distance.

    ``farthest`` and ``nearest`` are the distances that it reached upwards and downwards, and
    ``within`` says that both lie in the proven interval from ``lower`` to ``upper``. The pictures
    show the ``direction`` that does more damage: away where the pair are copies, else towards.
    ``l2``, ``distance_8bit`` and ``observers`` (how many people would notice) are of that image as
    a file of 8 bits.
    """

    metric: str
    eps: float
    before: float
    lower: float
    upper: float
    farthest: float
    nearest: float
    within: bool
    threshold: float | None
    copy_before: bool | None
    copy_after: bool | None
    direction: Literal["away", "towards"]
    l2: float
    distance_8bit: float
    resolution: tuple[int, int]
    model_calls: int
    seconds: float
    cut_short: bool
    says: list[str]
    observers: str


class _Distance:
    """The metric's distance, or its negative: what an attack that maximises is to be given."""

    def __init__(self, metric: EmbeddingMetric, sign: float) -> None:
        self.metric = metric
        self.sign = sign

    def __call__(self, reference: Images, candidate: Images) -> Tensor:
        return self.sign * self.metric(reference, candidate)


def attack_pair(
    run: JobRun,
    reference: Tensor,
    candidate: Tensor,
    *,
    metric: str,
    eps: float | None,
    asked: RuleAsked = DEFAULT_RULE,
) -> PairAttackAnswer:
    """Push the distance of the ``(3, h, w)`` candidate both ways within l2 ``eps``.

    ``eps`` None is one 8-bit level on every value. Verdicts are by the rule that is ``asked``.
    """
    judged = run.resources.proven(metric)
    known = prepare(judged, reference)
    rule = asked_rule(run.resources.card(metric), judged, asked, reference, known.features)
    if eps is None:
        eps = one_level((candidate.shape[1], candidate.shape[2]))
    pair = reference[None], candidate[None]
    interval = distance(judged, *pair, eps)
    before = interval.distance.item()
    attack = create_attack("apgd", norm="l2", eps=eps, steps=STEPS, stop=False)
    found: dict[str, Verdict] = {}
    calls, seconds = 0, 0.0
    ways: tuple[tuple[Literal["away", "towards"], float], ...] = (("away", 1.0), ("towards", -1.0))
    for part, (way, sign) in enumerate(ways):
        result = run_attack(
            _Distance(judged, sign),
            pair[1],
            MoveEmbedding(pair[0]),
            attack,
            threat=LpBall("l2", eps),
            watch=run.watch(f"moving the distance {_MOVES[way]}", part, len(ways)),
        )
        found[way] = result.verdict
        calls, seconds = calls + result.model_calls, seconds + result.seconds
    run.check()
    with torch.no_grad():
        after = {way: judged(pair[0], one.images).item() for way, one in found.items()}
    copy = _copy(judged, rule, known, candidate)
    direction: Literal["away", "towards"] = "towards" if copy is False else "away"
    shown = found[direction]
    with torch.no_grad():
        as_file = judged(pair[0], shown.images_8bit).item()
    lower, upper = interval.lower.item(), interval.upper.item()
    within = all(lower <= value <= upper for value in after.values())
    _draw(run, candidate, shown.images[0])
    copy_after = _copy(judged, rule, known, shown.images[0])
    return PairAttackAnswer(
        metric=judged.name,
        eps=eps,
        before=before,
        lower=lower,
        upper=upper,
        farthest=after["away"],
        nearest=after["towards"],
        within=within,
        threshold=None if rule is None else rule.threshold,
        copy_before=copy,
        copy_after=copy_after,
        direction=direction,
        l2=shown.distances["l2"].item(),
        distance_8bit=as_file,
        resolution=(candidate.shape[1], candidate.shape[2]),
        model_calls=calls,
        seconds=seconds,
        cut_short=run.cut_short,
        says=_says(before, after, (lower, upper), within, copy, copy_after),
        observers=observers_of(candidate, shown.images_8bit[0]),
    )


def _copy(
    metric: EmbeddingMetric, rule: ReferenceRule | None, reference: Reference, candidate: Tensor
) -> bool | None:
    """Whether the candidate is a copy by the rule."""
    if rule is None:
        return None
    found = compare_pair(
        *(metric, reference, candidate, ""), eps=None, views=rule.views, perturbed="candidate"
    )
    return found.copy


_MOVES = {"away": "up", "towards": "down"}


def _says(
    before: float,
    after: dict[str, float],
    proven: tuple[float, float],
    within: bool,
    copy: bool | None,
    copy_after: bool | None,
) -> list[str]:
    said = [
        f"The attack moved the distance from {before:.4f} up to {after['away']:.4f} and down to "
        f"{after['towards']:.4f}."
    ]
    if within:
        said.append(
            f"Both lie within what is proven: {proven[0]:.4f} to {proven[1]:.4f}. Another attack "
            "may come nearer to these bounds, none passes them."
        )
    else:
        said.append(
            "That leaves the proven interval: a defect of percert. Please report it, with the "
            "images."
        )
    if copy is not None and copy_after is not None:
        kept = "stands" if copy == copy_after else "is turned round"
        said.append(f"The verdict ({'a copy' if copy else 'not a copy'}) {kept}.")
    return said


def _draw(run: JobRun, before: Tensor, after: Tensor) -> None:
    run.picture("before", before, "The candidate as given")
    run.picture("after", after, "The candidate after the attack")
    small_before, small_after = fit(before, SHOWN), fit(after, SHOWN)
    difference, times = magnified(small_before, small_after)
    run.picture("difference", difference, magnified_words(times))
