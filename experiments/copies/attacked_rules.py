"""Attacks on the rule of a collection as a whole, on its partner, and on both at once."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

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
#: By whom a query is a copy: the certified rule, its partner, or either of them.
By: TypeAlias = Literal["rule", "partner", "either"]


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
    """The goal of a query to be no copy any more, ``by`` the rule, the partner, or by neither."""

    places: tuple[int, ...]
    by: By = "rule"

    def __len__(self) -> int:
        return len(self.places)

    def select(self, index: Tensor) -> "NoCopy":
        return replace(self, places=tuple(self.places[at] for at in index.tolist()))

    def scores(self, model: Any, images: Images) -> Tensor:
        """The best excess, and a soft one that all near views pull at."""
        parts = []
        if self.by != "partner":
            parts.append(model.excess(images, self.places))
        if self.by != "rule":
            parts.append(model.partner_excess(images, self.places)[:, None])
        excess = torch.cat(parts, 1)
        soft = SOFT * torch.logsumexp(excess / SOFT, 1)
        return torch.stack([excess.amax(1), soft], 1)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        return -scores[:, 1]

    def margin(self, scores: Tensor) -> Vector:
        return -scores[:, 0]


def attack_rules(
    rule: AttackedRules, paths: Sequence[Path], edits: Sequence[Edit], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """What is left of some copies: by the rule under PGD, by the partner under what that made
    (transfer), and by either then.

    Of a partner that has gradients also what PGD leaves by it, and by either where PGD goes for
    both at once; with ``options.queries`` what Square leaves by the partner.
    """
    cases = [divmod(at, len(paths)) for at in spread(len(edits) * len(paths), options.attacked)]
    both: tuple[By, ...] = ("partner", "either") if rule.partner.differentiable else ()
    names = ["rule", *(["partner, Square"] if options.queries else []), "partner, transfer"]
    names += ["either", *(f"{by}, PGD" for by in both)]
    left = {eps: dict.fromkeys(names, 0) for eps in EPS}
    natural = {"rule": 0, "partner": 0}
    for case, (edit, place) in enumerate(cases):
        image = of_edit(paths, edits[edit])(place)
        size = (image.shape[2], image.shape[3])
        by_rule, by_partner = _found(rule, image, place), _found(rule, image, place, "partner")
        natural["rule"] += by_rule
        natural["partner"] += by_partner
        moved: dict[By, Images] = dict.fromkeys(("rule", *both), image)
        for eps in EPS:
            length, held = scaled(eps, size, SIDE), left[eps]
            for by, start in moved.items():
                moved[by] = _pgd(rule, image, start, place, length, options.steps, case, by)
            stays, transferred = (
                _found(rule, moved["rule"], place, by) for by in ("rule", "partner")
            )
            held["rule"] += stays and by_rule
            held["partner, transfer"] += transferred
            held["either"] += stays or transferred
            for by in both:
                held[f"{by}, PGD"] += _found(rule, moved[by], place, by)
            if by_partner and options.queries:
                square = Square(norm="l2", eps=length, queries=options.queries)
                goal = NoCopy((place,), "partner")
                with torch.no_grad():
                    tried = square(cast(Model, rule), image, goal, seeds=torch.tensor([case]))
                held["partner, Square"] += _found(rule, tried, place, "partner")
        print(rule.name, case + 1, left, flush=True)
    count = len(cases)
    shares = ((0.0, natural), *left.items())
    return [
        {"views": rule.name, "partner by": rule.partner.name, "copies": count, "eps": eps}
        | {name: value / count for name, value in held.items()}
        for eps, held in shares
    ]


def _pgd(
    rule: AttackedRules,
    image: Images,
    start: Images,
    place: int,
    length: float,
    steps: int,
    seed: int,
    by: By,
) -> Images:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(image.shape, generator=generator)
    begin = start + noise * (0.1 * length / float(noise.norm()))
    pgd = PGD(norm="l2", eps=length * (1 - 1e-6), step=2.5 * length / steps, steps=steps)
    return pgd.climb(cast(Model, rule), image, NoCopy((place,), by), start=begin)


def _found(rule: AttackedRules, image: Images, place: int, by: By = "rule") -> bool:
    goal = NoCopy((place,), by)
    with torch.no_grad():
        return bool(goal.margin(goal.scores(rule, image)) < 0)
