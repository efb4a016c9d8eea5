"""The auditor: whether a network's proven bound is what its weights and its code bear out.

``percert.audit.group_files`` reads what an audit of fairness is made of, and runs classifiers for
it. What is named is loaded when it is first used: that audit takes no torch for predictions.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.audit.attacks import AttackAudit
    from percert.audit.group_files import GroupFiles, audit_group_files
    from percert.audit.network import AuditReport, audit_network

__all__ = ["AttackAudit", "AuditReport", "GroupFiles", "audit_group_files", "audit_network"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.audit.attacks": "AttackAudit",
        "percert.audit.group_files": "GroupFiles audit_group_files",
        "percert.audit.network": "AuditReport audit_network",
    },
)
