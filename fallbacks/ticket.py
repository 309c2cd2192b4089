"""
The drain ticket: the right to write to one destination.

Rule 1: whoever holds the ticket may touch the destination's plan, tiers and
account; nobody else may.
Rule 2: the holder announces every call that may block as a *section*. Inside a
section, and only there, the ticket can be stolen: by a watchdog whose deadline
has passed, or by the thread that drains at interpreter exit.
Rule 3: a holder that comes out of a section and finds the ticket gone stops at
once. It touches nothing; its answer is handed to the new holder as a late one.

Every operation below is one C call deep, so a signal handler that runs in the
middle of any of them finds the ticket in one of its two states.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable


class Section:
    """
    One blocking call of a ticket holder.

    Args:
        deadline: Monotonic seconds after which a watchdog may steal the ticket.
    """

    __slots__ = ("_token", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._token = [True]

    def claim(self) -> bool:
        """Return True for exactly one caller: the holder that leaves, or a thief."""
        try:
            return self._token.pop()
        except IndexError:
            return False


class Ticket:
    """A lock that can change hands in the middle of a blocking call."""

    __slots__ = ("_lock", "section", "stolen")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self.section: Section | None = None
        self.stolen = 0
        """How often the ticket was stolen so far."""

    @property
    def held(self) -> bool:
        """Whether somebody holds the ticket."""
        return self._lock.locked()

    def acquire(self, seconds: float = -1) -> bool:
        """Wait up to *seconds* (-1: without bound, 0: not at all) for the ticket."""
        blocking, timeout = (False, -1.0) if seconds == 0 else (True, seconds)
        # A loop over a C function: no signal comes between getting the lock and
        # the end of this call, so the caller knows whether to give it back.
        for got in map(self._lock.acquire, (blocking,), (timeout,)):  # pragma: no branch
            return got
        raise AssertionError  # pragma: no cover

    def release(self) -> None:
        """Give the ticket back. Only the holder may call this, outside of a section."""
        self._lock.release()

    @property
    def giving_back(self) -> Callable[[], None]:
        """`release` as a function in C: once called, no signal comes before it is done."""
        return self._lock.release

    def enter(self, deadline: float) -> Section:
        """Announce a call that may block until *deadline*, in monotonic seconds."""
        section = Section(deadline)
        self.section = section
        return section

    def leave(self, section: Section) -> bool:
        """Return whether the ticket is still the caller's after its *section*."""
        if not section.claim():
            return False
        self.section = None
        return True

    def steal(self) -> bool:
        """Take the ticket from a holder that is inside a section; return whether it worked."""
        section = self.section
        if section is None or not section.claim():
            return False
        self.section = None
        self.stolen += 1
        return True
