"""
What is compiled of this package, where it is.

Rule: nothing is decided in there. Without it (no compiler at installation, another interpreter,
or turned off, see `pure`) everything is the same, and takes longer.
"""

from __future__ import annotations

from .pure import PURE

try:
    if PURE:
        raise ImportError
    from . import _native
except ImportError:
    _native = None  # type: ignore[assignment]

NATIVE = _native
