"""
What is compiled of the engine, where it is.

Rule 1: it does the plain cases, and all of a case or nothing of it; what it leaves undone goes
to the function that it stands in front of. So it decides nothing, and can be left out.
Rule 2: without it (no compiler at installation, another interpreter, or turned off, see
`fallbacks.pure`) everything is the same, and a call takes longer.
"""

from __future__ import annotations

from fallbacks.pure import PURE

try:
    if PURE:
        raise ImportError
    from . import _native
except ImportError:
    _native = None  # type: ignore[assignment]

NATIVE = _native
