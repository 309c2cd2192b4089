from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any, Final

from ..producing import PATH, need_plain
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Start"
NOTE: Final = (
    "`import` is how much longer a process takes that imports what a program needs for a logger "
    "than one that imports nothing. `first record` is the time from the start of a process "
    "until its first record is in the file and `close` has returned, Python's own start included."
)
METRICS: Final = {
    "import": Metric("import", "ms"),
    "first": Metric("first record", "ms"),
}


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {"a script": {"times": 3 if scale.calls >= 1_000 else 1}}


def program(adapter: Adapter, times: int) -> Measured:
    need_plain(adapter)
    wanted = "import " + ", ".join(adapter.modules)
    first = f"from benchmarks.first import log; log({adapter.name!r}, {PATH!r})"
    # Once for what is compiled and read from the disk.
    for code in (wanted, first):
        _run(code)
    nothing, imported, logged = [], [], []
    for _ in range(times):
        nothing.append(_run("pass"))
        imported.append(_run(wanted))
        os.unlink(adapter.files(PATH)[-1])
        logged.append(_run(first))
    bare = statistics.median(nothing)
    values = {"import": statistics.median(imported) - bare, "first": statistics.median(logged)}
    return Measured(
        {name: max(seconds, 0.0) * 1e3 for name, seconds in values.items()}, path=PATH, counts=[1]
    )


def _run(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began
