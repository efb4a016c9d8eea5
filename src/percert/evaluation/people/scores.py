"""The agreement of metrics with answers of one kind: all of them, and by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from percert.data.judged_pairs import NoticedPair, ScoredPair
from percert.data.triplets import Triplet
from percert.evaluation.people.agreement import (
    Array,
    Estimate,
    Index,
    Statistic,
    auc,
    clusters,
    credits_of,
    estimate,
    kendall,
    logistic_fit,
    pearson,
    rmse,
    spearman,
)
from percert.evaluation.people.answers import ObserverAnswers, One, compared
from percert.evaluation.people.distances import EQUAL, pair_name

#: Scopes beside the groups of a study: everything, and what is not the same picture twice.
ALL, CHANGED = "all", "changed"
#: The distance of each pair, by metric and by the pair's name.
Distances = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class MetricAgreement:
    """How far ``metric`` agrees with the answers of ``scope``; ``found`` by statistic."""

    metric: str
    scope: str
    answers: int
    pictures: int
    found: Mapping[str, Estimate]


@dataclass(frozen=True)
class Ceiling:
    """What a metric could reach at best in a ``scope``, for the observers disagree themselves.

    ``value`` is that of a metric that knows the share of every answer.
    """

    statistic: str
    scope: str
    value: float


def score_answers(
    answers: ObserverAnswers,
    distances: Distances,
    metrics: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
    bad: Sequence[tuple[str, str]] = (),
) -> tuple[list[MetricAgreement], list[Ceiling]]:
    """Every metric in every scope, on the answers for which all have a distance.

    ``distances`` has those of :data:`~percert.evaluation.people.distances.EQUAL` as well. Raises
    ``ValueError`` where no answer has them all, with the first of the pairs that are ``bad``.
    """
    wanted = (EQUAL, *metrics)
    judged = [
        one
        for one in answers.judged
        if all(pair_name(p) in distances[name] for name in wanted for p in compared(one))
    ]
    if not judged:
        first = f"; {bad[0][0]}: {bad[0][1]}" if bad else ""
        raise ValueError(f"people: no answer's images could be compared by every metric{first}")
    scopes = _scopes(judged, distances[EQUAL])
    pictures = pictures_of(judged, distances[EQUAL])
    agreements, ceilings = [], []
    for scope, index in scopes.items():
        some = [judged[i] for i in index]
        groups = clusters([pictures[i] for i in index])
        for name in metrics:
            statistics = _statistics(some, distances[name])
            found = {
                what: estimate(statistic, groups, draws=draws, seed=seed)
                for what, statistic in statistics.items()
            }
            agreements.append(MetricAgreement(name, scope, len(some), len(groups), found))
        ceilings += [Ceiling(what, scope, value) for what, value in _ceilings(some).items()]
    return agreements, ceilings


def pictures_of(judged: Sequence[One], equal: Mapping[str, float]) -> list[str]:
    """The picture that each answer is about: its reference, whichever file holds that.

    Two files are one picture where a pair of them was found equal to the last bit.
    """
    same: dict[str, str] = {}

    def first(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    for one in judged:
        for pair in compared(one):
            ends = first(str(pair[0])), first(str(pair[1]))
            if equal[pair_name(pair)] == 0 and ends[0] != ends[1]:
                same[max(ends)] = min(ends)
    return [first(str(one.reference)) for one in judged]


def _scopes(judged: Sequence[One], equal: Mapping[str, float]) -> dict[str, list[int]]:
    scopes = {ALL: list(range(len(judged)))}
    changed = [i for i, one in enumerate(judged) if any(equal[pair_name(p)] for p in compared(one))]
    if 0 < len(changed) < len(judged):
        scopes[CHANGED] = changed
    groups: dict[str, list[int]] = {}
    for i in changed:
        if judged[i].group:
            groups.setdefault(judged[i].group, []).append(i)
    if len(groups) > 1:
        scopes.update(groups)
    return scopes


def _statistics(some: Sequence[One], distances: Mapping[str, float]) -> dict[str, Statistic]:
    found = np.array([[distances[pair_name(p)] for p in compared(one)] for one in some])
    if isinstance(some[0], Triplet):
        return _triplet_statistics(found[:, 0], found[:, 1], _said(some))
    said = _said(some)
    fitted = logistic_fit(found[:, 0], said)
    # A fit always rises with what was said; where it falls with the distance, so does Pearson's.
    way = -1.0 if pearson(found[:, 0], fitted) < 0 else 1.0
    statistics: dict[str, Statistic] = {
        "Spearman": lambda i: spearman(found[i, 0], said[i]),
        "Kendall": lambda i: kendall(found[i, 0], said[i]),
        "Pearson": lambda i: way * pearson(fitted[i], said[i]),
        "RMSE": lambda i: rmse(fitted[i], said[i]),
    }
    if isinstance(some[0], NoticedPair):
        count = _observers(some)
        most = (said > 0.5).astype(float)
        statistics["AUC of answers"] = lambda i: auc(
            found[i, 0], said[i] * count[i], (1 - said[i]) * count[i]
        )
        statistics["AUC of seen by most"] = lambda i: auc(found[i, 0], most[i], 1 - most[i])
    return statistics


def _triplet_statistics(left: Array, right: Array, share: Array) -> dict[str, Statistic]:
    points = credits_of(left, right, share)
    decided = np.flatnonzero(share != 0.5)
    majority = credits_of(left, right, (share > 0.5).astype(float))
    drawn = np.isin(np.arange(len(share)), decided)

    def of_majority(index: Index) -> float:
        kept = index[drawn[index]]
        return float(majority[kept].mean()) if len(kept) else float("nan")

    return {"2AFC": lambda i: float(points[i].mean()), "majority": of_majority}


def _ceilings(some: Sequence[One]) -> dict[str, float]:
    if isinstance(some[0], Triplet):
        share = _said(some)
        return {"2AFC": float(np.maximum(share, 1 - share).mean())}
    if isinstance(some[0], NoticedPair):
        said, count = _said(some), _observers(some)
        return {"AUC of answers": auc(said, said * count, (1 - said) * count)}
    return {}


def _said(some: Sequence[One]) -> Array:
    """The share who saw a difference, or the score, or the share who call right the closer one."""
    return np.array([value_of(one) for one in some])


def value_of(one: One) -> float:
    """The share who saw a difference, the score, or the share who call the right one closer."""
    if isinstance(one, NoticedPair):
        return one.seen
    return one.score if isinstance(one, ScoredPair) else float(one.share or 0.0)


def _observers(some: Sequence[One]) -> Array:
    """How many answers each pair has; where nobody says, all count alike."""
    return np.array([float(getattr(one, "observers", None) or 1) for one in some])
