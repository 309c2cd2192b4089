from __future__ import annotations

import time
from typing import Any, Final

from ..peers.adapter import FIELDS
from ..producing import PATH, need_plain
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Size of a record"
NOTE: Final = (
    "Megabytes of message in the file for each second until `close` has returned, by the size "
    "of the message. A file that has less in it than was logged is refused: hydra cuts a record "
    "at 64 KiB, and marks it."
)
METRICS: Final = {"rate": Metric("MB a second", "MB/s", more=True)}
SIZES: Final = {"100 B": 100, "1 kB": 1_000, "60 kB": 60_000, "100 kB": 100_000}
_MOST = 40_000_000
"""Bytes of one program: a library with no bound on its queue has them all in memory."""


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {name: {"seconds": scale.seconds, "size": size} for name, size in SIZES.items()}


def program(adapter: Adapter, seconds: float, size: int) -> Measured:
    need_plain(adapter)
    adapter.setup(PATH, "info")
    message = "x" * size
    info = adapter.info
    count, most = 0, _MOST // size
    began = time.perf_counter()
    while time.perf_counter() - began < seconds and count < most:
        info(message, seq=count, **FIELDS)
        count += 1
    adapter.close()
    took = time.perf_counter() - began
    return Measured(
        {"rate": count * size / took / 1e6}, path=PATH, counts=[count], least=count * size
    )
