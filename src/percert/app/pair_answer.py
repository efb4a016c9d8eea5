"""Compare: the distance of two images, and between what it stays for every eps of a slider."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.app.bench import Bench
from percert.app.uploads import Upload
from percert.certify.distance import PerturbedPair, distance_of_features
from percert.certify.embed import embed
from percert.certify.pair import compare_pair, prepare
from percert.certify.words import comparison_words, outward
from percert.metrics.embedding import EmbeddingMetric
from percert.reports.lengths import describe, levels, one_level, peak_db

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


def answer_pair(bench: Bench, question: PairQuestion) -> PairAnswer:
    """Compare the two images. ``ValueError`` where they are none, or do not fit the metric."""
    card = bench.loaded.card(question.metric)
    threshold = card.copy_threshold if question.threshold is None else question.threshold
    if not card.embedding:
        if question.threshold is not None:
            raise ValueError(
                f"threshold: {card.name} has no proven bound, and so gives no verdict on copies"
            )
        threshold = None
    pixels = bench.limits.pixels
    reference = question.reference.image(pixels)
    candidate = question.candidate.image(pixels)
    metric = bench.loaded.metric(card.name)
    found = compare_pair(
        metric,
        prepare(metric, reference),
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
    said = comparison_words(question.reference.name, found, card.name, threshold, whose)
    intervals: list[Bounds] = []
    if isinstance(metric, EmbeddingMetric):
        radius = 0.0 if found.radius is None or always else found.radius
        least = max(8 * one_level(found.resolution), found.eps, 1.25 * radius)
        intervals = _intervals(
            metric,
            (reference, candidate),
            question.perturbed,
            found.resolution,
            asked=found.eps,
            most=least,
        )
    else:
        said = said[:1]
    return PairAnswer(
        metric=card.name,
        reference=question.reference.name,
        candidate=question.candidate.name,
        perturbed=question.perturbed,
        distance=found.distance,
        eps=found.eps,
        psnr=peak_db(found.eps, found.resolution) if found.eps > 0 else None,
        levels=levels(found.eps, found.resolution),
        lower=found.lower,
        upper=found.upper,
        threshold=threshold if found.radius is not None else None,
        copy=found.copy,
        radius=None if always else found.radius,
        stands_always=always,
        resolution=found.resolution,
        says=[one.text for one in said],
        intervals=intervals,
    )


@torch.no_grad()
def _intervals(
    metric: EmbeddingMetric,
    pair: tuple[Tensor, Tensor],
    perturbed: PerturbedPair,
    size: tuple[int, int],
    *,
    asked: float,
    most: float,
) -> list[Bounds]:
    """The interval for each position of the slider, from eps = 0 to ``most``, and for ``asked``.

    What was asked is answered as asked, not at the position next to it.
    """
    first, second = (embed(metric, image[None]) for image in pair)
    made = []
    places = {most * position / (POSITIONS - 1) for position in range(POSITIONS)}
    for eps in sorted(places | {asked}):
        interval = distance_of_features(first, second, eps, perturbed=perturbed)
        lower, upper = interval.lower.item(), interval.upper.item()
        shown = outward(lower, upper)
        made.append(
            Bounds(eps, lower, upper, *shown, describe(eps, size) if eps > 0 else "no change")
        )
    return made
