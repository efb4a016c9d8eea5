"""2AFC scores: how often the right image is the closer one, and how often that is proven."""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.budgets import BUDGETS, psnr, scaled
from percert.certify.twoafc import twoafc_of_features
from percert.evaluation.copies_detector import Described


@dataclass(frozen=True)
class CertifiedScore:
    """The share of all triplets answered rightly and proven within l2 ``eps`` at 299 px.

    ``paper`` uses LipSim's Eq. 8, ``ours`` the exact distance to the boundary. The reference moves.
    """

    eps: float
    psnr: float
    paper: float
    ours: float


@dataclass(frozen=True)
class TripletScores:
    """``natural`` is the share answered rightly; a tie is an error. ``certified`` may be empty."""

    name: str
    triplets: int
    natural: float
    certified: list[CertifiedScore]


def certified_scores(
    name: str, reference: Described, right: Described, wrong: Described, size: tuple[int, int]
) -> TripletScores:
    """The scores of an embedding with a proven bound; ``size`` is that of the references."""
    if reference.features is None or right.features is None or wrong.features is None:
        raise ValueError(f"{name}: expected features with a proven bound, found none")
    certificate = twoafc_of_features(reference.features, right.features, wrong.features)
    # A tie has radius 0, and says left.
    correct = (certificate.decision == 0) & (certificate.radius > 0)
    distances = _distances(reference, right), _distances(reference, wrong)
    natural = float((distances[0] < distances[1]).mean())
    radii = certificate.radius, certificate.radius_paper.nan_to_num(0.0)
    certified = []
    for eps in BUDGETS:
        ours, paper = (
            float((correct & (radius > scaled(eps, size))).double().mean()) for radius in radii
        )
        certified.append(CertifiedScore(eps, psnr(eps), paper, ours))
    return TripletScores(name, len(correct), natural, certified)


def natural_scores(
    name: str,
    to_right: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    to_wrong: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> TripletScores:
    """The scores of distances without certificates."""
    return TripletScores(name, len(to_right), float((to_right < to_wrong).mean()), [])


def _distances(
    reference: Described, other: Described
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    difference: torch.Tensor = (reference.vectors - other.vectors).square().sum(1) / 2
    return np.asarray(difference)
