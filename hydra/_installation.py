"""
Two things that make a working import impossible, told in one sentence each.
"""

from __future__ import annotations

import os
import sys


def check() -> None:
    """
    Refuse to be imported where nothing could work.

    Raises:
        ImportError: In a subinterpreter, or when the distribution `hydra-core`,
            whose package has the same name, is installed into the same directory.
    """
    if _in_subinterpreter():
        raise ImportError(
            "hydra cannot run in a subinterpreter: its writer threads and fork hooks belong to "
            "the whole process; log from the main interpreter"
        )
    here = os.path.dirname(__file__)
    if os.path.exists(os.path.join(here, "_internal")):
        raise ImportError(
            "the distributions hydra-log and hydra-core are both installed as `hydra` in "
            f"{here}: run `pip uninstall hydra-core hydra-log`, then install the one you want, "
            "or put them into separate environments"
        )


def _in_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        module = sys.modules.get(name)
        if module is None:
            try:
                module = __import__(name)
            except ImportError:
                continue
        current, main = module.get_current(), module.get_main()
        if isinstance(current, tuple):
            current, main = current[0], main[0]
        return bool(current != main)
    return False
