"""What is estimated and tested of each model, on the same groups and in the same way."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from percert.fairness.audit_result import AuditSettings, ModelLine
from percert.fairness.calibration import Calibration, group_calibration
from percert.fairness.equivalence import Resolution, groups_within, slope_within
from percert.fairness.groups import GroupTable, Outcome, with_outcome
from percert.fairness.joint import JointLine, Values, fit_joint
from percert.fairness.least_squares import Array, design_of
from percert.fairness.mix import Adjusted, adjust_for_mix
from percert.fairness.mixed_logistic import MixedLogistic, fit_mixed
from percert.fairness.p_values import holm
from percert.fairness.regression import (
    CannotEstimate,
    GroupLine,
    Level,
    adjust_line,
    fit_line,
    fit_lines,
    simulated_levels,
)
from percert.fairness.resampling import Generality, SetShares, generalise, image_shares

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

Fit = TypeVar("Fit")


@dataclass(frozen=True)
class ModelFits:
    """The fits of every model of the table.

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

    def mixes(self, everything: "pd.DataFrame") -> dict[str, Adjusted]:
        """Of every model the groups as they compare within strata, where there are strata.

        How many images would know a share as well is the mean over the models: it depends on what
        classes are hard, and decides p-values that are simulated once for all.
        """
        if not self.settings.strata:
            return {}
        if "stratum" not in everything:
            raise ValueError("strata: expected predictions with a column stratum, found none")
        kept = everything[everything["group"].isin(self.table.n.index)]
        found = {}
        try:
            for model, rows in with_outcome(kept, self.outcome).groupby("model", sort=False):
                right = rows["correct"].to_numpy(float)
                found[str(model)] = adjust_for_mix(rows["group"], rows["stratum"], right)
        except CannotEstimate as error:
            self.skipped[f"the mix of {', '.join(self.settings.strata)}"] = str(error)
            return {}
        n = np.mean([entry.n for entry in found.values()], axis=0)
        return {model: replace(entry, n=n) for model, entry in found.items()}

    def calibrations(self, everything: "pd.DataFrame") -> dict[str, Calibration]:
        """Of every model whose probabilities and labels are there."""
        if "probability" not in everything or "positive" not in everything:
            return {}
        kept = everything[everything["group"].isin(self.table.n.index)]
        settings = self.settings
        return {
            str(model): group_calibration(
                rows,
                model=str(model),
                confidence=settings.confidence,
                draws=min(settings.draws, 200),
                seed=settings.seed,
            )
            for model, rows in kept.groupby("model", sort=False)
        }

    def joint(self, mixes: dict[str, Adjusted]) -> tuple[JointLine, ...]:
        """All columns in one regression, with Holm's correction over the attributes of a model."""
        table, settings, words = self.table, self.settings, self.outcome.words
        columns: dict[str, Values] = {name: self.attribute(name) for name in self.attributes}
        if table.others is not None and len(self.n) > 2:
            columns |= {str(name): _values(table.others[name]) for name in table.others}
        text = any(values.dtype.kind == "U" for values in columns.values())
        if not columns or not (len(columns) > 1 or text or mixes):
            return ()
        lines = []
        for model in map(str, table.accuracy):
            mix = mixes.get(model)
            share, n, rows = self.share(model), self.n, np.ones(len(self.n), bool)
            if mix is not None:
                share, n = mix.share, mix.n
                rows = table.n.index.isin(mix.groups)
            try:
                line = fit_joint(
                    share,
                    n,
                    {name: values[rows] for name, values in columns.items()},
                    covariates=settings.covariates,
                    covariance=settings.covariances[0],
                    model=model,
                    outcome=words,
                    confidence=settings.confidence,
                    strata=settings.strata if mix is not None else (),
                    draws=settings.draws,
                    seed=settings.seed,
                )
            except CannotEstimate as error:
                self.skipped["all columns in one regression"] = str(error)
                return ()
            p_values = {term.name: term.test.p_value for term in line.terms if term.tested}
            if len(p_values) > 1:
                adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
                line = line.adjusted(adjusted, words)
            lines.append(line)
        return tuple(lines)

    def generality(
        self, everything: "pd.DataFrame", models: dict[str, list[str]], paired: bool | None
    ) -> tuple[Generality, ...]:
        """What slopes generalise to: of every set, and of the first two against each other.

        ``paired`` is ``None`` where sets are not compared.
        """
        settings = self.settings
        if not self.attributes or not settings.draws:
            return ()
        shares, group = image_shares(
            with_outcome(everything, self.outcome), models, self.table.n.index
        )
        found = []
        for attribute in self.attributes:
            design = design_of(self.attribute(attribute))
            sets = {}
            for name, members in models.items():
                accuracy = self.table.accuracy[members].to_numpy(float).T
                lines = fit_lines(accuracy, design, self.n, settings.covariances[0])
                sets[name] = SetShares(lines.slope, lines.weights.mean(0), shares[name])
            asked = [
                (f"{name}, mean of {len(members)}" if len(members) > 1 else members[0], [name])
                for name, members in models.items()
            ]
            if paired is not None:
                both = list(models)[:2]
                asked.append((f"{both[0]} less {both[1]}", both))
            found += [
                generalise(
                    [sets[name] for name in names],
                    group,
                    self.attribute(attribute),
                    of=of,
                    attribute_name=attribute,
                    confidence=settings.confidence,
                    draws=settings.draws,
                    seed=settings.seed,
                    paired=bool(paired),
                )
                for of, names in asked
            ]
        return tuple(found)


def _values(column: "pd.Series") -> Values:
    number = column.dtype.kind in "fiub"
    values: Values = column.to_numpy(float) if number else column.astype(str).to_numpy("U")
    return values
