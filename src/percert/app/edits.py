"""How far the candidate of a comparison may be edited without another verdict: bars and words."""

from dataclasses import dataclass

from percert.app.compare import PairQuestion
from percert.app.worker import Worker
from percert.certify.answers import prepare
from percert.certify.editing.questions import CopyQuestion
from percert.certify.editing.summary import Bar, bars, summarise, summary_words
from percert.certify.features import embed
from percert.certify.pairs import copies_of_features


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
    bars: list[Bar]
    shift: int | None
    crops: float | None
    late: list[str]


def answer_edits(worker: Worker, question: PairQuestion) -> EditsAnswer:
    """Prove edits of the candidate, for half of the time that an answer may take.

    ``ValueError`` for a metric without a proven bound or without a threshold of copies.
    """
    metric = worker.resources.proven(question.metric)
    card = worker.resources.card(question.metric)
    threshold = card.copy_threshold if question.threshold is None else question.threshold
    if threshold is None:
        raise ValueError(f"threshold: {card.name} recommends none: give one")
    if question.perturbed != "candidate":
        raise ValueError("perturbed: edits are of the candidate; expected 'candidate'")
    pixels = worker.limits.pixels
    reference = prepare(metric, question.reference.image(pixels)).features
    assert reference is not None
    candidate = question.candidate.image(pixels)[None]
    copy = bool(copies_of_features(reference, embed(metric, candidate), threshold).decision.item())
    summary = summarise(
        metric,
        candidate,
        CopyQuestion(reference, threshold),
        seconds=min(worker.limits.answer_seconds / 2, 60.0),
    )
    name = question.candidate.name
    return EditsAnswer(
        metric=card.name,
        reference=question.reference.name,
        candidate=name,
        threshold=threshold,
        copy=copy,
        says=summary_words(summary, name, "stays a copy" if copy else "stays none"),
        bars=bars(summary),
        shift=summary.shift,
        crops=summary.crops,
        late=list(summary.late),
    )
