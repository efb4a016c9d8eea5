"""Attacks on the rule of a collection as a whole, and on its partner by queries alone."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from experiments.copies.embedded import of_edit
from percert.attacks import PGD, Square
from percert.attacks.goal import LossName, Model
from percert.data.edit import Edit
from percert.evaluation.copies.measure import spread
from percert.evaluation.copies.rates import SIDE, scaled
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.metrics.descriptor import Descriptor
from percert.search.ingest.views import find_view
from percert.tensors import Images, Vector

EPS = (1.0, 4.0, 16.0)
#: How softly the attack looks at the best of several views.
SOFT = 0.02


@dataclass(frozen=True, eq=False)
class AttackedRules:
    """A rule: of each pair of views the query's, the stored directions ``(n, k)``, and the least
    cosines ``(n,)`` of a copy; and the partner with its directions and its level.
    """

    name: str
    metric: EmbeddingMetric
    pairs: Sequence[tuple[str, Tensor, Tensor]]
    partner: Descriptor
    stored: Tensor
    level: float

    def excess(self, images: Images, places: Sequence[int]) -> Tensor:
        """By how much each pair of views passes its threshold, ``(n, pairs)``."""
        seen = {
            view: direction(self.metric.embed(find_view(view)(images)), self.metric.constant)
            for view in {view for view, _, _ in self.pairs}
        }
        rows = list(places)
        return torch.stack(
            [(seen[view] * g[rows]).sum(1) - least[rows] for view, g, least in self.pairs], 1
        )

    def partner_excess(self, images: Images, places: Sequence[int]) -> Vector:
        """By how much the partner's cosine passes its level, ``(n,)``."""
        return (self.partner.embed(images).cpu() * self.stored[list(places)]).sum(1) - self.level


@dataclass(frozen=True, eq=False)
class NoCopy:
    """The goal of a query to be no copy any more: by the certified rule, or by the partner."""

    places: tuple[int, ...]
    by_partner: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def select(self, index: Tensor) -> "NoCopy":
        return replace(self, places=tuple(self.places[at] for at in index.tolist()))

    def scores(self, model: Any, images: Images) -> Tensor:
        """The best excess, and a soft one that all near views pull at."""
        if self.by_partner:
            excess = model.partner_excess(images, self.places)[:, None]
        else:
            excess = model.excess(images, self.places)
        soft = SOFT * torch.logsumexp(excess / SOFT, 1)
        return torch.stack([excess.amax(1), soft], 1)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return -scores[:, 1]

    def margin(self, scores: Tensor) -> Vector:
        return -scores[:, 0]


def attack_rules(
    rule: AttackedRules, paths: Sequence[Path], edits: Sequence[Edit], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """What is left of some copies: by the rule under PGD, by the partner under Square and under
    what PGD made against the rule (transfer), and by either then.
    """
    cases = [divmod(at, len(paths)) for at in spread(len(edits) * len(paths), options.attacked)]
    names = ["rule", "partner, transfer", "either"]
    if options.queries:
        names.insert(1, "partner, Square")
    left = {eps: dict.fromkeys(names, 0) for eps in EPS}
    natural = {"rule": 0, "partner": 0}
    for case, (edit, place) in enumerate(cases):
        image = of_edit(paths, edits[edit])(place)
        size = (image.shape[2], image.shape[3])
        by_rule = _found(rule, image, place)
        by_partner = _found(rule, image, place, by_partner=True)
        natural["rule"] += by_rule
        natural["partner"] += by_partner
        moved = image
        for eps in EPS:
            length = scaled(eps, size, SIDE)
            moved = _pgd(rule, image, moved, place, length, options.steps, case)
            stays, transferred = _found(rule, moved, place), _found(rule, moved, place, True)
            left[eps]["rule"] += stays and by_rule
            left[eps]["partner, transfer"] += transferred
            left[eps]["either"] += stays or transferred
            if by_partner and options.queries:
                seeds = torch.tensor([case])
                square = Square(norm="l2", eps=length, queries=options.queries)
                goal = NoCopy((place,), by_partner=True)
                with torch.no_grad():
                    tried = square(cast(Model, rule), image, goal, seeds=seeds)
                left[eps]["partner, Square"] += _found(rule, tried, place, True)
        print(rule.name, case + 1, left, flush=True)
    count = len(cases)
    return [
        {"views": rule.name, "copies": count, "eps": 0.0}
        | {name: value / count for name, value in natural.items()},
        *(
            {"views": rule.name, "copies": count, "eps": eps}
            | {name: value / count for name, value in held.items()}
            for eps, held in left.items()
        ),
    ]


def _pgd(
    rule: AttackedRules,
    image: Images,
    start: Images,
    place: int,
    length: float,
    steps: int,
    seed: int,
) -> Images:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(image.shape, generator=generator)
    begin = start + noise * (0.1 * length / float(noise.norm()))
    pgd = PGD(norm="l2", eps=length * (1 - 1e-6), step=2.5 * length / steps, steps=steps)
    return pgd.climb(cast(Model, rule), image, NoCopy((place,)), start=begin)


def _found(rule: AttackedRules, image: Images, place: int, by_partner: bool = False) -> bool:
    goal = NoCopy((place,), by_partner)
    with torch.no_grad():
        return bool(goal.margin(goal.scores(rule, image)) < 0)
