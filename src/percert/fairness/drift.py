"""Several versions of one model in one table: what became of its groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from percert.fairness.conclusions import interval_column
from percert.fairness.p_values import holm
from percert.fairness.versions import VersionComparison
from percert.reports.table import Column, Table


@dataclass(frozen=True)
class VersionRow:
    """One version: its shares, and how the gap changed from the version before (``None``: first).

    ``p_holm`` is that of McNemar's test of all images against the version before, adjusted for the
    number of such tests.
    """

    version: str
    overall: float
    lowest: float
    lowest_group: str
    gap: float
    gap_change: float | None
    gap_interval: tuple[float, float] | None
    p_holm: float | None


def drifts(versions: Sequence[VersionComparison]) -> dict[str, list[VersionComparison]]:
    """The comparisons of each model that has more than two versions, the earliest first."""
    found: dict[str, list[VersionComparison]] = {}
    for entry in versions:
        found.setdefault(entry.model, []).append(entry)
    return {model: several for model, several in found.items() if len(several) > 1}


def version_rows(steps: Sequence[VersionComparison]) -> list[VersionRow]:
    """A row a version, of comparisons of each with the one before."""
    adjusted = holm([step.overall.p_value for step in steps])

    def row(name: str, step: VersionComparison, now: bool, p_holm: float | None) -> VersionRow:
        shares = np.array([entry.now if now else entry.before for entry in step.groups])
        place = int(shares.argmin())
        return VersionRow(
            version=name,
            overall=step.overall.now if now else step.overall.before,
            lowest=float(shares[place]),
            lowest_group=step.groups[place].group,
            gap=step.gap[int(now)],
            gap_change=step.gap_change if now else None,
            gap_interval=step.gap_interval if now else None,
            p_holm=p_holm,
        )

    return [
        row(steps[0].before, steps[0], False, None),
        *(row(step.name, step, True, p) for step, p in zip(steps, adjusted, strict=True)),
    ]


def drift_table(
    model: str, steps: Sequence[VersionComparison], confidence: float, *, short: bool = False
) -> Table:
    """All versions of ``model``, the earliest on top."""
    columns: list[Column[VersionRow]] = [
        Column("version", lambda row: row.version),
        Column("all images", lambda row: row.overall, ".4f"),
        Column(
            "p against before, Holm", lambda row: row.p_holm, ".4g", missing="", short="p, Holm"
        ),
        Column("lowest group", lambda row: f"{row.lowest_group} {row.lowest:.4f}"),
        Column("gap", lambda row: row.gap, ".4f"),
        Column("change of the gap", lambda row: row.gap_change, "+.4f", missing="", short="change"),
        interval_column(confidence, lambda row: row.gap_interval, "+.4f"),
    ]
    return Table.of(
        version_rows(steps),
        columns,
        f"{model}, version by version, each against the one before on the same images. Intervals "
        "are of the change of the true gap, whichever groups attain it.",
        short=short,
    )
