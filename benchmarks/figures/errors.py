from __future__ import annotations

import threading
import time
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE
from ..producing import PATH, need_plain
from ..stats import PERCENTILES, percentiles
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "ERROR and CRITICAL calls"
NOTE: Final = (
    "The time of a call outside an event loop. What it buys differs: an ERROR of hydra's is in "
    "the kernel when the call returns and a CRITICAL on the disk, one of a queueing peer is in "
    "memory. `busy` has four threads beside it that compute in Python."
)
METRICS: Final = {name: Metric(name, "us") for name in PERCENTILES}
_BUSY = 4


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    few = max(scale.calls // 20, 20)
    return {
        "ERROR": {"calls": scale.calls // 4, "level": "error"},
        "ERROR, busy": {"calls": few, "level": "error", "busy": _BUSY},
        "CRITICAL": {"calls": few, "level": "critical"},
    }


def program(adapter: Adapter, calls: int, level: str, busy: int = 0) -> Measured:
    need_plain(adapter)
    adapter.setup(PATH, "info")
    call = adapter.error if level == "error" else adapter.critical
    done = threading.Event()
    threads = [threading.Thread(target=_compute, args=(done,)) for _ in range(busy)]
    for thread in threads:
        thread.start()
    took = []
    for seq in range(calls):
        began = time.perf_counter_ns()
        call(MESSAGE, seq=seq, **FIELDS)
        took.append((time.perf_counter_ns() - began) / 1e3)
        # Errors come one by one.
        time.sleep(0.0005)
    done.set()
    for thread in threads:
        thread.join()
    adapter.close()
    return Measured(dict(percentiles(took)), path=PATH, counts=[calls])


def _compute(done: threading.Event) -> None:
    while not done.is_set():
        sum(range(1_000))
