from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from math import inf
from typing import Any, Final

from ..peers.adapter import FIELDS, MESSAGE
from ..producing import PATH, SETTLE, Stuck, produce_on_loop, run
from ..stats import PERCENTILES, percentiles
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Latency of a call on an event loop"
NOTE: Final = (
    "How long an INFO call takes in a coroutine under uvloop, awaited where the library lets it "
    "be, once the library has logged a hundred records and had a moment to settle. `stall` is by "
    "how much logging makes the loop's longest stall longer than the same program has with "
    "logging left out, in the same process. `missing` counts records that are not in the file or "
    "pipe after `close`. A sink that hangs is a pipe that nobody reads for a while: one that the "
    "library writes to, and then its standard output."
)
METRICS: Final = {
    **{name: Metric(name, "us") for name in PERCENTILES},
    "stall": Metric("stall", "ms"),
    "missing": Metric("missing", ""),
}

_WARM: Final = 100
"""Records before the clock starts; a pipe that nobody reads takes more."""
QUIET: Final = 200
BUSY: Final = 20_000


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {
        "quiet": {"seconds": scale.seconds * 2, "rate": QUIET},
        "20,000 a second": {"seconds": scale.seconds, "rate": BUSY},
        "flooded": {"seconds": scale.seconds, "rate": 0},
        "sink hung": {"seconds": scale.hang, "rate": BUSY, "hang": "sink"},
        "stdout wedged": {"seconds": scale.hang, "rate": BUSY, "hang": "stdout"},
    }


def program(adapter: Adapter, seconds: float, rate: int, hang: str = "") -> Measured:
    stuck = Stuck("pipe.jsonl", stdout=hang == "stdout") if hang else None
    with stuck or nullcontext():
        took, values = run(_measure(adapter, seconds, rate, stuck))
    return Measured(
        {**{name: ns / 1e3 for name, ns in percentiles(took).items()}, **values},
        path=PATH,
        files=[stuck.path] if stuck else [],
        counts=[len(took) + _WARM],
        may_drop=True,
    )


async def _measure(
    adapter: Adapter, seconds: float, rate: int, stuck: Stuck | None
) -> tuple[list[int], dict[str, float]]:
    _, without = await _beside_heartbeat(_nothing, False, seconds, rate)
    if stuck is None:
        await adapter.asetup(PATH, "info")
    else:
        await adapter.asetup_stream(stuck.stream, "info")
    info, awaited = adapter.info, adapter.promises.awaited
    warm = await produce_on_loop(info, awaited, inf, most=_WARM)
    await asyncio.sleep(SETTLE)
    if stuck is not None:
        stuck.hang(seconds)
    took, stall = await _beside_heartbeat(info, awaited, seconds, rate, warm)
    await adapter.aclose()
    return took, {"stall": max(0.0, stall - without) * 1e3}


def _nothing(message: str, **fields: object) -> None:
    """Stand in for a call of a logger."""


async def _beside_heartbeat(
    info: Callable[..., Any], awaited: bool, seconds: float, rate: int, made: int = 0
) -> tuple[list[int], float]:
    """Return what each call took, in ns, and the longest stall of the loop, in seconds."""
    stop = asyncio.Event()
    heart = asyncio.create_task(_heartbeat(stop))
    # Its first beat, so that a program that never yields is seen as one long stall.
    await asyncio.sleep(0.002)
    took = await _call(info, awaited, seconds, rate, made)
    await asyncio.sleep(0)
    stop.set()
    return took, await heart


async def _heartbeat(stop: asyncio.Event) -> float:
    longest, interval = 0.0, 0.001
    while not stop.is_set():
        began = time.perf_counter()
        await asyncio.sleep(interval)
        longest = max(longest, time.perf_counter() - began - interval)
    return longest


async def _call(
    info: Callable[..., Any], awaited: bool, seconds: float, rate: int, made: int
) -> list[int]:
    """Call *rate* times a second, or as often as can be when it is 0; return the ns of each."""
    took: list[int] = []
    clock = time.perf_counter_ns
    begin = time.perf_counter()
    end = begin + seconds
    seq = made
    while (now := time.perf_counter()) < end:
        # What is due; after a stall not all at once, which would be another program.
        due = min(int((now - begin) * rate) + made - seq, 200) if rate else 50
        for _ in range(max(due, 0)):
            began = clock()
            said = info(MESSAGE, seq=seq, **FIELDS)
            if awaited and said is not None:
                await said
            took.append(clock() - began)
            seq += 1
        await asyncio.sleep(0.001 if rate else 0)
    return took
