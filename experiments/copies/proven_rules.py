"""The certified metric's side of a rule: who is found, and how far that is proven."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from experiments.copies.embedded import EmbeddedSet
from experiments.copies.rivals import PHOTOGRAPHS, Scores
from experiments.copies.sets import ASKED, BACKGROUND, QUERY_SETS, STORED
from percert.certify.features import PixelFeatures, pixel_features
from percert.certify.pairs import copies_of_features
from percert.data.edit import Edit
from percert.evaluation.copies.rates import SIDE, scaled
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.metrics.certified.embedding import direction
from percert.search.ingest.views import VIEW_SETS, find_view
from percert.search.partner.rule import likeness_to
from percert.search.query.overtaking import stored_features

#: The l2 lengths at 299 px that copies are certified for.
BUDGETS = (1.0, 4.0, 16.0, 32.0)


@dataclass(frozen=True)
class ViewRule:
    """A set of views, and how much the likeness to the background counts (0: one threshold)."""

    name: str
    views: tuple[str, ...]
    weight: float

    def pairs(self) -> list[tuple[int, int]]:
        """The places of the query's view and of the stored one, of each that is compared."""
        return [(ASKED.index(find_view(name).asked), STORED.index(name)) for name in self.views]


LARGER = ("whole", "standard", "thorough", "exhaustive")
RULES = (
    ViewRule("whole, one threshold", VIEW_SETS["whole"], 0.0),
    *(ViewRule(name, VIEW_SETS[name], 0.5) for name in LARGER),
)


class ProvenMetric(Protocol):
    """What certificates ask of a metric."""

    @property
    def constant(self) -> float: ...

    @property
    def feature_error(self) -> float: ...

    @property
    def content(self) -> Content | None: ...

    def bound(self, size: tuple[int, int], /) -> LipschitzBound: ...

    def float_error(self, size: tuple[int, int], /) -> float: ...


class EmbeddedPictures(Protocol):
    """The sets of pictures as a metric embeds them (:class:`~experiments.copies.sets.Sets`)."""

    @property
    def metric(self) -> ProvenMetric: ...

    def certified(self, name: str, /) -> EmbeddedSet: ...

    def certified_edit(self, edit: Edit, /) -> EmbeddedSet: ...


@dataclass(frozen=True, eq=False)
class Certified:
    """The certified metric's side: directions of what is stored, asked and in the background."""

    sets: EmbeddedPictures

    @cached_property
    def stored(self) -> Tensor:
        return self._unit(self.sets.certified(PHOTOGRAPHS).rows)

    @cached_property
    def likeness(self) -> Tensor:
        """Of each stored view to the background seen as the query's view is, ``(n, views)``."""
        background = self._unit(self.sets.certified(BACKGROUND).rows)
        asked = [place for place, _ in RULES[-1].pairs()]
        return torch.stack(
            [likeness_to(self.stored[:, v], background[:, a]) for v, a in enumerate(asked)], 1
        )

    @cache  # noqa: B019  # one for the whole run
    def stranger_scores(self, rule: ViewRule) -> Scores:
        """``(strangers, photographs)``: the best of all pairs of views."""
        found = []
        for name in QUERY_SETS:
            asked = self._unit(self.sets.certified(name).rows)
            best = torch.full((len(asked), len(self.stored)), -2.0)
            for a, v in rule.pairs():
                own = rule.weight * self.likeness[:, v]
                torch.maximum(best, asked[:, a] @ self.stored[:, v].T - own, out=best)
            found.append(best.numpy())
        return np.concatenate(found)

    @cache  # noqa: B019  # one for the whole run
    def copy_scores(self, rule: ViewRule, edit: Edit) -> Scores:
        """The score ``(n,)`` of each edited photograph with its own original."""
        asked = self._unit(self.sets.certified_edit(edit).rows)
        stored, likeness = self.stored[: len(asked)], self.likeness[: len(asked)]
        scores = [
            (asked[:, a] * stored[:, v]).sum(1) - rule.weight * likeness[:, v]
            for a, v in rule.pairs()
        ]
        return torch.stack(scores).amax(0).numpy()

    def radii(self, rule: ViewRule, edit: Edit, level: float) -> npt.NDArray[np.float64]:
        """How far each edited photograph may move and stay a copy, in lengths at 299 px."""
        kept = self.sets.certified_edit(edit)
        rows = self.sets.certified(PHOTOGRAPHS).rows
        radius = np.zeros(len(kept.rows))
        for size in {tuple(one) for one in kept.sizes.tolist()}:
            mine = np.flatnonzero((kept.sizes == size).all(1))
            for a, v in rule.pairs():
                asked = self._features(kept.rows[mine, a], ASKED[a], size)
                own = torch.from_numpy(rows[mine, v]).double()
                metric = self.sets.metric
                held = stored_features(own, metric.constant, metric.feature_error, metric.content)
                limit = 1 - level - rule.weight * self.likeness[mine, v].double()
                found = copies_of_features(held, asked, limit.clamp(0, 2))
                proven = torch.where(found.decision, found.radius, 0.0).numpy()
                radius[mine] = np.maximum(radius[mine], proven / scaled(1.0, size, SIDE))
        return radius

    def _features(self, h: Scores, view: str, size: tuple[int, int]) -> PixelFeatures:
        """The embedding of a view, in pixels of the whole image: a view has norm 1 at most."""
        metric, seen = self.sets.metric, find_view(view).size(size)
        bound = metric.bound(seen)
        error = metric.float_error(seen) / bound.value
        # Kept in single precision: 2^-24 of each value at most.
        return pixel_features(
            torch.from_numpy(h).double(),
            LipschitzBound(bound.value, bound.proof, size),
            constant=metric.constant,
            feature_error=metric.feature_error + 2.0**-24,
            pixel_error=error,
            content=metric.content,
        )

    def _unit(self, rows: Scores) -> Tensor:
        h = torch.from_numpy(rows)
        flat = direction(h.flatten(0, 1), self.sets.metric.constant)
        return flat.view(*h.shape[:2], -1)
