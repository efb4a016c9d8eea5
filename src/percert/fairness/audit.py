"""The audit of group fairness: from tables of predictions to tests and sentences."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from percert.fairness.audit_result import AuditSettings, GroupAudit
from percert.fairness.conclusions import (
    holm_note,
    models_note,
    outcome_note,
    pairs_note,
    skipped_note,
    two_groups_note,
)
from percert.fairness.groups import GroupTable, Outcome, choose_outcome, outcome_table, with_outcome
from percert.fairness.intervals import group_estimates
from percert.fairness.measures import group_measures
from percert.fairness.model_fits import ModelFits
from percert.fairness.predictions import attributes_of_parts
from percert.fairness.regression import FEWEST_GROUPS
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
    before: "pd.DataFrame | Sequence[tuple[str, pd.DataFrame]] | None" = None,
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
    the gap smaller now? Of several, (name, predictions) each, the earliest comes first. ``names``
    are those of the three sets. Section 4 of Human Imperceptible Attacks.

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
    if settings.by:
        attributes = attributes_of_parts(everything, settings.by, attributes)
    outcome = choose_outcome(everything, settings.outcome, settings.positive)
    table = outcome_table(
        everything,
        attributes,
        outcome,
        smallest=settings.smallest,
        drop_missing=settings.drop_missing,
        covariates=settings.covariates,
    )
    models = {name: frame["model"].drop_duplicates().tolist() for name, frame in frames}
    _check_groups(table, against is not None)
    tested = tuple(map(str, table.attributes)) if len(table.n) >= FEWEST_GROUPS else ()
    fits = ModelFits(table, tested, settings, outcome)
    lines = [
        line
        for members, found in models.items()
        for model in found
        for line in fits.lines(members, model)
    ]
    every = [str(model) for model in table.accuracy]
    mixed = [entry for model in every for entry in fits.mixed(model)]
    mixes = fits.mixes(everything)
    joint = fits.joint(mixes)
    notes = _notes(fits, models)
    comparisons: dict[str, SlopeComparison] = {}
    paired = None
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
        earlier = [*before] if isinstance(before, list | tuple) else [("", before)]
        chain = [*earlier, (names[0], predictions)]
        versions = tuple(
            entry
            for (name, old), (later, new) in pairwise(chain)
            for entry in _versions(new, old, table, outcome, (later, name), settings)
        )
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
                [str(group) for group in table.n.index], fits.share(model), fits.n, **simulated
            )
            for model in every
        },
        levels=fits.levels(models[labels[0]]),
        notes=tuple(notes),
        resolutions=tuple(entry for model in every for entry in fits.resolutions(model)),
        mixed=tuple(mixed),
        versions=versions,
        joint=joint,
        mixes=mixes,
        calibrations=fits.calibrations(everything),
        generality=fits.generality(everything, models, paired),
        outcome=outcome,
        settings=settings,
    )


def _versions(
    now: "pd.DataFrame",
    before: "pd.DataFrame",
    table: GroupTable,
    outcome: Outcome,
    names: tuple[str, str],
    settings: AuditSettings,
) -> tuple[VersionComparison, ...]:
    """Each model against its earlier version, on the groups that are audited.

    ``names`` are those of both versions; without the second it is called after its models.
    """
    models = [frame["model"].drop_duplicates().tolist() for frame in (now, before)]
    ours, theirs, paired = pair_models(models[0], models[1], names, settings.pairs)
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

    def called(model: str, version: str) -> str:
        return version if len(ours) == 1 else f"{model}, {version}"

    return tuple(
        replace(
            compare_versions(
                asked[0][asked[0]["model"] == mine],
                asked[1][asked[1]["model"] == other],
                name=called(mine, names[0]) if names[1] else mine,
                before_name=called(other, names[1])
                if names[1]
                else (other if other != mine else f"{other}, before"),
                outcome=outcome,
                confidence=settings.confidence,
            ),
            model=mine if len(ours) > 1 else "The model",
        )
        for mine, other in zip(ours, theirs, strict=True)
    )


def _check_groups(table: GroupTable, against: bool) -> None:
    groups, without = len(table.n), not len(table.attributes.columns)
    if groups < 2:
        raise ValueError(f"groups: expected at least 2 to compare, found {groups}")
    if against and (without or groups < FEWEST_GROUPS):
        raise ValueError(
            "against: sets of models are compared by their slopes on an attribute, which takes "
            f"attributes and at least {FEWEST_GROUPS} groups, found "
            + ("no attribute that is a number" if without else f"{groups} groups")
        )


def _of_set(name: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    models = frame["model"].astype(str)
    return frame.assign(model=models.where(models == name, f"{name}/" + models))


def _notes(fits: ModelFits, models: dict[str, list[str]]) -> list[str]:
    notes = []
    outcome, tested = fits.outcome, len(fits.attributes)
    if outcome.name != "accuracy" or outcome.positive is not None:
        notes.append(outcome_note(outcome.name, outcome.meaning, outcome.positive))
    if tested > 1:
        notes.append(holm_note(tested))
    if len(fits.table.attributes.columns) and len(fits.n) < FEWEST_GROUPS:
        notes.append(two_groups_note())
    if (most := max(map(len, models.values()))) > 1:
        notes.append(models_note(most))
    return notes + [skipped_note(name, why) for name, why in fits.skipped.items()]
