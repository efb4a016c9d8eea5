"""The audit of group fairness: from tables of predictions to tests and sentences."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from percert.fairness.audit_result import AuditSettings, GroupAudit, ModelLine
from percert.fairness.conclusions import (
    holm_note,
    models_note,
    outcome_note,
    pairs_note,
    skipped_note,
    two_groups_note,
)
from percert.fairness.equivalence import Resolution, groups_within, slope_within
from percert.fairness.groups import (
    GroupTable,
    Outcome,
    choose_outcome,
    outcome_table,
    with_outcome,
)
from percert.fairness.intervals import group_estimates
from percert.fairness.least_squares import Array
from percert.fairness.measures import group_measures
from percert.fairness.mixed_logistic import MixedLogistic, fit_mixed
from percert.fairness.p_values import holm
from percert.fairness.regression import (
    FEWEST_GROUPS,
    CannotEstimate,
    GroupLine,
    Level,
    adjust_line,
    fit_line,
    simulated_levels,
)
from percert.fairness.slope_tests import SlopeComparison, compare_by_attribute, pair_models
from percert.fairness.versions import VersionComparison, compare_versions

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

Fit = TypeVar("Fit")


def audit_groups(
    predictions: "pd.DataFrame",
    attributes: "pd.DataFrame | None" = None,
    *,
    against: "pd.DataFrame | None" = None,
    pretrained: "pd.DataFrame | None" = None,
    before: "pd.DataFrame | None" = None,
    names: tuple[str, str, str] = ("models", "against", "pretrained"),
    settings: AuditSettings | None = None,
) -> GroupAudit:
    """Does accuracy depend on the groups' attributes? And less so than for other models?

    ``predictions``, ``against`` and ``pretrained`` are checked tables of predictions
    (``percert.fairness.predictions``) of one or several models each; ``attributes`` has one row a
    group and one column an attribute. Without it, or with two groups, there is no line: the
    question is then whether the groups differ at all, and by how much. With ``against`` the slopes
    of both sets are compared, one-sided: are those of ``predictions`` smaller? ``pretrained`` is
    tested and drawn, not compared. ``before`` are predictions of an earlier version on the same
    images, each model paired with the one of its name, or one with one: which groups gained, and is
    the gap smaller now? ``names`` are those of the three sets. Section 4 of Human Imperceptible
    Attacks.

    Raises ``ValueError`` for whatever makes the tests meaningless; see ``group_table``,
    ``fit_line`` and ``compare_slopes``.

    >>> import pandas as pd
    >>> rows = [
    ...     {"model": "m", "image": f"{group}{n}", "group": group, "correct": int(n < right)}
    ...     for group, right in (("a", 50), ("b", 90))
    ...     for n in range(100)
    ... ]
    >>> found = audit_groups(pd.DataFrame(rows), settings=AuditSettings(draws=0))
    >>> found.estimates["m"].difference.value, found.estimates["m"].heterogeneity.p_value < 1e-6
    (0.4, True)
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
    outcome = choose_outcome(everything, settings.outcome, settings.positive)
    table = outcome_table(
        everything,
        attributes,
        outcome,
        smallest=settings.smallest,
        drop_missing=settings.drop_missing,
    )
    models = {name: frame["model"].drop_duplicates().tolist() for name, frame in frames}
    _check_groups(table, attributes is None, against is not None)
    tested = tuple(map(str, table.attributes)) if len(table.n) >= FEWEST_GROUPS else ()
    fits = _Fits(table, tested, settings, outcome)
    lines = [
        line
        for members, found in models.items()
        for model in found
        for line in fits.lines(members, model)
    ]
    every = [str(model) for model in table.accuracy]
    mixed = [entry for model in every for entry in fits.mixed(model)]
    notes = _notes(fits, models)
    comparisons: dict[str, SlopeComparison] = {}
    if against is not None:
        ours, theirs, paired = pair_models(
            models[labels[0]], models[labels[1]], labels[:2], settings.pairs
        )
        notes.append(pairs_note(settings.pairs, paired, len(ours), len(theirs)))
        slopes = {
            (entry.model, entry.attribute): entry.line.slope
            for entry in lines
            if entry.line.covariance == settings.covariances[0]
        }
        comparisons = compare_by_attribute(
            {
                attribute: (
                    np.array([slopes[model, attribute] for model in ours]),
                    np.array([slopes[model, attribute] for model in theirs]),
                )
                for attribute in tested
            },
            name=labels[0],
            other=labels[1],
            paired=paired,
            magnitude=settings.magnitude,
            confidence=settings.confidence,
            seed=settings.seed,
            outcome=outcome.words,
        )
    simulated: dict[str, Any] = {
        "confidence": settings.confidence,
        "draws": settings.draws,
        "seed": settings.seed,
    }
    kept = everything[everything["group"].isin(table.n.index)]
    versions: tuple[VersionComparison, ...] = ()
    if before is not None:
        versions = _versions(predictions, before, table, outcome, names[0], settings)
    return GroupAudit(
        table=table,
        models=models,
        attributes=tested,
        lines=tuple(lines),
        comparisons=comparisons,
        measures={
            str(model): group_measures(rows, outcome=outcome, **simulated)
            for model, rows in kept.groupby("model", sort=False)
        },
        estimates={
            model: group_estimates(
                [str(group) for group in table.n.index],
                fits.share(model),
                fits.n,
                **simulated,
            )
            for model in every
        },
        levels=fits.levels(models[labels[0]]),
        notes=tuple(notes),
        resolutions=tuple(entry for model in every for entry in fits.resolutions(model)),
        mixed=tuple(mixed),
        versions=versions,
        outcome=outcome,
        settings=settings,
    )


@dataclass(frozen=True)
class _Fits:
    """What is estimated and tested of each model, on the same groups and in the same way.

    What these groups do not allow goes into ``skipped`` with the reason, and stops nothing else.
    """

    table: GroupTable
    attributes: tuple[str, ...]
    settings: AuditSettings
    outcome: Outcome
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def n(self) -> Array:
        return np.asarray(self.table.n, float)

    def share(self, model: str) -> Array:
        return np.asarray(self.table.accuracy[model], float)

    def attribute(self, name: str) -> Array:
        return np.asarray(self.table.attributes[name], float)

    def fit(self, fit: Callable[..., Fit], model: str, attribute: str, /, **how: Any) -> Fit:
        """``fit`` of the model's shares on the attribute."""
        return fit(
            self.share(model),
            self.attribute(attribute),
            self.n,
            attribute_name=attribute,
            outcome=self.outcome.words,
            **how,
        )

    def lines(self, members: str, model: str) -> list[ModelLine]:
        """Every attribute and covariance, with Holm's correction over the attributes.

        Only a covariance beside the first is skipped.
        """
        found: list[ModelLine] = []
        confidence, words = self.settings.confidence, self.outcome.words
        for covariance in self.settings.covariances:
            lines: dict[str, GroupLine] = {}
            for attribute in self.attributes:
                how = {"covariance": covariance, "confidence": confidence}
                try:
                    lines[attribute] = self.fit(fit_line, model, attribute, **how)
                except ValueError as error:
                    beside = covariance != self.settings.covariances[0]
                    if not (beside and isinstance(error, CannotEstimate)):
                        raise ValueError(f"model {model!r}, {attribute}: {error}") from None
                    self.skipped[attribute] = str(error)
            adjusted = holm([line.test.p_value for line in lines.values()])
            for (attribute, line), p_value in zip(lines.items(), adjusted, strict=True):
                line = adjust_line(line, p_value, len(lines), attribute, confidence, words)
                found.append(ModelLine(model, members, attribute, line))
        return found

    def mixed(self, model: str) -> list[MixedLogistic]:
        """The mixed-effects logistic regression on every attribute, with Holm's correction."""
        confidence = self.settings.confidence
        found = []
        for attribute in self.attributes:
            how = {"model": model, "confidence": confidence}
            try:
                found.append(self.fit(fit_mixed, model, attribute, **how))
            except CannotEstimate as error:
                self.skipped[f"{model}, {attribute}"] = str(error)
        adjusted = holm([entry.test.p_value for entry in found])
        return [
            entry.adjusted(p_value, len(found), confidence, self.outcome.words)
            for entry, p_value in zip(found, adjusted, strict=True)
        ]

    def resolutions(self, model: str) -> list[Resolution]:
        """Of the groups, and of the lines under the first covariance, with Holm's correction."""
        margin, words = self.settings.margin, self.outcome.words
        groups = groups_within(self.share(model), self.n, margin, model=model, outcome=words)
        how = {"margin": margin, "covariance": self.settings.covariances[0], "model": model}
        lines = [self.fit(slope_within, model, attribute, **how) for attribute in self.attributes]
        adjusted = holm([entry.test.p_value for entry in lines if entry.test is not None])
        if len(adjusted) > 1:
            lines = [
                entry.adjusted(p_value, len(adjusted), words)
                for entry, p_value in zip(lines, adjusted, strict=True)
            ]
        return [groups, *lines]

    def levels(self, models: list[str]) -> dict[str, list[Level]]:
        """The level of each covariance's test, by attribute, at the mean accuracy of ``models``."""
        if not self.settings.draws:
            return {}
        mean: Array = self.table.accuracy[models].mean(axis=1).to_numpy(float)
        return {
            attribute: simulated_levels(
                mean,
                self.attribute(attribute),
                self.n,
                self.settings.covariances,
                draws=self.settings.draws,
                seed=self.settings.seed,
            )
            for attribute in self.attributes
        }


def _versions(
    now: "pd.DataFrame",
    before: "pd.DataFrame",
    table: GroupTable,
    outcome: Outcome,
    name: str,
    settings: AuditSettings,
) -> tuple[VersionComparison, ...]:
    """Each model against its earlier version, on the groups that are audited."""
    models = [frame["model"].drop_duplicates().tolist() for frame in (now, before)]
    ours, theirs, paired = pair_models(models[0], models[1], (name, "before"), settings.pairs)
    if len(models[0]) == len(models[1]) == 1:
        ours, theirs, paired = models[0], models[1], True
    if not paired:
        raise ValueError(
            "before: expected one model, or models of the same names as those they are compared "
            f"with, found {len(models[1])} beside {len(models[0])}"
        )
    asked = [
        with_outcome(frame[frame["group"].isin(table.n.index)], outcome) for frame in (now, before)
    ]
    return tuple(
        compare_versions(
            asked[0][asked[0]["model"] == mine],
            asked[1][asked[1]["model"] == other],
            name=mine,
            before_name=other if other != mine else f"{other}, before",
            outcome=outcome,
            confidence=settings.confidence,
        )
        for mine, other in zip(ours, theirs, strict=True)
    )


def _check_groups(table: GroupTable, without: bool, against: bool) -> None:
    groups = len(table.n)
    if groups < 2:
        raise ValueError(f"groups: expected at least 2 to compare, found {groups}")
    if against and (without or groups < FEWEST_GROUPS):
        raise ValueError(
            "against: sets of models are compared by their slopes on an attribute, which takes "
            f"attributes and at least {FEWEST_GROUPS} groups, found "
            + ("no attributes" if without else f"{groups} groups")
        )


def _of_set(name: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    models = frame["model"].astype(str)
    return frame.assign(model=models.where(models == name, f"{name}/" + models))


def _notes(fits: _Fits, models: dict[str, list[str]]) -> list[str]:
    notes = []
    outcome, tested = fits.outcome, len(fits.attributes)
    if outcome.name != "accuracy" or outcome.positive is not None:
        notes.append(outcome_note(outcome.name, outcome.meaning, outcome.positive))
    if tested > 1:
        notes.append(holm_note(tested))
    if len(fits.table.attributes.columns) and not tested:
        notes.append(two_groups_note())
    if (most := max(map(len, models.values()))) > 1:
        notes.append(models_note(most))
    return notes + [skipped_note(name, why) for name, why in fits.skipped.items()]
