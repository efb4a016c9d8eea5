"""The audit of group fairness: from tables of predictions to tests and sentences.

The audit of group fairness: from tables of predictions to tests and sentences.

What is estimated and tested of each model that an audit is of.
"""

from dataclasses import replace
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
from percert.fairness.equivalence import (
    Resolution,
    groups_within,
    slope_within,
)
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
    Level,
    adjust_line,
    fit_line,
    simulated_levels,
)
from percert.fairness.slope_tests import SlopeComparison, adjust_comparison, compare_slopes
from percert.fairness.versions import VersionComparison, compare_versions

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types


def estimates_of(table: GroupTable, model: str, settings: AuditSettings) -> GroupEstimates:
    accuracy, n = table.accuracy[model].to_numpy(float), table.n.to_numpy(float)
    lower, upper = wilson(accuracy, n, settings.confidence)
    nearer, spread = shrunken(accuracy, n)
    return GroupEstimates(
        lower,
        upper,
        nearer,
        spread,
        heterogeneity(accuracy, n, draws=settings.draws, seed=settings.seed),
        _difference(table, accuracy, n, settings.confidence) if len(n) == 2 else None,
    )


def resolutions_of(
    table: GroupTable,
    model: str,
    attributes: tuple[str, ...],
    settings: AuditSettings,
    outcome: Outcome,
) -> list[Resolution]:
    """Of the groups of one model, and of its lines under the first covariance, with Holm's."""
    share, n = table.accuracy[model].to_numpy(float), table.n.to_numpy(float)
    groups = groups_within(share, n, settings.margin, model=str(model), outcome=outcome.words)
    lines = [
        slope_within(
            share,
            table.attributes[attribute].to_numpy(float),
            n,
            settings.margin,
            covariance=settings.covariances[0],
            model=str(model),
            attribute_name=attribute,
            outcome=outcome.words,
        )
        for attribute in attributes
    ]
    adjusted = holm([entry.test.p_value for entry in lines if entry.test is not None])
    if len(adjusted) > 1:
        lines = [
            entry.adjusted(p_value, len(adjusted), outcome.words)
            for entry, p_value in zip(lines, adjusted, strict=True)
        ]
    return [groups, *lines]


def mixed_of(
    table: GroupTable,
    model: str,
    attributes: tuple[str, ...],
    settings: AuditSettings,
    skipped: dict[str, str],
    outcome: Outcome,
) -> list[MixedLogistic]:
    """Of one model on every attribute, with Holm's; one that has no bound goes to ``skipped``."""
    found = []
    for attribute in attributes:
        try:
            found.append(
                fit_mixed(
                    table.accuracy[model].to_numpy(float),
                    table.attributes[attribute].to_numpy(float),
                    table.n.to_numpy(float),
                    model=str(model),
                    attribute_name=attribute,
                    outcome=outcome.words,
                    confidence=settings.confidence,
                )
            )
        except CannotEstimate as error:
            skipped[f"{model}, {attribute}"] = str(error)
    adjusted = holm([entry.test.p_value for entry in found])
    return [
        entry.adjusted(p_value, len(found), settings.confidence, outcome.words)
        for entry, p_value in zip(found, adjusted, strict=True)
    ]


def _difference(table: GroupTable, accuracy: Array, n: Array, confidence: float) -> Difference:
    names, shares, sizes = [str(name) for name in table.n.index], accuracy.tolist(), n.tolist()
    interval = newcombe((shares[0], shares[1]), (sizes[0], sizes[1]), confidence)
    return Difference(names[0], names[1], shares[1] - shares[0], interval)


def levels_of(
    table: GroupTable, models: list[str], tested: tuple[str, ...], settings: AuditSettings
) -> dict[str, list[Level]]:
    if not settings.draws:
        return {}
    return {
        attribute: simulated_levels(
            table.accuracy[models].mean(axis=1).to_numpy(float),
            table.attributes[attribute].to_numpy(float),
            table.n.to_numpy(float),
            settings.covariances,
            draws=settings.draws,
            seed=settings.seed,
        )
        for attribute in tested
    }


def lines_of(
    table: GroupTable,
    members: str,
    model: str,
    attributes: tuple[str, ...],
    settings: AuditSettings,
    skipped: dict[str, str],
    outcome: Outcome,
) -> list[ModelLine]:
    """Every attribute and covariance of one model, with Holm's correction over the attributes.

    A covariance beside the first that cannot be had with these groups stops nothing else: it goes
    into ``skipped`` with the reason.
    """
    found: list[ModelLine] = []
    for covariance in settings.covariances:
        lines = {}
        for attribute in attributes:
            try:
                lines[attribute] = fit_line(
                    table.accuracy[model].to_numpy(float),
                    table.attributes[attribute].to_numpy(float),
                    table.n.to_numpy(float),
                    covariance=covariance,
                    confidence=settings.confidence,
                    attribute_name=attribute,
                    outcome=outcome.words,
                )
            except CannotEstimate as error:
                if covariance == settings.covariances[0]:
                    raise ValueError(f"model {model!r}, {attribute}: {error}") from None
                skipped[attribute] = str(error)
            except ValueError as error:
                raise ValueError(f"model {model!r}, {attribute}: {error}") from None
        adjusted = holm([line.test.p_value for line in lines.values()])
        found += [
            ModelLine(
                model,
                members,
                attribute,
                adjust_line(
                    line, p_value, len(lines), attribute, settings.confidence, outcome.words
                ),
            )
            for (attribute, line), p_value in zip(lines.items(), adjusted, strict=True)
        ]
    return found


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

    ``predictions``, ``against`` and ``pretrained`` are checked tables
    (``percert.fairness.predictions``)
    of one or several models each; ``attributes`` has one row a group and one column an attribute.
    Without it, or with two groups, there is no line: the question is then whether the groups differ
    at all, and by how much. With ``against`` the slopes of both sets are compared, one-sided: are
    those of ``predictions`` smaller? ``pretrained`` is tested and drawn, not compared.
    ``before`` are predictions of an earlier version on the same images, each model paired with the
    one of its name, or one with one: which groups gained, and is the gap smaller now? Section 4 of
    Human Imperceptible Attacks.

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
    outcome = choose_outcome(everything, settings.outcome, settings.positive)
    table = _outcome_table(everything, attributes, outcome, settings)
    models = {name: frame["model"].drop_duplicates().tolist() for name, frame in frames}
    _check_groups(table, attributes is None, against is not None)
    tested = tuple(map(str, table.attributes)) if len(table.n) >= FEWEST_GROUPS else ()
    lines: list[ModelLine] = []
    skipped: dict[str, str] = {}
    for members, found in models.items():
        for model in found:
            lines += lines_of(table, members, model, tested, settings, skipped, outcome)
    mixed = tuple(
        entry
        for model in table.accuracy
        for entry in mixed_of(table, model, tested, settings, skipped, outcome)
    )
    notes = _notes(table, models, tested)
    if outcome.name != "accuracy" or outcome.positive is not None:
        notes.insert(0, outcome_note(outcome.name, outcome.meaning, outcome.positive))
    notes += [skipped_note(name, why) for name, why in skipped.items()]
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
        for attribute in tested:
            comparisons[attribute] = compare_slopes(
                np.array([slopes[model, attribute] for model in ours]),
                np.array([slopes[model, attribute] for model in theirs]),
                name=labels[0],
                other=labels[1],
                paired=paired,
                magnitude=settings.magnitude,
                confidence=settings.confidence,
                seed=settings.seed,
                outcome=outcome.words,
            )
        adjusted = holm([entry.deciding.p_value for entry in comparisons.values()])
        comparisons = {
            attribute: adjust_comparison(entry, p_value, len(adjusted), settings.confidence)
            for (attribute, entry), p_value in zip(comparisons.items(), adjusted, strict=True)
        }
    kept = everything[everything["group"].isin(table.n.index)]
    measures = {
        str(model): group_measures(
            rows,
            outcome=outcome,
            draws=settings.draws,
            confidence=settings.confidence,
            seed=settings.seed,
        )
        for model, rows in kept.groupby("model", sort=False)
    }
    return GroupAudit(
        table,
        models,
        tested,
        tuple(lines),
        comparisons,
        measures,
        {str(model): estimates_of(table, model, settings) for model in table.accuracy},
        levels_of(table, models[labels[0]], tested, settings),
        tuple(notes),
        tuple(
            entry
            for model in table.accuracy
            for entry in resolutions_of(table, model, tested, settings, outcome)
        ),
        mixed,
        ()
        if before is None
        else _versions(predictions, before, table, outcome, names[0], settings),
        outcome,
        settings,
    )


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
