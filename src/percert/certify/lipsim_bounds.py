"""The radii and intervals as LipSim states them, and where their proofs hold.

The paper normalises embeddings and takes |f(x)| = 1 for every x together with f 1-Lipschitz. Its
Eq. 11 gives neither: projecting onto the unit ball leaves shorter embeddings short. The authors'
code appends a constant 1 before normalising (c = 1 here), which makes both true. Here each result
is given where it is proven for the embedding at hand, whatever c is, and NaN elsewhere.
"""

import math

import torch
from torch import Tensor

from percert.certify.angles import turn
from percert.certify.features import PixelFeatures
from percert.tensors import Vector


def equation_8(margin: Vector, difference: Vector, reference: PixelFeatures) -> Vector:
    """R = (d_1 - d_0) / (L |g_0 - g_1|), Eq. 8, where the reference alone moves.

    ``margin`` is the difference of the two distances, ``difference`` is |g_0 - g_1|. With n = |v|
    in embedding units the exact radius is at least n times this one, so it is sound where n >= 1,
    and NaN where n < 1.
    """
    length = reference.bound.value
    radius = margin / torch.where(difference > 0, difference, math.inf) / length
    return torch.where(reference.norm * length >= 1, radius, math.nan)


def equation_10(margin: Vector, reference: PixelFeatures) -> Vector:
    """R = (d_1 - d_0) / (2 L): what Tsuzuku et al. (2018) give for the same margin, Eq. 9 and 10.

    A classifier with the Lipschitz constant M keeps its decision while margin >= eps sqrt(2) M
    (Eq. 9); that of the two distances is sqrt(2) L. LipSim's Eq. 8 is never smaller, since
    |g_0 - g_1| <= 2. NaN where n < 1, as there.
    """
    length = reference.bound.value
    return torch.where(reference.norm * length >= 1, margin / (2 * length), math.nan)


def proposition_1(margin: Vector, *moving: PixelFeatures) -> Vector:
    """By Proposition 1, how far ``moving`` images may go until a distance changes by ``margin``.

    Each changes it by at most L eps; the paper states it for one image, and the changes of several
    add up. See :func:`proposition_1_holds` for where it is NaN.
    """
    radius = margin / sum(features.bound.value for features in moving)
    return torch.where(proposition_1_holds(radius, *moving), radius, math.nan)


def proposition_1_holds(eps: Tensor, *moving: PixelFeatures) -> Tensor:
    """Whether no move by ``eps`` changes the normalised embedding by more than L eps.

    That is what the proof needs, and always true where c >= 1. A turn by phi changes it by
    2 sin(phi / 2), which for c = 0 can exceed L eps although n >= 1: the moved embedding may be
    shorter than 1.
    """
    holds = torch.ones_like(eps, dtype=torch.bool)
    for features in moving:
        change = 2 * (turn(features, eps) / 2).sin()
        holds = holds & (change <= features.bound.value * eps * (1 + 1e-12))
    return holds


def reported(paper: Vector, radius: Vector) -> Vector:
    """The paper's radius with the same floating-point slack: never above the proven one."""
    return torch.where(paper.isnan(), paper, torch.minimum(paper, radius))
