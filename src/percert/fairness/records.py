"""The rows that an audit is recorded in, and the names of its figures."""

from collections.abc import Sequence
from typing import Any

from percert.fairness.audit_result import GroupAudit


def file_names(attributes: Sequence[str]) -> dict[str, str]:
    """A file name for each attribute, each its own: ``log gdp`` and ``log-gdp`` read alike.

    >>> file_names(["log gdp", "log-gdp"])
    {'log gdp': 'log-gdp', 'log-gdp': 'log-gdp-2'}
    """
    names: dict[str, str] = {}
    for attribute in attributes:
        plain = "".join(c if c.isalnum() else "-" for c in attribute.lower())[:60]
        name, place = plain, 1
        while name in names.values():
            place += 1
            name = f"{plain}-{place}"
        names[attribute] = name
    return names


def group_rows(audit: GroupAudit) -> list[dict[str, Any]]:
    """One record a group and model: what the figures are drawn from."""
    table = audit.table
    return [
        {
            "model": str(model),
            "group": str(group),
            "n": int(table.n[group]),
            audit.outcome.key: float(table.accuracy[model][group]),
        }
        | {str(name): float(table.attributes[name][group]) for name in table.attributes}
        for model in table.accuracy
        for group in table.n.index
    ]
