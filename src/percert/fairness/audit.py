"""The audit of group fairness: from tables of predictions to tests and sentences."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from percert.fairness.audit_result import (
    AuditSettings,
    Difference,
    GroupAudit,
    GroupEstimates,
    ModelLine,
)
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
    LeftOut,
    Outcome,
    check_same_images,
    choose_outcome,
    group_table,
    with_outcome,
)
from percert.fairness.intervals import heterogeneity, newcombe, shrunken, wilson
from percert.fairness.least_squares import Array
from percert.fairness.measures import group_measures
from percert.fairness.mixed_logistic import MixedLogistic, fit_mixed
from percert.fairness.p_values import holm
from percert.fairness.pairs import pair_models
from percert.fairness.regression import (
    FEWEST_GROUPS,
    CannotEstimate,
    GroupLine,
    Level,
    adjust_line,
    fit_line,
    simulated_levels,
)
from percert.fairness.slope_tests import SlopeComparison, adjust_comparison, compare_slopes
from percert.fairness.versions import VersionComparison, compare_versions

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types


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
    table = _outcome_table(everything, attributes, outcome, settings)
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
    notes = _notes(table, models, tested)
    if outcome.name != "accuracy" or outcome.positive is not None:
        notes.insert(0, outcome_note(outcome.name, outcome.meaning, outcome.positive))
    notes += [skipped_note(name, why) for name, why in fits.skipped.items()]
    comparisons: dict[str, SlopeComparison] = {}
    if against is not None:
        ours, theirs, paired = pair_models(
            models[labels[0]], models[labels[1]], labels[:2], settings.pairs
        )
        notes.append(pairs_note(settings.pairs, paired, len(ours), len(theirs)))
        comparisons = fits.comparisons(lines, labels, ours, theirs, paired)
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
            str(model): group_measures(
                rows,
                outcome=outcome,
                draws=settings.draws,
                confidence=settings.confidence,
                seed=settings.seed,
            )
            for model, rows in kept.groupby("model", sort=False)
        },
        estimates={model: fits.estimates(model) for model in every},
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
        sizes: Array = self.table.n.to_numpy(float)
        return sizes

    def share(self, model: str) -> Array:
        shares: Array = self.table.accuracy[model].to_numpy(float)
        return shares

    def attribute(self, name: str) -> Array:
        values: Array = self.table.attributes[name].to_numpy(float)
        return values

    def lines(self, members: str, model: str) -> list[ModelLine]:
        """Every attribute and covariance, with Holm's correction over the attributes.

        Only a covariance beside the first is skipped.
        """
        found: list[ModelLine] = []
        for covariance in self.settings.covariances:
            lines: dict[str, GroupLine] = {}
            for attribute in self.attributes:
                try:
                    lines[attribute] = fit_line(
                        self.share(model),
                        self.attribute(attribute),
                        self.n,
                        covariance=covariance,
                        confidence=self.settings.confidence,
                        attribute_name=attribute,
                        outcome=self.outcome.words,
                    )
                except ValueError as error:
                    beside = covariance != self.settings.covariances[0]
                    if not (beside and isinstance(error, CannotEstimate)):
                        raise ValueError(f"model {model!r}, {attribute}: {error}") from None
                    self.skipped[attribute] = str(error)
            adjusted = holm([line.test.p_value for line in lines.values()])
            for (attribute, line), p_value in zip(lines.items(), adjusted, strict=True):
                line = adjust_line(
                    line,
                    p_value,
                    len(lines),
                    attribute,
                    self.settings.confidence,
                    self.outcome.words,
                )
                found.append(ModelLine(model, members, attribute, line))
        return found

    def mixed(self, model: str) -> list[MixedLogistic]:
        """The mixed-effects logistic regression on every attribute, with Holm's correction."""
        found = []
        for attribute in self.attributes:
            try:
                found.append(
                    fit_mixed(
                        self.share(model),
                        self.attribute(attribute),
                        self.n,
                        model=model,
                        attribute_name=attribute,
                        outcome=self.outcome.words,
                        confidence=self.settings.confidence,
                    )
                )
            except CannotEstimate as error:
                self.skipped[f"{model}, {attribute}"] = str(error)
        adjusted = holm([entry.test.p_value for entry in found])
        return [
            entry.adjusted(p_value, len(found), self.settings.confidence, self.outcome.words)
            for entry, p_value in zip(found, adjusted, strict=True)
        ]

    def resolutions(self, model: str) -> list[Resolution]:
        """Of the groups, and of the lines under the first covariance, with Holm's correction."""
        margin, words = self.settings.margin, self.outcome.words
        groups = groups_within(self.share(model), self.n, margin, model=model, outcome=words)
        lines = [
            slope_within(
                self.share(model),
                self.attribute(attribute),
                self.n,
                margin,
                covariance=self.settings.covariances[0],
                model=model,
                attribute_name=attribute,
                outcome=words,
            )
            for attribute in self.attributes
        ]
        adjusted = holm([entry.test.p_value for entry in lines if entry.test is not None])
        if len(adjusted) > 1:
            lines = [
                entry.adjusted(p_value, len(adjusted), words)
                for entry, p_value in zip(lines, adjusted, strict=True)
            ]
        return [groups, *lines]

    def estimates(self, model: str) -> GroupEstimates:
        """The groups one by one, and whether they differ at all."""
        share, n, settings = self.share(model), self.n, self.settings
        lower, upper = wilson(share, n, settings.confidence)
        nearer, spread = shrunken(share, n)
        differ = heterogeneity(share, n, draws=settings.draws, seed=settings.seed)
        difference = None
        if len(n) == 2:
            first, second = map(str, self.table.n.index)
            interval = newcombe((share[0], share[1]), (n[0], n[1]), settings.confidence)
            difference = Difference(first, second, float(share[1] - share[0]), interval)
        return GroupEstimates(lower, upper, nearer, spread, differ, difference)

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

    def comparisons(
        self,
        lines: list[ModelLine],
        labels: tuple[str, ...],
        ours: list[str],
        theirs: list[str],
        paired: bool,
    ) -> dict[str, SlopeComparison]:
        """The slopes of two sets under the first covariance, by attribute, with Holm's."""
        settings = self.settings
        slopes = {
            (entry.model, entry.attribute): entry.line.slope
            for entry in lines
            if entry.line.covariance == settings.covariances[0]
        }
        found = {
            attribute: compare_slopes(
                np.array([slopes[model, attribute] for model in ours]),
                np.array([slopes[model, attribute] for model in theirs]),
                name=labels[0],
                other=labels[1],
                paired=paired,
                magnitude=settings.magnitude,
                confidence=settings.confidence,
                seed=settings.seed,
                outcome=self.outcome.words,
            )
            for attribute in self.attributes
        }
        adjusted = holm([entry.deciding.p_value for entry in found.values()])
        return {
            attribute: adjust_comparison(entry, p_value, len(adjusted), settings.confidence)
            for (attribute, entry), p_value in zip(found.items(), adjusted, strict=True)
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


def _outcome_table(
    everything: "pd.DataFrame",
    attributes: "pd.DataFrame | None",
    outcome: Outcome,
    settings: AuditSettings,
) -> GroupTable:
    """The groups' shares of the outcome; a group that it is asked of nowhere is listed."""
    check_same_images(everything)
    asked = with_outcome(everything, outcome)
    table = group_table(
        asked, attributes, smallest=settings.smallest, drop_missing=settings.drop_missing
    )
    without = sorted(set(everything["group"]) - set(asked["group"]))
    why = f"no image that the {outcome.short} is asked of"
    left_out = (*table.left_out, *(LeftOut(str(group), 0, why) for group in without))
    return replace(table, left_out=left_out)


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


def _notes(table: GroupTable, models: dict[str, list[str]], tested: tuple[str, ...]) -> list[str]:
    notes = []
    if len(tested) > 1:
        notes.append(holm_note(len(tested)))
    if len(table.attributes.columns) and not tested:
        notes.append(two_groups_note())
    most = max(len(found) for found in models.values())
    if most > 1:
        notes.append(models_note(most))
    return notes
