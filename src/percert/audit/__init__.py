"""The auditor: whether a network's proven bound is what its weights and its code bear out."""

from percert.audit.attacks import AttackAudit
from percert.audit.network import AuditReport, audit_network

__all__ = ["AttackAudit", "AuditReport", "audit_network"]
