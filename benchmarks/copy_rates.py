"""From distances and radii of edited photographs to the numbers that are published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.budgets import BUDGETS, psnr, scaled
from benchmarks.detectors import Described
from benchmarks.edited import background_of
from benchmarks.operating_point import (
    Distances,
    OperatingPoint,
    micro_average_precision,
    operating_point,
    rate,
)
from percert.certify.copies import copies_of_features
from percert.data.copy_edits import Edit

#: The false-positive rates that thresholds are set for; certificates use the second.
RATES = (1e-2, 1e-3, 1e-4)
CERTIFIED_AT = 1e-3


@dataclass(frozen=True)
class CertifiedRate:
    """The share of all copies that are found and proven to stay so within l2 ``eps`` at 299 px."""

    eps: float
    psnr: float
    rate: float


@dataclass(frozen=True)
class EditRates:
    """One edit, at its group's thresholds."""

    name: str
    family: str
    hard: bool
    tpr: list[float]
    certified: list[CertifiedRate]


@dataclass(frozen=True)
class GroupRates:
    """The usual or the hard edits together. ``at_usual`` are the usual edits' thresholds."""

    name: str
    copies: int
    negatives: int
    micro_average_precision: float
    points: list[OperatingPoint]
    at_usual: list[OperatingPoint]
    certified: list[CertifiedRate]
    edits: list[EditRates]


def pairs(distances: Distances, edit: Edit) -> tuple[Distances, Distances]:
    """The distances ``(n,)`` of the copies, and those of all other pairs.

    ``distances`` is ``(n, references)``: row i holds edited photograph i, column i its original.
    A collage is no negative of the photograph that it is pasted onto: that pair counts as neither.
    """
    count = len(distances)
    other = np.ones(distances.shape, dtype=bool)
    rows = np.arange(count)
    other[rows, rows] = False
    if edit.needs_other:
        other[rows, [background_of(i, count) for i in range(count)]] = False
    return distances[rows, rows], distances[other]


def group_rates(
    name: str,
    edits: Sequence[Edit],
    distances: Mapping[str, Distances],
    radii: Mapping[str, Distances],
    usual: Sequence[OperatingPoint] | None = None,
) -> GroupRates:
    """The rates of ``edits``. Their own negatives, all edits' together, set the thresholds.

    ``distances`` ``(n, references)`` are by the name of the edit; so are ``radii`` ``(n,)``, in the
    pixels of a 299 x 299 image, 0 for what is missed; empty for a detector without certificates.
    """
    split = {edit.name: pairs(distances[edit.name], edit) for edit in edits}
    positives = np.concatenate([copies for copies, _ in split.values()])
    negatives = np.concatenate([others for _, others in split.values()])
    points = [operating_point(positives, negatives, fpr) for fpr in RATES]
    return GroupRates(
        name=name,
        copies=positives.size,
        negatives=negatives.size,
        micro_average_precision=micro_average_precision(positives, negatives),
        points=points,
        at_usual=[
            OperatingPoint(
                point.fpr,
                point.threshold,
                rate(negatives, point.threshold),
                rate(positives, point.threshold),
            )
            for point in usual or points
        ],
        certified=certified_rates([radii[edit.name] for edit in edits] if radii else []),
        edits=[
            EditRates(
                edit.name,
                edit.family,
                edit.hard,
                [rate(split[edit.name][0], point.threshold) for point in points],
                certified_rates([radii[edit.name]] if radii else []),
            )
            for edit in edits
        ],
    )


def certified_threshold(edits: Sequence[Edit], distances: Mapping[str, Distances]) -> float:
    """The threshold of ``edits`` that certificates are made for."""
    split = [pairs(distances[edit.name], edit) for edit in edits]
    positives, negatives = (np.concatenate(side) for side in zip(*split, strict=True))
    return operating_point(positives, negatives, CERTIFIED_AT).threshold


def certified_rates(radii: Sequence[Distances]) -> list[CertifiedRate]:
    """The share of radii above each budget; empty without radii."""
    if not radii:
        return []
    together = np.concatenate(radii)
    return [CertifiedRate(eps, psnr(eps), float((together > eps).mean())) for eps in BUDGETS]


def copy_radii(
    references: Described, candidates: Described, size: tuple[int, int], threshold: float
) -> Distances:
    """How far each candidate of ``size`` (height, width) may move and stay a copy of its reference.

    Scaled to the pixels of a 299 x 299 image at the same PSNR; 0 where it is no copy. Only the
    candidate moves.
    """
    if references.features is None or candidates.features is None:
        raise ValueError("descriptions: expected features with a proven bound, found none")
    if not 0 <= threshold <= 2:
        return np.zeros(len(candidates.vectors))
    certificate = copies_of_features(references.features, candidates.features, threshold)
    radius = torch.where(certificate.decision, certificate.radius, 0.0)
    return np.asarray(radius / scaled(1.0, size))
