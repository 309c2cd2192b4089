"""
Call site: where in the user's code a record was logged.

Frames of Hydra's own packages are skipped by the name of their module, so that a wrapper
inside the engine never shows up, whichever way a record came.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final, NamedTuple

_OWN: Final = ("hydra.", "fallbacks.")
_OWN_ROOTS: Final = frozenset({"hydra", "fallbacks"})


class Site(NamedTuple):
    """A place in the source: file, line number and qualified name of the function."""

    file: str
    line: int
    function: str


UNKNOWN: Final = Site("<unknown>", 0, "<unknown>")


def find_caller(stacklevel: int = 1) -> Site:
    """
    Return where the calling code stands, outside of Hydra.

    Args:
        stacklevel: 1 for the nearest frame that is not Hydra's, 2 for its caller, and so
            on; one that is higher than the stack gives the outermost frame.
    """
    frame: FrameType | None = sys._getframe()
    found: FrameType | None = None
    left = max(stacklevel, 1)
    while frame is not None and left > 0:
        module = frame.f_globals.get("__name__")
        if not _is_own(module):
            found = frame
            left -= 1
        frame = frame.f_back
    if found is None:
        return UNKNOWN
    code = found.f_code
    return Site(code.co_filename, found.f_lineno or code.co_firstlineno, code.co_qualname)


def _is_own(module: object) -> bool:
    return isinstance(module, str) and (module in _OWN_ROOTS or module.startswith(_OWN))
