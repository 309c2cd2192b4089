from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE
from ..producing import PATH, need_plain
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Cost of one call"
NOTE: Final = (
    "The time of a call outside an event loop, as the fastest of many short batches: `disabled` "
    "is a debug call where the level is info, `bound` and `context` have two more fields on the "
    "logger or in the context. Time that a library's own thread takes is seen in throughput."
)
METRICS: Final = {"call": Metric("one call", "us")}
_BATCH = 100
_MORE = {"request_id": "r-1", "service": "api"}


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {
        kind: {"calls": scale.calls, "kind": kind}
        for kind in ("disabled", "enabled", "bound", "context")
    }


def program(adapter: Adapter, calls: int, kind: str) -> Measured:
    need_plain(adapter)
    adapter.setup(PATH, "info")
    call = adapter.debug if kind == "disabled" else adapter.info
    if kind == "bound":
        call = adapter.bound(**_MORE)
    best = float("inf")
    seq = 0
    with adapter.context(**_MORE) if kind == "context" else nullcontext():
        for _ in range(calls // _BATCH):
            began = time.perf_counter_ns()
            for _ in range(_BATCH):
                call(MESSAGE, seq=seq, **FIELDS)
                seq += 1
            best = min(best, time.perf_counter_ns() - began)
            # A pause, so that a queue is not full and its writer not in the way.
            time.sleep(0.002)
    adapter.close()
    return Measured(
        {"call": best / _BATCH / 1e3}, path=PATH, counts=[0 if kind == "disabled" else seq]
    )
