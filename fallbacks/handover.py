"""
Handing the interpreter over to a thread that has work to do.

Rule 1: the interpreter changes hands when a thread has waited for its switch interval, 5 ms.
But each time somebody lets go of it for a moment, as every turn of an event loop does, whoever
waits is woken, mostly finds it taken again, and begins to wait anew: beside a loop that turns
each millisecond, for as long as the loop is busy.
Rule 2: so a thread that has work to do says so, and whoever keeps the interpreter busy asks now
and then. If it is asked for at all, the one with the work is not the one that has it.
Rule 3: all of this is a hint; without what is compiled it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ._compiled import NATIVE

__all__ = ["claim", "hand_over", "waive", "waived"]

if NATIVE is not None:
    claim, waive, hand_over = NATIVE.claim, NATIVE.waive, NATIVE.hand_over
else:

    def claim(seconds: float, /) -> None:
        """Note that in *seconds* some thread will have work to do that needs the interpreter."""

    def waive() -> bool:
        """Note that none has; return whether one had."""
        return False

    def hand_over() -> None:
        """
        Let a thread that has claimed the interpreter have it; at once where none has.

        It waits for 0.1 ms, and fifty times for one claim: a sink that hangs must not cost more.
        """


@contextmanager
def waived() -> Iterator[None]:
    """Waive a claim meanwhile: what is called may wait for something else, and for long."""
    claimed = waive()
    try:
        yield
    finally:
        if claimed:
            claim(0)
