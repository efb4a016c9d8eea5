"""What an audit of groups found."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from percert.fairness.audit_settings import AuditSettings
from percert.fairness.compare import SlopeComparison
from percert.fairness.equivalence import (
    Resolution,
)
from percert.fairness.groups import GroupTable
from percert.fairness.intervals import Heterogeneity
from percert.fairness.levels import Level
from percert.fairness.line import (
    GroupLine,
    as_row,
)
from percert.fairness.measures import Measure
from percert.fairness.mixed import MixedLogistic
from percert.fairness.outcome import ACCURACY, Outcome
from percert.fairness.regression import Array
from percert.fairness.result import LEVEL
from percert.fairness.versions import VersionComparison
from percert.reports.finite import finite


@dataclass(frozen=True)
class ModelLine:
    """One model's line for one attribute and covariance.

    The adjusted p-value of its test is Holm's, for the number of attributes.
    """

    model: str
    members: str
    attribute: str
    line: GroupLine

    @property
    def p_holm(self) -> float:
        """The p-value that decides: the raw one where there is one attribute."""
        return self.line.test.p_adjusted


@dataclass(frozen=True)
class Difference:
    """The share of group ``second`` less that of group ``first``, with Newcombe's interval."""

    first: str
    second: str
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class GroupEstimates:
    """One model's groups one by one, ``(groups,)`` each, and whether they differ at all.

    ``lower`` and ``upper`` are Wilson's interval of each group's accuracy, ``shrunken`` the
    accuracy drawn towards the mean by how little its images know, ``spread`` the estimated standard
    deviation of the true accuracies. ``difference`` is there for two groups alone.
    """

    lower: Array
    upper: Array
    shrunken: Array
    spread: float
    heterogeneity: Heterogeneity | None
    difference: Difference | None


@dataclass(frozen=True)
class GroupAudit:
    """Everything that the audit found.

    ``models`` has the models of each set, in order; ``attributes`` are those that lines were fitted
    on, none where there are none or fewer than 3 groups. ``lines`` has every model, attribute and
    covariance. ``comparisons`` has one entry an attribute where a second set was given.
    ``measures`` and ``estimates`` are by model. ``outcome`` is what the shares are of: ``accuracy``
    in the table's name is that of the outcome. ``levels`` are those of the tests on these groups,
    by attribute, at the mean accuracy of the first set. ``resolutions`` say, for every model and
    for its groups and lines, within which margin they are shown to be fair. ``mixed`` has the
    mixed-effects logistic regression of every model and attribute that allows one, ``versions``
    compare with what was given as ``before``.
    """

    table: GroupTable
    models: dict[str, list[str]]
    attributes: tuple[str, ...]
    lines: tuple[ModelLine, ...]
    comparisons: dict[str, SlopeComparison]
    measures: dict[str, list[Measure]]
    estimates: dict[str, GroupEstimates]
    levels: dict[str, list[Level]]
    notes: tuple[str, ...]
    resolutions: tuple[Resolution, ...] = ()
    mixed: tuple[MixedLogistic, ...] = ()
    versions: tuple[VersionComparison, ...] = ()
    outcome: Outcome = ACCURACY
    settings: AuditSettings = field(default_factory=AuditSettings)

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets of models, in order."""
        return tuple(self.models)

    def headline(self, members: str, attribute: str) -> list[ModelLine]:
        """The lines of one set and attribute under the first covariance."""
        first = self.settings.covariances[0]
        return [
            entry
            for entry in self.lines
            if entry.members == members
            and entry.attribute == attribute
            and entry.line.covariance == first
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        The group's accuracy is the mean over the models of the first set, its attribute the first.
        Another outcome stands under its own key, such as ``true_positive_rate``.
        """
        table = self.table
        accuracy = table.accuracy[self.models[self.sets[0]]].mean(axis=1)
        first = table.attributes.iloc[:, 0] if len(table.attributes.columns) else None
        answer: dict[str, Any] = finite(
            {
                "groups": [
                    {
                        "group": str(group),
                        "n": int(table.n[group]),
                        self.outcome.key: float(accuracy[group]),
                        "attribute": None if first is None else float(first[group]),
                    }
                    for group in table.n.index
                ],
                "left_out": [asdict(entry) for entry in table.left_out],
                "models": [as_row(entry.line, entry.model) for entry in self.lines],
                "comparison": next(iter(self._comparisons().values()), {}),
                "details": self._details(),
            }
        )
        return answer

    def _comparisons(self) -> dict[str, dict[str, Any]]:
        return {
            attribute: {
                "attribute": attribute,
                "covariance": self.settings.covariances[0],
                "p_holm": entry.deciding.p_adjusted,
            }
            | entry.to_dict()
            for attribute, entry in self.comparisons.items()
        }

    def _details(self) -> dict[str, Any]:
        groups = [str(group) for group in self.table.n.index]
        return {
            "settings": asdict(self.settings),
            "outcome": asdict(self.outcome),
            "lines": [
                {
                    "model": entry.model,
                    "set": entry.members,
                    "attribute": entry.attribute,
                    "covariance": entry.line.covariance,
                    "r2": entry.line.r2,
                    "between": entry.line.between,
                    "p_holm": entry.p_holm,
                    "may": entry.line.test.may,
                    "may_not": entry.line.test.may_not,
                    "cooks_distance": dict(zip(groups, entry.line.cooks.tolist(), strict=True)),
                }
                for entry in self.lines
            ],
            "slopes": slope_summaries(self),
            "comparisons": self._comparisons(),
            "measures": {
                model: [asdict(entry) for entry in found] for model, found in self.measures.items()
            },
            "estimates": {
                model: {
                    "interval": {
                        group: [low, high]
                        for group, low, high in zip(
                            groups, found.lower.tolist(), found.upper.tolist(), strict=True
                        )
                    },
                    "shrunken": dict(zip(groups, found.shrunken.tolist(), strict=True)),
                    "spread": found.spread,
                    "difference": None if found.difference is None else asdict(found.difference),
                    "heterogeneity": None
                    if found.heterogeneity is None
                    else asdict(found.heterogeneity),
                }
                for model, found in self.estimates.items()
            },
            "levels": {
                attribute: [asdict(entry) for entry in found]
                for attribute, found in self.levels.items()
            },
            "versions": [entry.to_dict() for entry in self.versions],
            "mixed": [entry.to_dict() for entry in self.mixed],
            "resolutions": [entry.to_dict() for entry in self.resolutions],
            "notes": list(self.notes),
        }


def slope_summaries(audit: GroupAudit) -> list[dict[str, Any]]:
    """The distribution of slopes of every set, attribute and covariance."""
    summaries = []
    for members in audit.sets:
        for attribute in audit.attributes:
            for covariance in audit.settings.covariances:
                lines = [
                    entry
                    for entry in audit.lines
                    if (entry.members, entry.attribute, entry.line.covariance)
                    == (members, attribute, covariance)
                ]
                if not lines:
                    continue
                slopes = np.array([entry.line.slope for entry in lines])
                low, middle, high = np.percentile(slopes, [25, 50, 75])
                summaries.append(
                    {
                        "set": members,
                        "attribute": attribute,
                        "covariance": covariance,
                        "models": len(slopes),
                        "mean": float(slopes.mean()),
                        "sd": float(slopes.std(ddof=1)) if len(slopes) > 1 else None,
                        "min": float(slopes.min()),
                        "quartiles": [float(low), float(middle), float(high)],
                        "max": float(slopes.max()),
                        "significant": float(np.mean([entry.p_holm < LEVEL for entry in lines])),
                    }
                )
    return summaries
