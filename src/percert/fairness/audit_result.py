"""How an audit of groups is done, what it found, and the rows that it is recorded in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from percert.fairness.calibration import Calibration
from percert.fairness.conclusions import LEVEL
from percert.fairness.equivalence import Resolution, check_margin
from percert.fairness.groups import ACCURACY, SMALLEST, GroupTable, Outcome
from percert.fairness.intervals import GroupEstimates
from percert.fairness.joint import JointLine
from percert.fairness.least_squares import DEFAULT
from percert.fairness.measures import Measure
from percert.fairness.mix import Adjusted
from percert.fairness.mixed_logistic import MixedLogistic
from percert.fairness.regression import GroupLine, Level
from percert.fairness.resampling import Generality
from percert.fairness.slope_tests import Pairing, SlopeComparison
from percert.fairness.versions import VersionComparison
from percert.reports.table import finite


@dataclass(frozen=True)
class AuditSettings:
    """How the audit is done. The first covariance is the headline, and what sets are compared by.

    ``draws`` are those of every simulation: the level of each test on these groups, and what the
    usual measures show by chance; 0 leaves both out. ``pairs`` says which models of two sets belong
    together: those of one name, those in one place of their files (``"order"``), or none.
    ``magnitude`` compares sets by the size of their slopes. ``outcome`` is accuracy, a rate of
    ``percert.fairness.groups.RATES`` or a column of 0 and 1, ``positive`` the class that counts as
    positive. ``margin`` is the difference of shares within which groups count as fair. Columns of
    the predictions: ``by`` those that make the groups, whose categories are then compared beside
    each other, ``strata`` those within which groups are compared as well. ``covariates`` are
    columns of the attributes that are allowed for, and not tested.
    """

    smallest: int = SMALLEST
    covariances: tuple[str, ...] = DEFAULT
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0
    drop_missing: bool = False
    magnitude: bool = False
    pairs: Pairing = "name"
    outcome: str = "accuracy"
    positive: str | None = None
    margin: float | None = None
    by: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.smallest < 1:
            raise ValueError(f"smallest: expected at least 1 image a group, found {self.smallest}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: expected a share in (0, 1), found {self.confidence}")
        if not self.covariances:
            raise ValueError("covariances: expected at least one")
        if self.margin is not None:
            check_margin(self.margin)
        if self.pairs not in ("name", "order", "none"):
            raise ValueError(f"pairs: expected name, order or none, found {self.pairs!r}")


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
    compare with what was given as ``before``. ``joint`` has all attributes and covariates in one
    regression, of each model, where there are several, or categories, or strata; ``mixes`` the
    groups as they compare within strata; ``generality`` what the slopes generalise to;
    ``calibrations`` the probabilities by group, of models that have them.
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
    joint: tuple[JointLine, ...] = ()
    mixes: dict[str, Adjusted] = field(default_factory=dict)
    generality: tuple[Generality, ...] = ()
    calibrations: dict[str, Calibration] = field(default_factory=dict)
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
                "left_out": table.left_out,
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
            "settings": self.settings,
            "outcome": self.outcome,
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
                    "cooks_distance": dict(zip(groups, entry.line.cooks, strict=True)),
                }
                for entry in self.lines
            ],
            "slopes": slope_summaries(self),
            "comparisons": self._comparisons(),
            "measures": self.measures,
            "estimates": {
                model: {
                    "interval": {
                        group: [found.lower[place], found.upper[place]]
                        for place, group in enumerate(groups)
                    },
                    "shrunken": dict(zip(groups, found.shrunken, strict=True)),
                    "spread": found.spread,
                    "difference": found.difference,
                    "heterogeneity": found.heterogeneity,
                }
                for model, found in self.estimates.items()
            },
            "levels": self.levels,
            "versions": self.versions,
            "joint": self.joint,
            "mixes": self.mixes,
            "calibrations": self.calibrations,
            "generality": [{**vars(entry), "words": entry.words} for entry in self.generality],
            "mixed": self.mixed,
            "resolutions": self.resolutions,
            "notes": self.notes,
        }


def as_row(line: GroupLine, model: str) -> dict[str, Any]:
    """The line as one row of the audit's JSON."""
    return {
        "model": model,
        "slope": line.slope,
        "slope_per_sd": line.per_sd,
        "intercept": line.intercept,
        "interval": list(line.interval),
        "f": line.test.statistic,
        "df": list(line.test.df),
        "p_value": line.test.p_value,
        "p_holm": line.test.p_adjusted,
        "null": line.test.null,
        "covariance": line.covariance,
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


def file_names(attributes: Sequence[str]) -> dict[str, str]:
    """A file name for each attribute, each its own: ``log gdp`` and ``log-gdp`` read alike.

    >>> file_names(["log gdp", "log-gdp"])
    {'log gdp': 'log-gdp', 'log-gdp': 'log-gdp-2'}
    """
    names: dict[str, str] = {}
    for attribute in attributes:
        plain = "".join(c if c.isalnum() else "-" for c in attribute.lower())[:60]
        name, place = plain, 1
        while name in names.values():
            place += 1
            name = f"{plain}-{place}"
        names[attribute] = name
    return names


def group_rows(audit: GroupAudit) -> list[dict[str, Any]]:
    """One record a group and model: what the figures are drawn from."""
    table = audit.table
    return [
        {
            "model": str(model),
            "group": str(group),
            "n": int(table.n[group]),
            audit.outcome.key: float(table.accuracy[model][group]),
        }
        | {str(name): float(table.attributes[name][group]) for name in table.attributes}
        for model in table.accuracy
        for group in table.n.index
    ]
