"""
A program without hydra in which allocations fail: what the interpreter itself makes of it.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Functions that are made and called at once, on a stack that has to grow now and then.
PROGRAM = """
import _testcapi
def deep(n):
    if n: return deep(n - 1)
    return [*(x for x in (1, 2))], (lambda: 0)
for depth in range(0, 400, 3):
    for at in range(14):
        _testcapi.set_nomemory(at, at + 1)
        try: deep(depth)
        except (MemoryError, SystemError): pass
        finally: _testcapi.remove_mem_hooks()
"""


def skip_if_python_crashes(status: int) -> None:
    """Skip the test whose process ended with *status*, if that was a crash and Python's own."""
    if status != -signal.SIGSEGV:
        return
    alone = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    if alone.returncode == -signal.SIGSEGV:
        version = ".".join(map(str, sys.version_info[:3]))
        pytest.skip(f"CPython {version} crashes by itself where memory for a call is refused")
