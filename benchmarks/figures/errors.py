from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE
from ..producing import PATH, need_plain
from ..stats import percentiles
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "ERROR and CRITICAL calls"
NOTE: Final = (
    "The time of a call outside an event loop. What it buys differs: an ERROR of hydra's is in "
    "the kernel when the call returns and a CRITICAL on the disk, one of a queueing peer is in "
    "memory. `busy` has four threads beside it that compute in Python."
)
_KINDS: Final = ("ERROR", "busy ERROR", "CRITICAL")
METRICS: Final = {
    f"{kind} {name}": Metric(f"{kind} {name}", "us")
    for kind in _KINDS
    for name in ("p50", "p99", "max")
}
_BUSY = 4


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {"a script": {"calls": scale.calls // 8}}


def program(adapter: Adapter, calls: int) -> Measured:
    need_plain(adapter)
    adapter.setup(PATH, "info")
    # With four threads in the way a call may take a while.
    few = max(calls // 5, 20)
    took = {
        "ERROR": _timed(adapter.error, range(calls)),
        "busy ERROR": _beside_threads(adapter.error, range(calls, calls + few)),
        "CRITICAL": _timed(adapter.critical, range(calls + few, calls + 2 * few)),
    }
    adapter.close()
    values = {
        f"{kind} {name}": value
        for kind, each in took.items()
        for name, value in percentiles(each).items()
    }
    return Measured(values, path=PATH, counts=[calls + 2 * few])


def _timed(call: Callable[..., Any], numbers: range) -> list[float]:
    """Return what each call took, in microseconds."""
    took = []
    for seq in numbers:
        began = time.perf_counter_ns()
        call(MESSAGE, seq=seq, **FIELDS)
        took.append((time.perf_counter_ns() - began) / 1e3)
        # Errors come one by one.
        time.sleep(0.0005)
    return took


def _beside_threads(call: Callable[..., Any], numbers: range) -> list[float]:
    done = threading.Event()
    threads = [threading.Thread(target=_compute, args=(done,)) for _ in range(_BUSY)]
    for thread in threads:
        thread.start()
    try:
        return _timed(call, numbers)
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _compute(done: threading.Event) -> None:
    while not done.is_set():
        sum(range(1_000))
