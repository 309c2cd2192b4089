"""
A fork that Python does not notice: no `os.register_at_fork`, no cleared locks.
"""

from __future__ import annotations

import ctypes
import os
import time

from hydra.engine import ENGINE


def raw_fork() -> int:
    """
    Fork, once no other thread is left; return what fork does.

    In the child the interpreter's own lock would be as the others left it: a condition
    of the C library that waits for ever for threads which were just asking for it, or
    giving it back. Hence not CDLL either, which lets go of it.
    """
    while len(os.listdir("/proc/self/task")) > 1:
        ENGINE.park()
        time.sleep(0.001)
    return ctypes.PyDLL(None).fork()
