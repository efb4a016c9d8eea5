"""How far one image of a question may be edited without another answer: bars and words."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from percert.app.compare import PairQuestion, asked_rule
from percert.app.judge import TripletQuestion
from percert.app.worker import Worker
from percert.certify.answers import judge_triplet
from percert.certify.editing.questions import CopyQuestion, choice_between
from percert.certify.editing.summary import (
    EditSummary,
    RangeBar,
    bars,
    copy_stays,
    summarise,
    summary_words,
)
from percert.certify.editing.walk import Judge
from percert.certify.features import embed
from percert.certify.pairs import copies_of_features
from percert.metrics.metric import Metric
from percert.search.query.reference_rule import WHOLE


@dataclass(frozen=True)
class EditsAnswer:
    """What is proven of one pair under edits of the candidate.

    ``shift`` and ``crops`` are as in :class:`~percert.certify.editing.summary.EditSummary`.
    """

    metric: str
    reference: str
    candidate: str
    threshold: float
    copy: bool
    says: list[str]
    bars: list[RangeBar]
    shift: int | None
    crops: float | None
    late: list[str]


@dataclass(frozen=True)
class TripletEditsAnswer:
    """What is proven of one triplet under edits of the reference; all else as for a pair."""

    metric: str
    reference: str
    left: str
    right: str
    closer: Literal["left", "right"]
    says: list[str]
    bars: list[RangeBar]
    shift: int | None
    crops: float | None
    late: list[str]


def answer_edits(worker: Worker, question: PairQuestion) -> EditsAnswer:
    """Prove edits of the candidate, for half of the time that an answer may take.

    ``ValueError`` for a metric without a proven bound or without a threshold of copies.
    """
    metric = worker.resources.proven(question.metric)
    card = worker.resources.card(question.metric)
    if question.perturbed != "candidate":
        raise ValueError("perturbed: edits are of the candidate; expected 'candidate'")
    if question.rule.views != WHOLE:
        raise ValueError("views: edits are proven of the reference as a whole; expected 'whole'")
    pixels = worker.limits.pixels
    image = question.reference.image(pixels)
    rule = asked_rule(card, metric, question.rule, image)
    if rule is None:
        raise ValueError(f"threshold: {card.name} recommends none: give one")
    threshold, reference = rule.threshold, rule.views[0].features
    candidate = question.candidate.image(pixels)[None]
    copy = bool(copies_of_features(reference, embed(metric, candidate), threshold).decision.item())
    summary = _proven(worker, metric, candidate, CopyQuestion(reference, threshold))
    name = question.candidate.name
    return EditsAnswer(
        metric=card.name,
        reference=question.reference.name,
        candidate=name,
        threshold=threshold,
        copy=copy,
        says=summary_words(summary, name, copy_stays(copy)),
        bars=bars(summary),
        shift=summary.shift,
        crops=summary.crops,
        late=list(summary.late),
    )


def answer_triplet_edits(worker: Worker, question: TripletQuestion) -> TripletEditsAnswer:
    """Prove edits of the reference, for half of the time that an answer may take.

    ``ValueError`` for a metric without a proven bound.
    """
    metric = worker.resources.proven(question.metric)
    uploads = (question.reference, question.left, question.right)
    reference, left, right = (one.image(worker.limits.pixels) for one in uploads)
    closer = judge_triplet(metric, reference, left, right, perturbed="reference").closer
    asked = choice_between(metric, left[None], right[None])
    summary = _proven(worker, metric, reference[None], asked)
    nearer = question.left if closer == "left" else question.right
    return TripletEditsAnswer(
        metric=worker.resources.card(question.metric).name,
        reference=question.reference.name,
        left=question.left.name,
        right=question.right.name,
        closer=closer,
        says=summary_words(summary, question.reference.name, f"stays closer to {nearer.name}"),
        bars=bars(summary),
        shift=summary.shift,
        crops=summary.crops,
        late=list(summary.late),
    )


def _proven(worker: Worker, metric: Metric, image: Tensor, question: Judge) -> EditSummary:
    seconds = min(worker.limits.answer_seconds / 2, 60.0)
    return summarise(metric, image, question, seconds=seconds)
