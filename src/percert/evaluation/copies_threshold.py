"""Which threshold an evaluation looks at: a given one, or that of a false-positive rate."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from percert.evaluation.copies_detector import Detector
from percert.evaluation.copies_gallery import Gallery, least_distances
from percert.evaluation.copies_point import Distances, threshold_at
from percert.search.threshold import ALL_PAIRS_OF, AutoThreshold, auto_threshold, disjoint_pairs
from percert.tensors import Vector

ThresholdKind = Literal["measured", "auto", "given"]


@dataclass(frozen=True)
class ThresholdChoice:
    """How the threshold is chosen, ``value`` being

    - ``"measured"``: the false-positive rate that the evaluation's own negatives keep;
    - ``"auto"``: the rate of unrelated images, with ``confidence`` (see
      :func:`percert.search.threshold.auto_threshold`);
    - ``"given"``: the threshold itself, of the first detector. The others get the one at which
      their own negatives have the rate that the first was found to have.
    """

    kind: ThresholdKind = "measured"
    value: float = 1e-3
    confidence: float = 0.95


def parse_threshold(text: str | None) -> ThresholdChoice:
    """``T``, ``auto[:RATE]`` or ``fpr[:RATE]`` (the default, at 1e-3).

    >>> parse_threshold("auto:1e-4")
    ThresholdChoice(kind='auto', value=0.0001, confidence=0.95)
    >>> parse_threshold("0.3").kind
    'given'
    """
    word, _, rate = (text or "fpr").partition(":")
    kinds: dict[str, ThresholdKind] = {"fpr": "measured", "auto": "auto"}
    try:
        if word not in kinds:
            value = float(text or "")
            if not 0 <= value <= 2:
                raise ValueError
            return ThresholdChoice("given", value)
        value = float(rate) if rate else 1e-3
        if not 0 < value < 1:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"threshold: expected a distance in [0, 2], auto[:RATE] or fpr[:RATE], found {text!r}"
        ) from None
    return ThresholdChoice(kinds[word], value)


def choose(
    choice: ThresholdChoice,
    detector: Detector,
    gallery: Gallery,
    negatives: Distances,
    first_rate: float | None,
    seed: int,
) -> tuple[float, AutoThreshold | None]:
    """The threshold of a detector, and how sure it is where images chose it.

    ``negatives`` are distances of its non-copies, ``first_rate`` the false-positive rate found of
    the first detector, ``None`` for the first itself.
    """
    if choice.kind == "auto":
        chosen = unrelated_threshold(detector, gallery, choice.value, choice.confidence, seed)
        return chosen.threshold, chosen
    if choice.kind == "given" and first_rate is None:
        return choice.value, None
    rate = choice.value if first_rate is None or choice.kind == "measured" else first_rate
    return threshold_at(negatives, min(rate, 1 - 1e-12)), None


def unrelated_threshold(
    detector: Detector, gallery: Gallery, fpr: float, confidence: float = 0.95, seed: int = 0
) -> AutoThreshold:
    """A threshold by the gallery's own images, taken to be no copies of each other.

    Of two images one is compared as a whole (the first view) with every view of the other.
    """
    if len(gallery) < 2:
        raise ValueError(f"threshold: expected at least 2 images, found {len(gallery)}")
    pairs = disjoint_pairs(len(gallery), seed)
    some = pairs.flatten()[:ALL_PAIRS_OF]
    every = torch.from_numpy(
        least_distances(
            detector,
            gallery.vectors[some, 0],
            Gallery(gallery.vectors[some]),
        )
    )
    above = torch.ones_like(every, dtype=torch.bool).triu(1)
    return auto_threshold(
        _pair_distances(detector, gallery, pairs), every[above], fpr, confidence=confidence
    )


def _pair_distances(detector: Detector, gallery: Gallery, pairs: Tensor) -> Vector:
    found = [
        detector.distances(gallery.vectors[one, :1], gallery.vectors[other]).amin()
        for one, other in pairs.tolist()
    ]
    return torch.stack(found)
