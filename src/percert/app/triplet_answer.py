"""Judge: which of two images is closer to a reference, and how far that stands."""

from dataclasses import dataclass
from typing import Literal

from percert.app.bench import Bench
from percert.app.uploads import Upload
from percert.certify.triplet import judge_triplet
from percert.certify.twoafc import PerturbedTriplet
from percert.certify.words import judgement_words

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


def answer_triplet(bench: Bench, question: TripletQuestion) -> TripletAnswer:
    """Judge the triplet. ``ValueError`` where they are no images, or do not fit the metric."""
    card = bench.loaded.card(question.metric)
    uploads = (question.reference, question.left, question.right)
    images = [one.image(bench.limits.pixels) for one in uploads]
    metric = bench.loaded.metric(card.name)
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
                judgement_words(one, names[perturbed], set(moved[perturbed]), card.name),
            )
            for perturbed, one in zip(MOVING, judgements, strict=True)
        ],
    )


def _finite(radius: float | None) -> float | None:
    return None if radius == float("inf") else radius
