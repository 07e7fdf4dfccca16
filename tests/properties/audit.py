"""The auditor, under the name that its errors have as assertions in tests."""

from __future__ import annotations

from hcsim.audit import Audit
from hcsim.audit import Breach as AuditError

__all__ = ["Audit", "AuditError"]
