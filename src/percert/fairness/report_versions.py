"""The report of an earlier version beside that of now."""

from percert.fairness.audit_result import GroupAudit
from percert.fairness.report_tables import LISTED
from percert.fairness.versions import GroupChange, VersionComparison
from percert.reports.page import Block, Paragraph, Section, Table


def versions_table(found: VersionComparison, confidence: float) -> Table:
    """Every group before and now."""
    statistic, df, p_value = found.heterogeneity
    return Table(
        (
            ("group", "left"),
            ("images", "right"),
            ("before", "right"),
            ("now", "right"),
            ("won", "right"),
            ("lost", "right"),
            ("change", "right"),
            (f"{confidence:.0%} interval", "right"),
            ("p alone", "right"),
            ("p, Holm", "right"),
        ),
        tuple(version_row(entry, found) for entry in (*found.groups, found.overall)),
        f"{found.name} against {found.before} on the same images. Won: wrong before, right now. "
        "Exact McNemar tests; of all groups together without Holm's correction. That all groups "
        f"changed alike: chi-square {statistic:.4g}, df {df}, p = {p_value:.4g}.",
    )


def version_row(entry: GroupChange, found: VersionComparison) -> tuple[str, ...]:
    """One group's change, in words for a table."""
    return (
        entry.group,
        f"{entry.n:,}",
        f"{entry.before:.4f}",
        f"{entry.now:.4f}",
        str(entry.won),
        str(entry.lost),
        f"{entry.change:+.4f}",
        f"{entry.interval[0]:+.4f} to {entry.interval[1]:+.4f}",
        f"{entry.p_value:.4g}",
        f"{entry.p_holm:.4g}" if entry is not found.overall else "",
    )


def versions_section(audit: GroupAudit) -> Section:
    """Each model against its earlier version."""
    blocks: list[Block] = []
    for found in audit.versions[:LISTED]:
        blocks += [
            versions_table(found, audit.settings.confidence),
            Paragraph(f"What may be concluded: {found.may}", "note"),
            Paragraph(f"What may not: {found.may_not}", "warning"),
        ]
    return Section("Before and now, on the same images", tuple(blocks))
