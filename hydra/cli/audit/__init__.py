"""
`hydra audit`: prove that log files are complete, or say what is missing.
"""

from __future__ import annotations

from ._audit import EXIT_INCOMPLETE, EXIT_UNUSABLE, audit_files
from ._command import audit
from ._sources import UnusableError
from ._verdict import Report, RunVerdict, StreamVerdict

__all__ = [
    "EXIT_INCOMPLETE",
    "EXIT_UNUSABLE",
    "Report",
    "RunVerdict",
    "StreamVerdict",
    "UnusableError",
    "audit",
    "audit_files",
]
