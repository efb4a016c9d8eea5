"""The report of what the data can show: margins within which groups are fair."""

from percert.fairness.audit_result import GroupAudit
from percert.fairness.equivalence import Resolution
from percert.fairness.report_tables import LISTED
from percert.reports.page import Block, Paragraph, Section, Table


def resolutions_section(audit: GroupAudit) -> Section:
    """Within which margin the groups are shown to be fair, and what these data could find."""
    shown = [entry for entry in audit.resolutions if entry.model in list(audit.measures)[:LISTED]]
    margin = audit.settings.margin
    tested = () if margin is None else ((f"p, fair within {margin:g}", "right"),)
    table = Table(
        (
            ("model", "left"),
            ("of", "left"),
            ("difference seen", "right"),
            ("shown to be within", "right"),
            *tested,
            ("least difference detectable", "right"),
        ),
        tuple(
            (
                entry.model,
                resolution_of(entry),
                f"{entry.difference:.4f}",
                f"{entry.within:.4f}",
                *(() if entry.test is None else (f"{entry.test.p_adjusted:.4g}",)),
                f"{entry.detectable:.4f}",
            )
            for entry in shown
        ),
        "Within: the smallest margin that these data show to be kept, at the level 0.05 (two "
        "one-sided tests). Detectable: the true difference that the test of no difference finds "
        "four times in five; of groups, between the two smallest.",
    )
    blocks: list[Block] = [table]
    for entry in shown if len(audit.measures) == 1 else []:
        if entry.test is not None:
            blocks += [
                Paragraph(f"Null hypothesis: {entry.test.null}"),
                Paragraph(f"What may be concluded: {entry.test.may}", "note"),
            ]
    blocks += [
        Paragraph(f"What may not: {entry.test.may_not}", "warning")
        for entry in shown[:1]
        if entry.test is not None
    ]
    return Section("Fair within a margin?", tuple(blocks))


def resolution_of(entry: Resolution) -> str:
    """What a resolution is of, in a word or two."""
    return "all groups" if entry.attribute is None else f"the line on {entry.attribute}"
