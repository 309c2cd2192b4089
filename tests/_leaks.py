"""
What a test must not leave behind, and what libraries may.
"""

from __future__ import annotations

import asyncio

from fallbacks.testing._leaks import GRACE, Snapshot, leaks_since, snapshot

__all__ = ["GRACE", "Snapshot", "leaks_since", "settle", "snapshot"]


def settle() -> None:
    """
    Let libuv make what it keeps until the process ends, so that no test is blamed for it.

    The first loop of uvloop makes a pipe for signals, the first look-up of a
    name four threads that Python does not know.
    """
    try:
        import uvloop
    except ImportError:
        return

    async def look_up() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(loop.getaddrinfo("localhost", None), return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(look_up())
