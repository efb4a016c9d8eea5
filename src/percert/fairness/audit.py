"""The audit of group fairness: from tables of predictions to tests and sentences."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from percert.fairness.adjust import holm
from percert.fairness.audit_fits import estimates_of, levels_of, lines_of, mixed_of, resolutions_of
from percert.fairness.audit_result import GroupAudit, ModelLine
from percert.fairness.audit_settings import AuditSettings
from percert.fairness.compare import SlopeComparison, adjust_comparison, compare_slopes
from percert.fairness.groups import GroupTable, LeftOut, check_same_images, group_table
from percert.fairness.line import (
    FEWEST_GROUPS,
)
from percert.fairness.measures import group_measures
from percert.fairness.outcome import Outcome, choose_outcome, with_outcome
from percert.fairness.pairs import pair_models
from percert.fairness.versions import VersionComparison, compare_versions
from percert.fairness.words import (
    holm_note,
    models_note,
    outcome_note,
    pairs_note,
    skipped_note,
    two_groups_note,
)

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

    ``predictions``, ``against`` and ``pretrained`` are checked tables (``percert.fairness.table``)
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
