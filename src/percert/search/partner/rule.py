"""The partner's threshold rule: one threshold a stored image, calibrated on unrelated pairs.

The score of a query and a stored image is their cosine less ``weight`` times the stored image's
likeness, its highest cosine with a background (:mod:`percert.certify.own_threshold` has the same
rule). How high it gets for images that have nothing to do with each other is counted once, on
strangers, and says at which level a wanted share of such pairs passes. It does not depend on what
is stored, so that nobody who adds pictures moves a threshold.
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from percert.search.tail import height_at, rate_at
from percert.tensors import Embeddings, Vector

#: The fewest strangers that a rule is made by.
FEWEST = 200
#: Pairs above the smallest rate that is counted.
OBSERVED = 10
#: The tail is fitted between the :data:`OBSERVED`-th pair and this one.
FITTED = 100
#: How much the likeness counts where there is a background.
WEIGHT = 0.5
#: Likeness where there is no background.
NONE = 0.0


@dataclass(frozen=True)
class PartnerRule:
    """Calibrated scores of ``pairs`` of strangers: ``points`` (rate, score), the rate falling.

    The share ``rate`` of the pairs has a higher score. Beyond the last counted rate it is
    extrapolated: the score grows by ``scale`` with each factor e by which the rate falls, fitted to
    the highest scores. ``weight`` is that of the likeness, ``source`` says who the strangers were.

    >>> rule = PartnerRule(10**6, ((1e-2, 0.3), (1e-4, 0.5)), 0.05, 0.0, "shipped")
    >>> [round(rule.level(rate), 3) for rate in (1e-2, 1e-3, 1e-4, 1e-6)]
    [0.3, 0.4, 0.5, 0.73]
    >>> f"{rule.rate(0.73):.1e}", rule.counted
    ('1.0e-06', 0.0001)
    """

    pairs: int
    points: tuple[tuple[float, float], ...]
    scale: float
    weight: float
    source: str

    @property
    def counted(self) -> float:
        """The smallest rate that was counted; levels for smaller ones are extrapolated."""
        return self.points[-1][0]

    def level(self, rate: float) -> float:
        """The score that a share ``rate`` of pairs of strangers exceeds.

        Rates above the largest in the table count as that one. Raises ``ValueError`` for one not
        above 0.
        """
        if not rate > 0:
            raise ValueError(f"rate: expected more than 0, found {rate:g}")
        return height_at(self.points, self.scale, min(rate, self.points[0][0]))

    def rate(self, level: float) -> float:
        """The share of pairs of strangers above ``level``, at most the table's largest rate."""
        return rate_at(self.points, self.scale, max(level, self.points[0][1]))

    def thresholds(self, likeness: Vector, rate: float) -> Vector:
        """The least cosine ``(n,)`` of a copy with stored images of ``likeness``, at most 1."""
        return (self.level(rate) + self.weight * likeness).clamp(-1, 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_rule(held: dict[str, Any]) -> PartnerRule:
    """The inverse of :meth:`PartnerRule.to_json`."""
    points = tuple((float(rate), float(score)) for rate, score in held["points"])
    return PartnerRule(held["pairs"], points, held["scale"], held["weight"], held["source"])


def likeness_to(g: Embeddings, background: Embeddings) -> Vector:
    """The highest cosine ``(n,)`` of each direction with the rows of a background; 0 without."""
    if not len(background):
        return torch.full((len(g),), NONE)
    parts = [(some.float() @ background.float().T).amax(1) for some in torch.split(g, 1024)]
    return torch.cat(parts) if parts else torch.zeros(0)


def fit_rule(strangers: Embeddings, source: str, seed: int = 0) -> tuple[PartnerRule, Embeddings]:
    """Calibrate a rule on directions ``(m, k)`` of strangers; returns it and its background.

    Half of them, drawn at random, are the background. Each of the other half is scored as a query
    against each other one. Raises ``ValueError`` for fewer than :data:`FEWEST`.

    >>> generator = torch.Generator().manual_seed(0)
    >>> g = torch.nn.functional.normalize(torch.randn(400, 64, generator=generator), dim=1)
    >>> rule, background = fit_rule(g, "random directions")
    >>> rule.pairs, len(background), rule.weight
    (39800, 200, 0.5)
    """
    if len(strangers) < FEWEST:
        raise ValueError(f"strangers: expected at least {FEWEST} pictures, found {len(strangers)}")
    order = torch.randperm(len(strangers), generator=torch.Generator().manual_seed(seed))
    background, rest = strangers[order[: len(order) // 2]], strangers[order[len(order) // 2 :]]
    like = likeness_to(rest, background)
    scores = (rest.float() @ rest.float().T) - WEIGHT * like
    other = ~torch.eye(len(rest), dtype=torch.bool)
    return rule_of(scores[other], WEIGHT, source), background


def rule_of(scores: Tensor, weight: float, source: str) -> PartnerRule:
    """The rule of the ``scores`` of pairs of strangers; ``ValueError`` for too few."""
    count = scores.numel()
    if count < 10 * FITTED:
        raise ValueError(f"strangers: expected at least {10 * FITTED} pairs, found {count}")
    ranked = scores.double().flatten().topk(max(count // 10, FITTED + 1)).values
    ranks = sorted(
        {round(one) for one in torch.logspace(1, math.log10(len(ranked)), 40).tolist()},
        reverse=True,
    )
    points = tuple((rank / count, float(ranked[rank - 1])) for rank in ranks if rank >= OBSERVED)
    # Of an exponential tail, by two of its quantiles: near-duplicates among the strangers, which
    # are the very highest, do not count.
    scale = float(ranked[OBSERVED - 1] - ranked[FITTED - 1]) / math.log(FITTED / OBSERVED)
    return PartnerRule(count, points, max(scale, 1e-6), weight, source)


@cache
def shipped_rule(name: str, weights: str) -> PartnerRule | None:
    """The rule that comes with percert for the partner ``name`` with ``weights``, or ``None``.

    It has no background, so one level is for all (``experiments/copies/partner_rule.py``).
    """
    place = files("percert") / "weights" / f"{name}-partner.json"
    if not place.is_file():
        return None
    held = json.loads(place.read_text(encoding="utf-8"))
    return read_rule(held["rule"]) if held["weights"] == weights else None
