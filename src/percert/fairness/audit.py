"""The audit of group fairness: from tables of predictions to tests and sentences."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from percert.fairness.compare import SlopeComparison, compare_slopes
from percert.fairness.covariance import DEFAULT
from percert.fairness.groups import SMALLEST, GroupTable, group_table
from percert.fairness.line import GroupLine, as_row, fit_line
from percert.fairness.measures import Measure, group_measures
from percert.fairness.result import LEVEL
from percert.fairness.words import holm_note, measures_note, models_note
from percert.reports.finite import finite

#: With more models, bootstrap intervals of the usual measures are not drawn: they take minutes.
MEASURED = 4

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types


@dataclass(frozen=True)
class AuditSettings:
    """How the audit is done. The first covariance is the headline, and what sets are compared by.

    ``draws`` are the bootstrap samples of the usual measures. ``magnitude`` compares sets of models
    by the size of their slopes.
    """

    smallest: int = SMALLEST
    covariances: tuple[str, ...] = DEFAULT
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0
    drop_missing: bool = False
    magnitude: bool = False

    def __post_init__(self) -> None:
        if self.smallest < 1:
            raise ValueError(f"smallest: expected at least 1 image a group, found {self.smallest}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: expected a share in (0, 1), found {self.confidence}")
        if not self.covariances:
            raise ValueError("covariances: expected at least one")


@dataclass(frozen=True)
class ModelLine:
    """One model's line for one attribute and covariance.

    ``p_holm`` is its p-value adjusted for the number of attributes: the same where there is one.
    """

    model: str
    members: str
    attribute: str
    line: GroupLine
    p_holm: float


@dataclass(frozen=True)
class GroupAudit:
    """Everything that the audit found. ``sets`` are the names of the sets of models, in order.

    ``lines`` has every model, attribute and covariance. ``comparisons`` has one entry an attribute
    where a second set was given. ``measures`` is by model.
    """

    table: GroupTable
    sets: tuple[str, ...]
    lines: tuple[ModelLine, ...]
    comparisons: dict[str, SlopeComparison]
    measures: dict[str, list[Measure]]
    notes: tuple[str, ...]
    settings: AuditSettings = field(default_factory=AuditSettings)

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
        """
        table = self.table
        members = [m.model for m in self.headline(self.sets[0], table.attributes.columns[0])]
        accuracy = table.accuracy[members].mean(axis=1)
        first = table.attributes.iloc[:, 0]
        answer: dict[str, Any] = finite(
            {
                "groups": [
                    {
                        "group": str(group),
                        "n": int(table.n[group]),
                        "accuracy": float(accuracy[group]),
                        "attribute": float(first[group]),
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
        primary = [(entry.paired or entry.welch).p_value for entry in self.comparisons.values()]
        return {
            attribute: {
                "attribute": attribute,
                "covariance": self.settings.covariances[0],
                "p_holm": p_holm,
            }
            | entry.to_dict()
            for (attribute, entry), p_holm in zip(
                self.comparisons.items(), holm(primary), strict=True
            )
        }

    def _details(self) -> dict[str, Any]:
        groups = [str(group) for group in self.table.n.index]
        return {
            "settings": asdict(self.settings),
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
            "notes": list(self.notes),
        }


def audit_groups(
    predictions: "pd.DataFrame",
    attributes: "pd.DataFrame",
    *,
    against: "pd.DataFrame | None" = None,
    pretrained: "pd.DataFrame | None" = None,
    names: tuple[str, str, str] = ("models", "against", "pretrained"),
    settings: AuditSettings | None = None,
) -> GroupAudit:
    """Does accuracy depend on the groups' attributes? And less so than for other models?

    ``predictions``, ``against`` and ``pretrained`` are checked tables (``percert.fairness.table``)
    of one or several models each; ``attributes`` has one row a group and one column an attribute.
    With ``against`` the slopes of both sets are compared, one-sided: are those of ``predictions``
    smaller? ``pretrained`` is tested and drawn, not compared. Section 4 of Human Imperceptible
    Attacks.

    Raises ``ValueError`` for whatever makes the tests meaningless; see ``group_table``,
    ``fit_line`` and ``compare_slopes``.
    """
    import pandas as pd

    settings = settings or AuditSettings()
    given = [(names[0], predictions), (names[1], against), (names[2], pretrained)]
    frames = [(name, frame) for name, frame in given if frame is not None]
    labels = tuple(name for name, _ in frames)
    if len(set(labels)) < len(labels):
        raise ValueError(f"sets of models: expected different names, found {', '.join(labels)}")
    if len(frames) > 1:  # models of two sets may bear one name
        frames = [(name, _of_set(name, frame)) for name, frame in frames]
    everything = pd.concat([frame for _, frame in frames], ignore_index=True, join="inner")
    table = group_table(
        everything, attributes, smallest=settings.smallest, drop_missing=settings.drop_missing
    )
    models = {name: frame["model"].drop_duplicates().tolist() for name, frame in frames}
    lines: list[ModelLine] = []
    for members, found in models.items():
        for model in found:
            lines += _lines(table, members, model, settings)
    notes = _notes(table, models, settings.draws)
    audit = GroupAudit(table, labels, tuple(lines), {}, {}, notes, settings)
    comparisons = {}
    if against is not None:
        for attribute in table.attributes:
            slopes = [
                np.array([m.line.slope for m in audit.headline(members, attribute)])
                for members in labels[:2]
            ]
            comparisons[str(attribute)] = compare_slopes(
                *slopes,
                name=labels[0],
                other=labels[1],
                magnitude=settings.magnitude,
                confidence=settings.confidence,
                seed=settings.seed,
            )
    draws = settings.draws if len(table.accuracy.columns) <= MEASURED else 0
    kept = everything[everything["group"].isin(table.n.index)]
    measures = {
        str(model): group_measures(
            rows, draws=draws, confidence=settings.confidence, seed=settings.seed
        )
        for model, rows in kept.groupby("model", sort=False)
    }
    return GroupAudit(table, labels, audit.lines, comparisons, measures, audit.notes, settings)


def _of_set(name: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    models = frame["model"].astype(str)
    return frame.assign(model=models.where(models == name, f"{name}/" + models))


def _lines(table: GroupTable, members: str, model: str, settings: AuditSettings) -> list[ModelLine]:
    """Every attribute and covariance of one model, with Holm's correction over the attributes."""
    found: list[ModelLine] = []
    attributes = [str(name) for name in table.attributes]
    for covariance in settings.covariances:
        lines = []
        for attribute in attributes:
            try:
                line = fit_line(
                    table.accuracy[model].to_numpy(float),
                    table.attributes[attribute].to_numpy(float),
                    table.n.to_numpy(float),
                    covariance=covariance,
                    confidence=settings.confidence,
                    attribute_name=attribute,
                )
            except ValueError as error:
                raise ValueError(f"model {model!r}, {attribute}: {error}") from None
            lines.append(line)
        adjusted = holm([line.test.p_value for line in lines])
        found += [
            ModelLine(model, members, attribute, line, p_value)
            for attribute, line, p_value in zip(attributes, lines, adjusted, strict=True)
        ]
    return found


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted by Holm's method: below 0.05, the chance of any false alarm is as well.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    # statsmodels' multipletests collects garbage on every call, which takes longer than the audit.
    order = np.argsort(p_values)
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def slope_summaries(audit: GroupAudit) -> list[dict[str, Any]]:
    """The distribution of slopes of every set, attribute and covariance."""
    summaries = []
    for members in audit.sets:
        for attribute in audit.table.attributes:
            for covariance in audit.settings.covariances:
                lines = [
                    entry
                    for entry in audit.lines
                    if (entry.members, entry.attribute, entry.line.covariance)
                    == (members, attribute, covariance)
                ]
                slopes = np.array([entry.line.slope for entry in lines])
                low, middle, high = np.percentile(slopes, [25, 50, 75])
                summaries.append(
                    {
                        "set": members,
                        "attribute": str(attribute),
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


def _notes(table: GroupTable, models: dict[str, list[str]], draws: int) -> tuple[str, ...]:
    notes = []
    if table.attributes.shape[1] > 1:
        notes.append(holm_note(table.attributes.shape[1]))
    most = max(len(found) for found in models.values())
    if most > 1:
        notes.append(models_note(most))
    if draws and sum(map(len, models.values())) > MEASURED:
        notes.append(measures_note(MEASURED))
    return tuple(notes)
