"""The audit as one self-contained HTML page, with its figures as PNG files beside it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from percert.fairness.audit_result import GroupAudit, group_rows
from percert.fairness.calibration import calibration_section
from percert.fairness.conclusions import LEVEL
from percert.fairness.joint_report import joint_section, mixes_section
from percert.fairness.next_steps import summary_section
from percert.fairness.report_sections import (
    generality_section,
    groups_section,
    measures_section,
    resolutions_section,
    result_section,
    sets_section,
    versions_section,
)
from percert.fairness.report_tables import (
    LISTED,
    covariances_section,
    difference_words,
    differences_table,
)
from percert.files import file_sha256, write_whole
from percert.reports import read_run, write_records, write_run
from percert.reports.page import Paragraph, Section, how_made, write_page
from percert.reports.table import p_value


def write_report(audit: GroupAudit, folder: Path, run: Mapping[str, Any] | None = None) -> None:
    """Write ``report.html`` and its figures into ``folder``: each file whole or not at all.

    With ``run``, the record in ``run.json``, the page ends in how it was made.
    """
    sections = report_sections(audit, folder)
    if run is not None:
        sections.append(how_made(run))
    write_page(folder / "report.html", "Group-fairness audit", sections, lead=lead(audit))


def write_audit(
    audit: GroupAudit,
    out: Path,
    *,
    command: Sequence[str],
    device: str,
    seconds: float,
    inputs: Iterable[Path],
) -> None:
    """``records.parquet``, ``audit.json``, ``run.json``, and last the report, which cites it.

    ``inputs`` are the files that the audit was made of: ``run.json`` has their hashes.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = group_rows(audit)
    write_records(
        out / "records.parquet", rows, {name: type(value) for name, value in rows[0].items()}
    )
    found = audit.to_dict()
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    write_whole(out / "audit.json", text.encode())
    write_run(
        out,
        command=list(command),
        seed=audit.settings.seed,
        device=device,
        seconds=seconds,
        settings=found["details"]["settings"],
        inputs={str(path): f"sha256:{file_sha256(path)}" for path in inputs},
    )
    write_report(audit, out, read_run(out))


def report_sections(audit: GroupAudit, folder: Path | None = None) -> list[Section]:
    """The report's sections; with ``folder`` the figures are written there as well."""
    sections = [summary_section(audit, folder)]
    sections += [result_section(audit, attribute, folder) for attribute in audit.attributes]
    if not audit.attributes:
        notes = (Paragraph(note, "note") for note in audit.notes)
        said = (
            Paragraph(difference_words(model, found, audit.outcome))
            for model, found in audit.estimates.items()
        )
        table = differences_table(audit)
        sections.append(Section("Do the groups differ?", (*said, table, *notes)))
    if audit.joint:
        sections.append(joint_section(audit))
    if audit.mixes:
        sections.append(mixes_section(audit))
    if audit.comparisons:
        sections.append(sets_section(audit, folder))
    if audit.generality:
        sections.append(generality_section(audit))
    if audit.versions:
        sections.append(versions_section(audit))
    if audit.calibrations:
        listed = dict(list(audit.calibrations.items())[:LISTED])
        sections.append(calibration_section(listed, audit.settings.confidence))
    sections += [groups_section(audit, folder), measures_section(audit), resolutions_section(audit)]
    if audit.attributes:
        sections.append(covariances_section(audit))
    return sections


def lead(audit: GroupAudit) -> str:
    """The audit's answer in a sentence for each attribute, and for each two sets."""
    members, groups = audit.sets[0], len(audit.table.n)
    said = []
    if not audit.attributes:
        said = [
            difference_words(model, audit.estimates[model], audit.outcome)
            for model in audit.models[members]
        ]
    for attribute in audit.attributes:
        lines = audit.headline(members, attribute)
        rejected = sum(line.line.test.significant for line in lines)
        if len(lines) == 1:
            verdict = "is" if rejected else "is not shown to be"
            said.append(
                f"Over {groups} groups, {_the(audit)} of {lines[0].model} {verdict} associated "
                f"with {attribute}: slope {lines[0].line.slope:+.4g}, {p_value(lines[0].p_holm)}"
                + (" by Holm's method." if len(audit.attributes) > 1 else ".")
            )
        else:
            said.append(
                f"Over {groups} groups, {audit.outcome.words} is associated with {attribute} for "
                f"{rejected} of {len(lines)} models of {members} (level {LEVEL:g})."
            )
    said += [
        f"Between {audit.sets[0]} and {audit.sets[1]}, {attribute}: {found.deciding.may}"
        for attribute, found in audit.comparisons.items()
    ]
    return " ".join(said)


def _the(audit: GroupAudit) -> str:
    words = audit.outcome.words
    return words if words.startswith("the ") else f"the {words}"
