"""
What pyproject.toml cannot say: the compiled call path.

It is optional. Without a compiler, or on an interpreter that it was not written for, the
installation is the same without it: hydra works alike, and a call takes longer.
"""

from __future__ import annotations

import platform
import sysconfig

from setuptools import Extension, setup

OPTIONS = {
    "extra_compile_args": ["-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden"],
    "optional": True,
}
NATIVE = [
    Extension(
        "hydra.engine._native",
        [
            f"native/{name}.c"
            for name in ("module", "method", "ready", "route", "route_type", "line", "slot", "text")
        ],
        depends=[
            f"native/{name}.h"
            for name in ("method", "ready", "route", "route_parts", "slot", "text")
        ],
        **OPTIONS,
    ),
    Extension(
        "fallbacks._native",
        [f"native/{name}.c" for name in ("fallbacks", "append", "handover")],
        depends=[f"native/{name}.h" for name in ("append", "handover")],
        **OPTIONS,
    ),
]

# The code relies on the interpreter's lock, and on POSIX.
suits = (
    platform.python_implementation() == "CPython"
    and platform.system() != "Windows"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)

setup(ext_modules=NATIVE if suits else [])
