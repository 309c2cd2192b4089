from __future__ import annotations

import importlib
import os
import tracemalloc
from math import inf
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE, Unsupported
from ..producing import PATH, Stuck, need_plain, produce
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Memory"
NOTE: Final = (
    "By how much the resident memory of a process has grown after the import, after the first "
    "record, and after many; 10 million of them with `--long`. `queued` is what one record takes "
    "that waits in a queue while the sink hangs, as Python's allocator sees it."
)
METRICS: Final = {
    "import": Metric("after import", "MiB"),
    "first": Metric("after the first record", "MiB"),
    "many": Metric("after many", "MiB"),
    "queued": Metric("a queued record", "B"),
}
_QUEUED = 1_500
"""Fewer than the smallest queue of a peer takes."""
_PIPE = 64 * 1024
_PATIENCE = 3.0
"""Seconds that logging them may take before a call is taken to be waiting for room."""


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {"a process": {"records": scale.records}, "a queue": {"records": 0}}


def program(adapter: Adapter, records: int) -> Measured:
    need_plain(adapter)
    return _process(adapter, records) if records else _queue(adapter)


def _process(adapter: Adapter, records: int) -> Measured:
    began = _resident()
    values = {}
    for module in adapter.modules:
        importlib.import_module(module)
    values["import"] = _resident() - began
    adapter.setup(PATH, "info")
    adapter.info(MESSAGE, seq=0, **FIELDS)
    values["first"] = _resident() - began
    count = produce(adapter.info, inf, made=1, most=records)
    adapter.close()
    values["many"] = _resident() - began
    return Measured(values, path=PATH, counts=[count])


def _queue(adapter: Adapter) -> Measured:
    if not adapter.promises.queued:
        raise Unsupported("has no queue")
    with Stuck("pipe.jsonl") as stuck:
        adapter.setup_stream(stuck.stream, "info")
        stuck.hang(_PATIENCE)
        # The pipe takes some before it is full; these are in nobody's memory.
        filling = _PIPE // 100
        for seq in range(filling):
            adapter.info(MESSAGE, seq=seq, **FIELDS)
        tracemalloc.start()
        for seq in range(filling, filling + _QUEUED):
            adapter.info(MESSAGE, seq=seq, **FIELDS)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        fits = stuck.hanging
        stuck.hang(0.0)
        adapter.close()
    if not fits:
        raise Unsupported(f"its queue takes fewer than {_QUEUED:,} records")
    return Measured(
        {"queued": grown / _QUEUED},
        files=[stuck.path],
        path=PATH,
        counts=[filling + _QUEUED],
        may_drop=True,
    )


def _resident() -> float:
    """Return the resident memory of this process, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
