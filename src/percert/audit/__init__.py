"""The auditor: whether a network's proven bound is what its weights and its code bear out."""

from percert.audit.network import audit_network
from percert.audit.report import AttackAudit, AuditReport

__all__ = ["AttackAudit", "AuditReport", "audit_network"]
