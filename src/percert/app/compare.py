"""Compare two images: distance, certified interval for each eps of a slider, verdict, an attack."""

from dataclasses import asdict, dataclass
from typing import Literal

from torch import Tensor

from percert.app.images import Upload
from percert.app.worker import Worker
from percert.certify.answers import Comparison, compare_pair, prepare
from percert.certify.features import PixelFeatures, embed
from percert.certify.pairs import PerturbedPair, distance_of_features
from percert.certify.sentences import Sentence, comparison_sentences, outward
from percert.metrics.card import MetricCard
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.reports.budgets import describe, levels, one_level, peak_db
from percert.search.query.reference_rule import (
    DEFAULT_RULE,
    ReferenceRule,
    RuleAsked,
    reference_rule,
)
from percert.search.query.rule import Rule

#: Positions of the slider, 0 included; the eps that was asked for is one more.
POSITIONS = 41


@dataclass(frozen=True)
class PairQuestion:
    """Two images and how to compare them; ``None`` stands for the defaults."""

    reference: Upload
    candidate: Upload
    metric: str = ""
    eps: float | None = None
    rule: RuleAsked = DEFAULT_RULE
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
    of exactly ``eps`` among others. A copy lies within ``threshold`` of the reference's ``view``
    that decides, one of ``views``, at ``view_distance``; ``rule`` is what the thresholds are by,
    ``likeness`` that of the reference to its background.
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
    view: str | None
    view_distance: float | None
    views: list[str]
    likeness: float | None
    rule: Rule | None
    copy: bool | None
    radius: float | None
    stands_always: bool
    resolution: tuple[int, int]
    says: list[str]
    intervals: list[Bounds]


def answer_pair(worker: Worker, question: PairQuestion) -> PairAnswer:
    """Compare the two images. ``ValueError`` where they are none, or do not fit the metric."""
    card = worker.resources.card(question.metric)
    pixels = worker.limits.pixels
    reference = question.reference.image(pixels)
    candidate = question.candidate.image(pixels)
    metric = worker.resources.metric(card.name)
    prepared = prepare(metric, reference)
    rule = asked_rule(card, metric, question.rule, reference, prepared.features)
    found = compare_pair(
        metric,
        prepared,
        candidate,
        question.candidate.name,
        eps=question.eps,
        views=None if rule is None else rule.views,
        perturbed=question.perturbed,
    )
    always = found.radius == float("inf")
    whose = {
        "candidate": question.candidate.name,
        "reference": question.reference.name,
        "both": "both images, each,",
    }[question.perturbed]
    said = comparison_sentences(question.reference.name, found, card.name, whose)
    intervals: list[Bounds] = []
    if prepared.features is not None:
        radius = 0.0 if found.radius is None or always else found.radius
        intervals = _intervals(
            prepared.features,
            embed(metric, candidate[None]),
            found,
            question.perturbed,
            most=max(8 * one_level(found.resolution), found.eps, 1.25 * radius),
        )
    if rule is not None and rule.words:
        said.append(Sentence(rule.words))
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
            "views": [] if rule is None else [one.name for one in rule.views],
            "likeness": None if rule is None else rule.views[0].threshold.likeness,
            "rule": None if rule is None else rule.rule,
            "radius": None if always else found.radius,
            "stands_always": always,
            "says": [one.text for one in said],
            "intervals": intervals,
        }
    )


def asked_rule(
    card: MetricCard,
    metric: Metric,
    asked: RuleAsked,
    reference: Tensor,
    whole: PixelFeatures | None = None,
) -> ReferenceRule | None:
    """The rule of the ``(3, h, w)`` reference that is asked for; ``None`` without a verdict.

    Raises ``ValueError`` for a threshold, a rate or views with a metric that proves nothing.
    """
    if isinstance(metric, EmbeddingMetric):
        return reference_rule(metric, reference[None], asked, card.copy_threshold, whole)
    if asked.given:
        raise ValueError(
            f"{asked.given}: {card.name} has no proven bound, and so gives no verdict on copies"
        )
    return None


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
