"""What is estimated and tested of each model that an audit is of."""

from percert.fairness.adjust import holm
from percert.fairness.audit_result import Difference, GroupEstimates, ModelLine
from percert.fairness.audit_settings import AuditSettings
from percert.fairness.equivalence import (
    Resolution,
    groups_within,
    slope_within,
)
from percert.fairness.groups import GroupTable
from percert.fairness.intervals import heterogeneity, newcombe, shrunken, wilson
from percert.fairness.levels import Level, simulated_levels
from percert.fairness.line import (
    CannotEstimate,
    adjust_line,
    fit_line,
)
from percert.fairness.mixed import MixedLogistic, fit_mixed
from percert.fairness.outcome import Outcome
from percert.fairness.regression import Array


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
