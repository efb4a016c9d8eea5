"""Per-image thresholds: strict for images that resemble everything, wide for distinctive ones.

Some pictures (a plain one, a page, a sky) lie near nearly all others, and one threshold for all
must be strict for their sake. What a picture resembles is measured against a background, vectors
w_j with |w_j| <= 1 of pictures that have nothing to do with the collection: its likeness is
b = max_j <g, w_j>, g its direction. A query is a copy where its distance from the stored image is
at most T - weight b: where their cosine is at least (1 - T) + weight b.

The threshold belongs to the stored image. While the query alone moves it is a number like any
other, and :func:`~percert.certify.pairs.copies_of_features` holds. Where the stored image moves it
moves along: g turns by at most phi, so that each <g, w_j>, and b with them, stays within
[cos(beta + phi), cos(beta - phi)], beta = acos b (for |w| <= 1 these bound x cos phi +- sqrt(|w|^2
- x^2) sin phi). With theta the angle between the two and A(b) = acos(1 - T + weight b), a copy
stays one while phi_query + phi_stored + theta < A(cos(beta - phi_stored)), and what is none stays
so while theta - phi_query - phi_stored > A(cos(beta + phi_stored)).
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.certify.angles import bisect, threshold_angle, turn
from percert.certify.certificate import Certificate
from percert.certify.features import PixelFeatures
from percert.certify.pairs import FeaturePairs, PerturbedPair, copies_of_features
from percert.check import check_choice
from percert.tensors import Embeddings, Vector

#: Which of the two images somebody may change.
PerturbedStored: TypeAlias = Literal["query", "stored", "both"]
MOVES = ("query", "stored", "both")
#: Halvings of the radius where both sides of the rule move.
HALVINGS = 48


@dataclass(frozen=True)
class OwnThreshold:
    """The rule: copies lie within ``distance - weight b`` of an image whose likeness is b.

    ``distance`` in [0, 3], T above, is that of an image which resembles nothing; it is set by how
    many wrong answers are bearable. ``weight`` in [0, 1] is how much the likeness counts; with 0 it
    is one threshold for all.

    >>> rule = OwnThreshold(0.75, weight=0.5)
    >>> rule.distances(torch.tensor([0.5, 1.0]))
    tensor([0.5000, 0.2500])
    """

    distance: float
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= 3:
            raise ValueError(f"distance: expected a number in [0, 3], found {self.distance}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight: expected a number in [0, 1], found {self.weight}")

    def distances(self, likeness: Vector) -> Vector:
        """The largest distance of a copy from stored images of ``likeness`` ``(n,)``, in [0, 2]."""
        return (self.distance - self.weight * likeness).clamp(0, 2)


@dataclass(frozen=True)
class StoredThreshold:
    """The ``rule`` for one stored image of this ``likeness``.

    >>> StoredThreshold(OwnThreshold(0.75, weight=0.5), likeness=0.3).distance
    0.6
    """

    rule: OwnThreshold
    likeness: float

    @property
    def distance(self) -> float:
        """The largest distance of a copy, while the stored image is as it is."""
        return float(self.rule.distances(self.vector)[0])

    @property
    def vector(self) -> Vector:
        """The likeness as ``(1,)``, float64."""
        return torch.tensor([self.likeness], dtype=torch.float64)


def likeness(
    features: PixelFeatures, background: Embeddings, axes: Embeddings | None = None
) -> Vector:
    """b ``(n,)``: the highest product of each direction with the rows ``(m, k)`` of a background.

    With ``axes`` ``(a, k)`` the rows ``(m, a)`` are coordinates along them, which costs little.
    Raises ``ValueError`` for a background of another width, without rows, or with a row longer
    than 1, for which the rule is not proven.

    >>> from percert.certify import pixel_features
    >>> from percert.lipschitz.bound import LipschitzBound
    >>> one = pixel_features(torch.tensor([[3.0, 4.0]]), LipschitzBound(1.0, "exact"))
    >>> round(likeness(one, torch.eye(2)).item(), 9)
    0.8
    """
    g = features.directions
    along = background if axes is None else axes
    if background.ndim != 2 or not len(background) or along.shape[-1] != g.shape[1]:
        raise ValueError(
            f"background: expected rows of {g.shape[1]} values, found {tuple(along.shape)}"
        )
    rows = background.to(g)
    square = rows.square().sum(1)
    if axes is not None:
        turned = axes.to(g)
        square = (rows @ (turned @ turned.T) * rows).sum(1)
        g = g @ turned.T
    if not float(square.max()) <= 1 + 8 * features.rounding:
        raise ValueError("background: expected finite rows of length 1 at most, found a longer one")
    return (g @ rows.T).amax(dim=1).clamp(-1, 1)


def own_copies_of_features(
    query: PixelFeatures,
    stored: PixelFeatures,
    rule: OwnThreshold,
    likeness: Vector,
    *,
    perturbed: PerturbedStored = "query",
) -> Certificate:
    """Whether each query is a copy of its stored image by the image's own threshold; its radius.

    ``likeness`` ``(n,)`` is that of the stored images; one of the two may hold a single row, used
    for all. The decision ``(n,)`` stays while the images that move each do so by less than the
    radius (pixel l2 of each), and the threshold moves with the stored one. Exact for a query that
    moves alone, up to the floating-point slack; a lower bound where the stored image moves. The
    head of the module has the proof.
    """
    check_choice(perturbed, MOVES, "perturbed")
    threshold = rule.distances(likeness)
    if perturbed == "query":
        return copies_of_features(query, stored, threshold, perturbed="reference")
    if rule.weight == 0:
        other: PerturbedPair = "both" if perturbed == "both" else "candidate"
        return copies_of_features(query, stored, threshold, perturbed=other)
    fixed = copies_of_features(query, stored, threshold, perturbed="reference")
    pairs = FeaturePairs(query, stored)
    decision, theta = fixed.decision, pairs.theta
    beta = likeness.clamp(-1, 1).acos()
    # Rounding moves the likeness as it does every product, and its angle by more near 0 and pi.
    slack = 4 * math.sqrt(query.rounding)

    def holds(eps: Vector) -> Tensor:
        by_stored = turn(stored, stored.moved(eps))
        by_query = turn(query, query.moved(eps if perturbed == "both" else 0.0))
        turned = by_query + by_stored + query.rounding
        nearer = (beta - by_stored - slack).clamp_min(0).cos()
        farther = (beta + by_stored + slack).clamp_max(math.pi).cos()
        stays = theta + turned < threshold_angle(rule.distances(nearer), -query.rounding)
        away = theta - turned > threshold_angle(rule.distances(farther), query.rounding)
        return torch.where(decision, stays, away)

    shortest = stored.norm if perturbed == "stored" else torch.minimum(stored.norm, query.norm)
    none = torch.zeros_like(theta)
    radius = bisect(holds, none, none + shortest, HALVINGS)
    plain = pairs.plain
    known = pairs.valid & pairs.distance.isfinite() & ~(decision & plain)
    moving = {"stored": stored} if perturbed == "stored" else {"query": query, "stored": stored}
    return Certificate(
        decision=decision,
        radius=torch.where(known, radius, 0.0),
        radius_paper=torch.full_like(radius, math.nan),
        perturbed=perturbed,
        bounds={role: features.bound for role, features in moving.items()},
        plain=plain,
    )
