"""The files of ``percert audit groups --out``."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percert.fairness.audit_result import GroupAudit


def write_audit(
    audit: "GroupAudit", out: Path, started: float, device: str, inputs: list[Path]
) -> None:
    """The records, how they came about, and last of all the report, which says so."""
    import json

    from percert.fairness.audit_result import group_rows
    from percert.fairness.report import write_report
    from percert.files import file_sha256
    from percert.reports import read_run, write_records, write_run
    from percert.reports.page import write_whole

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
        command=["percert", *sys.argv[1:]],
        seed=audit.settings.seed,
        device=device,
        seconds=time.perf_counter() - started,
        settings=found["details"]["settings"],
        inputs={str(path): f"sha256:{file_sha256(path)}" for path in inputs},
    )
    write_report(audit, out, run=read_run(out))
