from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE, Unsupported
from ..producing import PATH, need_plain
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Cost of one call"
NOTE: Final = (
    "The time of a call outside an event loop, as the fastest of many short batches: `disabled` "
    "is a debug call where the level is info, `bound` and `context` have two more fields on the "
    "logger or in the context. Time that a library's own thread takes is seen in throughput."
)
METRICS: Final = {kind: Metric(kind, "us") for kind in ("disabled", "enabled", "bound", "context")}
_BATCH = 100
_MORE = {"request_id": "r-1", "service": "api"}


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {"a script": {"calls": scale.calls}}


def program(adapter: Adapter, calls: int) -> Measured:
    need_plain(adapter)
    adapter.setup(PATH, "info")
    timed = _Timed(calls)
    timed("disabled", lambda: adapter.debug, records=False)
    timed("enabled", lambda: adapter.info)
    timed("bound", lambda: adapter.bound(**_MORE))
    timed("context", lambda: adapter.info, lambda: adapter.context(**_MORE))
    adapter.close()
    return Measured(timed.values, path=PATH, counts=[timed.seq])


class _Timed:
    """Times kinds of calls; leaves out what the library has no such thing for."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.seq = 0
        self.values: dict[str, float] = {}

    def __call__(
        self,
        kind: str,
        made: Callable[[], Callable[..., Any]],
        entered: Callable[[], Any] = nullcontext,
        *,
        records: bool = True,
    ) -> None:
        best = float("inf")
        first = self.seq
        try:
            call, context = made(), entered()
        except Unsupported:
            return
        with context:
            for _ in range(self.calls // _BATCH):
                seq = self.seq
                began = time.perf_counter_ns()
                for _ in range(_BATCH):
                    call(MESSAGE, seq=seq, **FIELDS)
                    seq += 1
                best = min(best, time.perf_counter_ns() - began)
                self.seq = seq
                # A pause, so that a queue is not full and its writer not in the way.
                time.sleep(0.002)
        if not records:
            self.seq = first
        self.values[kind] = best / _BATCH / 1e3
