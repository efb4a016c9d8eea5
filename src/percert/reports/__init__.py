"""What a run leaves behind: records of its results, and how they came about.

>>> from percert.reports import read_records, write_run
"""

from percert.reports.attack_summary import AttackSummary, summarise_attacks
from percert.reports.records import (
    Columns,
    RecordStore,
    read_records,
    read_run,
    write_records,
    write_run,
)

__all__ = [
    "AttackSummary",
    "Columns",
    "RecordStore",
    "read_records",
    "read_run",
    "summarise_attacks",
    "write_records",
    "write_run",
]
