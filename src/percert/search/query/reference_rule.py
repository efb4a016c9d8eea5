"""The decision rule of a single reference image: that of an index which holds it alone."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from percert.certify.answers import ReferenceView
from percert.certify.features import PixelFeatures, embed
from percert.certify.own_threshold import OwnThreshold, StoredThreshold
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.background import background_of
from percert.search.ingest.views import find_view
from percert.search.query.recommended import has_table, share_of_queries
from percert.search.query.rule import Rule, recommended_rule
from percert.search.tables.schema import StoreHeader, metric_id
from percert.tensors import Images

#: A threshold of one's own, or the one that the metric recommends for all pairs.
OneThreshold: TypeAlias = float | Literal["usual"]
WHOLE = ("whole",)


@dataclass(frozen=True, eq=False)
class ReferenceRule:
    """A ``rule`` for one reference image in ``views``, the whole first.

    A candidate is a copy where it lies within the own threshold of any view.
    ``rule.wrong`` is the share of pairs of strangers that do.
    """

    rule: Rule
    views: tuple[ReferenceView, ...]

    @property
    def threshold(self) -> float:
        """The largest distance of a copy from the reference as a whole."""
        return self.views[0].threshold.distance

    def answer(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {
            "threshold": self.threshold,
            "likeness": self.views[0].threshold.likeness,
            "views": [one.name for one in self.views],
            "rule": asdict(self.rule),
        }

    @property
    def words(self) -> str | None:
        """How rare a stranger is within the threshold, where that is known."""
        if self.rule.wrong is None:
            return None
        how = " (extrapolated)" if self.rule.counted is False else ""
        said = f"Of pairs of unrelated photographs {share_of_queries(self.rule.wrong)} is as near"
        if not self.rule.weight:
            return f"{said}{how}."
        like = self.views[0].threshold.likeness
        return f"{said}{how}; the reference's likeness to the background is {like:.2f}."


@dataclass(frozen=True, kw_only=True)
class RuleAsked:
    """Which rule is asked for.

    With a ``threshold`` it is one for all images and views, ``"usual"`` being the one that the
    metric recommends. Else each of the ``views`` has a threshold of its own, at which the share
    ``wrong`` of strangers is as near, by default that of an index.
    """

    threshold: OneThreshold | None = None
    wrong: float | None = None
    views: tuple[str, ...] = WHOLE

    @property
    def given(self) -> str | None:
        """The first of the three that is not as by default."""
        return next(
            (one.name for one in fields(self) if getattr(self, one.name) != one.default), None
        )


DEFAULT_RULE = RuleAsked()


def reference_rule(
    metric: EmbeddingMetric,
    image: Images,
    asked: RuleAsked = DEFAULT_RULE,
    usual: float | None = None,
    whole: PixelFeatures | None = None,
) -> ReferenceRule | None:
    """The rule of the reference ``image`` ``(1, 3, h, w)``; ``whole`` is its embedding, if known.

    Thresholds are by the table of strangers that comes with the metric. One without a table has the
    threshold that it recommends, ``usual``, and where it recommends none there is no rule. Raises
    ``ValueError`` for both a threshold and a rate, a rate outside (0, 1), and a rate where there is
    no table.

    >>> import torch
    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> metric, photo = Thumbnail(8), torch.rand(1, 3, 40, 40)
    >>> found = reference_rule(metric, photo)
    >>> 0.1 < found.threshold < 0.3, found.rule.wrong, found.rule.counted
    (True, 0.001, True)
    """
    threshold, wrong, views = asked.threshold, asked.wrong, asked.views
    if threshold is not None and wrong is not None:
        raise ValueError("wrong: expected a rate or a threshold, found both")
    identity = metric_id(metric)
    background = background_of(identity)
    named = None if background is None else background.id
    header = StoreHeader(identity, views, named)
    one = usual if threshold == "usual" else threshold
    if threshold is None and wrong is None and not has_table(header):
        one = usual
        if usual is None:
            return None
    if threshold == "usual" and one is None:
        raise ValueError(f"threshold: {metric.name} recommends none: give one")
    if one is None:
        rule = recommended_rule(header, 1, wrong)
    else:
        if not 0 <= one <= 2:
            raise ValueError(f"threshold: expected a number in [0, 2], found {one}")
        rule, background = Rule(one), None
    own = OwnThreshold(rule.threshold, rule.weight)
    found = []
    for name in views:
        view = find_view(name)
        known = whole if name == "whole" else None
        features = embed(metric, view(image)) if known is None else known
        like = 0.0 if background is None else float(background.likeness(features)[0])
        cut = None if view.asked == "whole" else find_view(view.asked)
        found.append(ReferenceView(name, features, StoredThreshold(own, like), cut))
    return ReferenceRule(rule, tuple(found))
