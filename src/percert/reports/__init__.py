"""What a run leaves behind: records of its results, how they came about, and tables of them.

>>> from percert.reports import Column, Table, read_records, write_run
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.reports.attack_summary import AttackSummary, summarise_attacks
    from percert.reports.records import (
        Columns,
        RecordStore,
        read_records,
        read_run,
        write_records,
        write_run,
    )
    from percert.reports.table import Column, Table

__all__ = [
    "AttackSummary",
    "Column",
    "Columns",
    "RecordStore",
    "Table",
    "read_records",
    "read_run",
    "summarise_attacks",
    "write_records",
    "write_run",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.reports.attack_summary": "AttackSummary summarise_attacks",
        "percert.reports.records": "Columns RecordStore read_records read_run "
        "write_records write_run",
        "percert.reports.table": "Column Table",
    },
)
