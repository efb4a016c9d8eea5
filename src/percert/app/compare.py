"""Compare two images: distance, certified interval for each eps of a slider, verdict, an attack."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.app.images import SHOWN, Upload, fit, magnified, magnified_words, observers_of
from percert.app.worker import JobRun, Worker
from percert.attacks import LpBall, MoveEmbedding, Verdict, create_attack, run_attack
from percert.certify import distance
from percert.certify.answers import Comparison, compare_pair, prepare
from percert.certify.features import PixelFeatures, embed
from percert.certify.pairs import PerturbedPair, distance_of_features
from percert.certify.sentences import comparison_sentences, outward
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.budgets import describe, levels, one_level, peak_db
from percert.tensors import Images

#: Positions of the slider, 0 included; the eps that was asked for is one more.
POSITIONS = 41


@dataclass(frozen=True)
class PairQuestion:
    """Two images and how to compare them; ``None`` stands for the defaults."""

    reference: Upload
    candidate: Upload
    metric: str = ""
    eps: float | None = None
    threshold: float | None = None
    perturbed: PerturbedPair = "candidate"


@dataclass(frozen=True)
class Bounds:
    """For one eps (pixel l2): what the distance stays between, and the eps in other words."""

    eps: float
    lower: float
    upper: float
    shown_lower: str
    shown_upper: str
    shown_eps: str


@dataclass(frozen=True)
class PairAnswer:
    """The answer of ``percert compare`` for one pair, with the interval for more values of eps.

    ``eps`` and ``radius`` are l2 lengths in the pixels of an image of size ``resolution`` (height,
    width). ``None`` is what the metric cannot prove; the radius of a verdict that no change can
    turn round is infinite, which is ``radius`` None and ``stands_always``. ``intervals`` hold one
    of exactly ``eps`` among others.
    """

    metric: str
    reference: str
    candidate: str
    perturbed: Literal["candidate", "reference", "both"]
    distance: float
    eps: float
    psnr: float | None
    levels: float
    lower: float | None
    upper: float | None
    threshold: float | None
    copy: bool | None
    radius: float | None
    stands_always: bool
    resolution: tuple[int, int]
    says: list[str]
    intervals: list[Bounds]


def answer_pair(worker: Worker, question: PairQuestion) -> PairAnswer:
    """Compare the two images. ``ValueError`` where they are none, or do not fit the metric."""
    card = worker.resources.card(question.metric)
    threshold = card.copy_threshold if question.threshold is None else question.threshold
    if not card.embedding:
        if question.threshold is not None:
            raise ValueError(
                f"threshold: {card.name} has no proven bound, and so gives no verdict on copies"
            )
        threshold = None
    pixels = worker.limits.pixels
    reference = question.reference.image(pixels)
    candidate = question.candidate.image(pixels)
    metric = worker.resources.metric(card.name)
    prepared = prepare(metric, reference)
    found = compare_pair(
        metric,
        prepared,
        candidate,
        question.candidate.name,
        eps=question.eps,
        threshold=threshold,
        perturbed=question.perturbed,
    )
    always = found.radius == float("inf")
    whose = {
        "candidate": question.candidate.name,
        "reference": question.reference.name,
        "both": "both images, each,",
    }[question.perturbed]
    said = comparison_sentences(question.reference.name, found, card.name, threshold, whose)
    intervals: list[Bounds] = []
    if prepared.features is None:
        said = said[:1]
    else:
        radius = 0.0 if found.radius is None or always else found.radius
        intervals = _intervals(
            prepared.features,
            embed(metric, candidate[None]),
            found,
            question.perturbed,
            most=max(8 * one_level(found.resolution), found.eps, 1.25 * radius),
        )
    shared = asdict(found)
    del shared["plain"]
    return PairAnswer(
        **shared
        | {
            "metric": card.name,
            "reference": question.reference.name,
            "perturbed": question.perturbed,
            "psnr": peak_db(found.eps, found.resolution) if found.eps > 0 else None,
            "levels": levels(found.eps, found.resolution),
            "threshold": threshold if found.radius is not None else None,
            "radius": None if always else found.radius,
            "stands_always": always,
            "says": [one.text for one in said],
            "intervals": intervals,
        }
    )


def _intervals(
    reference: PixelFeatures,
    candidate: PixelFeatures,
    found: Comparison,
    perturbed: PerturbedPair,
    *,
    most: float,
) -> list[Bounds]:
    """The interval for each position of the slider, from eps = 0 to ``most``, and for its own eps.

    What was asked is answered as asked, not at the position next to it.
    """
    made = []
    places = {most * position / (POSITIONS - 1) for position in range(POSITIONS)}
    for eps in sorted(places | {found.eps}):
        interval = distance_of_features(reference, candidate, eps, perturbed=perturbed)
        lower, upper = interval.lower.item(), interval.upper.item()
        shown_eps = describe(eps, found.resolution) if eps > 0 else "no change"
        made.append(Bounds(eps, lower, upper, *outward(lower, upper), shown_eps))
    return made


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
    threshold: float | None,
) -> PairAttackAnswer:
    """Push the distance of the ``(3, h, w)`` candidate both ways within l2 ``eps``.

    ``eps`` None is one 8-bit level on every value.
    """
    judged = run.resources.proven(metric)
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
    copy = None if threshold is None else before <= threshold
    direction: Literal["away", "towards"] = "towards" if copy is False else "away"
    shown = found[direction]
    with torch.no_grad():
        as_file = judged(pair[0], shown.images_8bit).item()
    lower, upper = interval.lower.item(), interval.upper.item()
    within = all(lower <= value <= upper for value in after.values())
    _draw(run, candidate, shown.images[0])
    copy_after = None if threshold is None else after[direction] <= threshold
    return PairAttackAnswer(
        metric=judged.name,
        eps=eps,
        before=before,
        lower=lower,
        upper=upper,
        farthest=after["away"],
        nearest=after["towards"],
        within=within,
        threshold=threshold,
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
    if copy is not None:
        kept = "stands" if copy == copy_after else "is turned round"
        said.append(f"The verdict ({'a copy' if copy else 'not a copy'}) {kept}.")
    return said


def _draw(run: JobRun, before: Tensor, after: Tensor) -> None:
    run.picture("before", before, "The candidate as given")
    run.picture("after", after, "The candidate after the attack")
    small_before, small_after = fit(before, SHOWN), fit(after, SHOWN)
    difference, times = magnified(small_before, small_after)
    run.picture("difference", difference, magnified_words(times))
