"""
Whether this process has the compiled call path, for tests of it.
"""

from __future__ import annotations

import pytest

from hydra.engine._compiled import COMPILED

NOT_COMPILED = (
    "there is no compiled call path here: HYDRA_PURE_PYTHON is set, or it was not built (it needs "
    "a C compiler, the headers of Python, and CPython with its lock)"
)

needs_compiled = pytest.mark.skipif(not COMPILED, reason=NOT_COMPILED)
"""Marks what there is to test in a process with the compiled call path only."""

__all__ = ["COMPILED", "NOT_COMPILED", "needs_compiled"]
