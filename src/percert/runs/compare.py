"""Files compared with a reference: copies or none, and which of two is closer to it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from percert.certify.answers import Comparison, Judgement, compare_pair, judge_triplet, prepare
from percert.certify.editing.questions import CopyQuestion, choice_between
from percert.certify.editing.summary import EditSummary, summarise
from percert.certify.pairs import PerturbedPair
from percert.certify.twoafc import PerturbedTriplet
from percert.check import Argument, ArgumentError
from percert.images import LeftOut, load_image
from percert.images.walk import listed, listed_left_out
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.budgets import Budget
from percert.runs.engine import Progress, Step, silent
from percert.runs.items import items_at, read_samples
from percert.search.query.reference_rule import (
    WHOLE,
    OneThreshold,
    ReferenceRule,
    RuleAsked,
    reference_rule,
)


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """How candidates are compared with a reference by ``metric``, with weights ``checkpoint``.

    ``threshold``, ``wrong`` and ``views`` say what counts as a copy
    (:class:`percert.search.query.reference_rule.RuleAsked`): by default what lies within the
    reference's own threshold. ``edits`` asks for the ranges of edits within which each verdict
    stands; see :func:`percert.certify.answers.compare_pair` for ``eps`` and ``perturbed``. Raises
    ``ValueError`` for a threshold, a rate or views where the metric gives no verdict on copies, and
    for edits where there is none, another image than the candidate moves, or views are compared.
    """

    metric: str = "lipsim-tiny"
    checkpoint: Path | None = None
    eps: Budget | None = None
    threshold: OneThreshold | None = None
    wrong: float | None = None
    views: tuple[str, ...] = WHOLE
    perturbed: PerturbedPair = "candidate"
    edits: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        given, card = self.rule.given, metric_card(self.metric)
        if given and not card.embedding:
            raise ArgumentError(
                Argument("threshold" if given == "wrong" else given),
                f": {self.metric} has no proven bound, and so gives no verdict on copies",
            )
        named = self.threshold is not None or self.wrong is not None
        judged = named or card.copy_threshold is not None
        if self.edits and not (judged and self.perturbed == "candidate" and self.views == WHOLE):
            raise ArgumentError(
                Argument("edits"),
                ": proves verdicts on copies while the candidate is edited: it needs a metric with "
                "a proven bound, a threshold, ",
                Argument("perturbed"),
                " candidate, and the reference as a whole",
            )

    @property
    def rule(self) -> RuleAsked:
        """What counts as a copy."""
        return RuleAsked(threshold=self.threshold, wrong=self.wrong, views=self.views)


@dataclass(eq=False)
class ComparedFiles:
    """The ``results`` of ``count`` candidates, with their ``edits`` where these were asked for.

    ``rule`` is the reference's, ``bad`` (name, reason) of what was not compared.
    """

    reference: Path
    asked: CompareSettings
    rule: ReferenceRule | None
    count: int
    results: list[Comparison] = field(default_factory=list)
    edits: list[EditSummary] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return {
            "metric": self.asked.metric,
            "reference": str(self.reference),
            **({"threshold": None} if self.rule is None else self.rule.answer()),
            "results": [
                asdict(result) | ({"edits": asdict(self.edits[row])} if self.edits else {})
                for row, result in enumerate(self.results)
            ],
            "bad": listed(self.bad),
            "left_out": listed_left_out(self.left_out),
        }


def compare_files(
    reference: Path,
    candidates: Sequence[Path],
    asked: CompareSettings | None = None,
    *,
    progress: Progress = silent,
) -> ComparedFiles:
    """Compare the images in ``candidates``, files and folders, with ``reference``.

    What cannot be read, or compared by the metric, is set apart. Raises ``ValueError`` for a
    reference that cannot be read.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     photo = Path(folder, "photo.png")
    ...     save_image(torch.rand(3, 40, 40), photo)
    ...     compared = compare_files(photo, [photo], CompareSettings(metric="thumbnail"))
    >>> compared.results[0].copy, compared.results[0].distance
    (True, 0.0)
    """
    asked = asked or CompareSettings()
    image = load_image(reference)
    left_out: list[LeftOut] = []
    items = items_at(candidates, left_out)
    metric = create_metric(asked.metric, checkpoint=asked.checkpoint, device=asked.device)
    prepared, rule = prepare(metric, image), None
    if isinstance(metric, EmbeddingMetric):
        rule = reference_rule(
            metric,
            image[None],
            asked.rule,
            metric_card(asked.metric).copy_threshold,
            prepared.features,
        )
    found = ComparedFiles(reference, asked, rule, len(items), left_out=left_out)
    for done, one in enumerate(read_samples(items)):
        progress("comparing", done, len(items))
        if isinstance(one, Step):
            found.bad.append((str(one.bad), one.reason))
            continue
        try:
            result = compare_pair(
                metric,
                prepared,
                one.image,
                one.item.name,
                eps=asked.eps,
                views=None if rule is None else rule.views,
                perturbed=asked.perturbed,
            )
            if asked.edits and rule is not None and prepared.features is not None:
                question = CopyQuestion(prepared.features, rule.threshold)
                found.edits.append(summarise(metric, one.image[None], question))
            found.results.append(result)
        except ValueError as error:  # such as two sizes, for a metric of pixels
            found.bad.append((one.item.name, str(error)))
    return found


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How the closer of two images is found: by ``metric``, with the weights ``checkpoint``.

    ``perturbed`` says which images may move; ``edits`` asks for the ranges of edits of the
    reference within which the answer stands. Raises ``ValueError`` for edits where the metric has
    no proven bound, or other images than the reference move.
    """

    metric: str = "lipsim-tiny"
    checkpoint: Path | None = None
    perturbed: PerturbedTriplet = "reference"
    edits: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.edits and (self.perturbed != "reference" or not metric_card(self.metric).embedding):
            raise ArgumentError(
                Argument("edits"),
                ": proves which is closer while the reference is edited: it needs a metric with a "
                "proven bound, and ",
                Argument("perturbed"),
                " reference",
            )


@dataclass(frozen=True)
class JudgedFiles:
    """The ``judgement``, the sizes (height, width) of the images that move, and the ``edits``."""

    asked: JudgeSettings
    judgement: Judgement
    sizes: set[tuple[int, int]]
    edits: EditSummary | None

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        proven = {} if self.edits is None else {"edits": asdict(self.edits)}
        return {"metric": self.asked.metric, **asdict(self.judgement), **proven}


def judge_files(
    reference: Path, left: Path, right: Path, asked: JudgeSettings | None = None
) -> JudgedFiles:
    """Which of two image files is closer to the reference, and what is proven of that.

    Raises ``ValueError`` for images that cannot be read, or compared by the metric.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     photo, other = Path(folder, "photo.png"), Path(folder, "other.png")
    ...     save_image(torch.eye(32).expand(3, 32, 32), photo)
    ...     save_image(1 - torch.eye(32).expand(3, 32, 32), other)
    ...     found = judge_files(photo, other, photo, JudgeSettings(metric="thumbnail"))
    >>> found.judgement.closer
    'right'
    """
    asked = asked or JudgeSettings()
    images = [load_image(path) for path in (reference, left, right)]
    metric = create_metric(asked.metric, checkpoint=asked.checkpoint, device=asked.device)
    judgement = judge_triplet(metric, *images, perturbed=asked.perturbed)
    moving = {"reference": images[:1], "candidates": images[1:]}.get(asked.perturbed, images)
    sizes = {(image.shape[1], image.shape[2]) for image in moving}
    edits = None
    if asked.edits:
        question = choice_between(metric, images[1][None], images[2][None])
        edits = summarise(metric, images[0][None], question)
    return JudgedFiles(asked, judgement, sizes, edits)
