"""
The herald: calls the application's hooks, on a thread of its own.

Rule 1: whoever notices something leaves an event and goes on. The watchdog looks at
queues and drops, the holder of a ticket at who took its lines; a caller at nothing.
Rule 2: the mailbox has one place per kind and destination, and a later event takes
the place of an earlier one, so a hook that hangs costs news and no memory.
Rule 3: the thread is started by the first event and ends when there is none left, or
before a fork. A hook that raises is counted; a hook that logs is a caller like any other.
"""

from __future__ import annotations

from _thread import get_ident
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from fallbacks.strategy import Strategy

from ..metrics import DropEvent, FailoverEvent, HookStats, PressureEvent, RecoveryEvent
from ._bell import Bell, Once
from ._jobs import JobKind

if TYPE_CHECKING:
    from fallbacks.clock import Clock

    from ..config import HookSettings
    from ._books import Books
    from ._jobs import Job

# Seconds between two calls about drops of one destination.
DROPS_EVERY: Final = 1.0
# How full, in percent, a queue is under pressure.
_HIGH: Final = 80


class Herald:
    """
    Tell the hooks of one run.

    Args:
        hooks: The functions.
        clock: Time.
        threaded: False for tests that call `deliver` themselves.
    """

    def __init__(self, hooks: HookSettings, clock: Clock, *, threaded: bool) -> None:
        self._hooks = hooks
        self._clock = clock
        self._threaded = threaded
        self._mail: dict[tuple[str, str], object] = {}
        self._coalesced = count()
        self._calls = 0
        self._failed = 0
        self._last_error: str | None = None
        self._since: float | None = None
        self._seen: dict[str, int] = {}
        self._high: set[str] = set()
        self._down: dict[str, tuple[int, float]] = {}
        self._told: dict[str, Counter[tuple[str, str]]] = {}
        self._dropped_at: dict[str, float] = {}
        self._leaving = False
        self._parked = False
        self._ident: int | None = None
        self._bell = Bell()
        self._thread = Once(self._main, more=self._more)

    # -- noticing

    def look(self, writer: Books) -> None:
        """Note what the watchdog sees of *writer*: how full its queue is, and new drops."""
        queue, name = writer.queue, writer.name
        depth, high = len(queue.entries), name in self._high
        if depth <= queue.low_water if high else depth * 100 >= queue.capacity * _HIGH:
            self._high ^= {name}
            event = PressureEvent(name, not high, depth, queue.capacity, queue.blocked_seconds)
            self._post("on_pressure", name, event)
        if self._hooks.on_drop is not None and (total := writer.drops.total) != self._seen.get(
            name, 0
        ):
            self._seen[name] = total
            self._post("on_drop", name, writer)

    def finished(self, writer: Books, job: Job) -> None:
        """Note who took the lines of *job*; called by the ticket holder, also for a replay."""
        chain, name = writer.chain, writer.name
        taken = [settled.tier for settled in job.delivery.settled]
        if not taken or chain.plan.rule.strategy is not Strategy.FAILOVER:
            return
        now, down = self._clock.monotonic(), self._down.get(name)
        own = next((tier for tier in taken if tier in chain.primaries), None)
        if own is not None:
            if down is not None:
                del self._down[name]
                held = 0 if writer.store is None else writer.store.held
                event = RecoveryEvent(name, chain.tiers[own].name, now - down[1], held)
                self._post("on_recovery", name, event)
        elif job.kind is JobKind.LIVE and (down is None or down[0] != taken[-1]):
            source = self._failing(writer) if down is None else down[0]
            self._down[name] = (taken[-1], now if down is None else down[1])
            error = chain.meters[source].last_error
            told = FailoverEvent(
                name,
                chain.tiers[source].name,
                chain.tiers[taken[-1]].name,
                f"{type(error).__name__}: {error}"
                if isinstance(error, BaseException)
                else error or "",
            )
            self._post("on_failover", name, told)

    @staticmethod
    def _failing(writer: Books) -> int:
        """Return the primary that was tried last, as far as its errors tell."""
        chain = writer.chain
        failed = [tier for tier in chain.primaries if chain.meters[tier].last_error is not None]
        return failed[-1] if failed else chain.primaries[-1]

    def _post(self, kind: str, name: str, event: object) -> None:
        if self._leaving or getattr(self._hooks, kind) is None:
            return
        # Two operations that are atomic in C: the thread may be taking it right now.
        if self._mail.pop((kind, name), None) is not None:
            next(self._coalesced)
        self._mail[kind, name] = event
        self._wake()

    def _wake(self) -> None:
        self._bell.ring()
        if self._threaded and not self._parked and not self._thread.start():
            """No thread to be had: the next event, or the close, tries again."""

    # -- telling

    def deliver(self) -> float | None:
        """Call the hooks that are due; return the seconds until another is, None: none is."""
        later: list[float] = []
        for kind, name in list(self._mail):
            now = self._clock.monotonic()
            rest = self._dropped_at.get(name, now - DROPS_EVERY) + DROPS_EVERY - now
            if kind == "on_drop" and rest > 0 and not self._leaving:
                later.append(rest)
                continue
            event = self._mail.pop((kind, name), None)
            if kind == "on_drop" and event is not None:
                self._dropped_at[name] = now
                event = self._drops_of(event)  # type: ignore[arg-type]
            if event is not None:
                self._call(kind, event)
        return min(later) if later else None

    def _drops_of(self, writer: Books) -> DropEvent | None:
        counts = Counter(writer.drops.counts())
        fresh = counts - self._told.get(writer.name, Counter())
        self._told[writer.name] = counts
        return DropEvent(writer.name, fresh.total(), dict(fresh)) if fresh else None

    def _call(self, kind: str, event: object) -> None:
        self._since = self._clock.monotonic()
        try:
            answer = getattr(self._hooks, kind)(event)
            if hasattr(answer, "__await__"):
                if hasattr(answer, "close"):
                    answer.close()
                raise TypeError(f"{kind} returned an awaitable; hooks are plain functions")
        except BaseException as error:
            # Whatever it raises, SystemExit as well: it is foreign code.
            self._failed += 1
            self._last_error = f"{kind}: {type(error).__name__}: {error}"
        finally:
            self._calls += 1
            self._since = None

    def _main(self) -> None:
        self._ident = get_ident()
        while not self._parked:
            rest = self.deliver()
            if rest is not None:
                self._bell.wait(rest)
            elif not self._mail:
                return

    def _more(self) -> bool:
        return bool(self._mail) and not self._parked

    # -- readers and the end

    @property
    def stats(self) -> HookStats:
        """A reading of what the hooks did."""
        since = self._since
        return HookStats(
            calls=self._calls,
            failed=self._failed,
            coalesced=int(repr(self._coalesced)[6:-1]),
            running=0.0 if since is None else self._clock.monotonic() - since,
            last_error=self._last_error,
        )

    def park(self) -> None:
        """Let the thread end, before a fork; what is to be told waits for `unpark`."""
        self._parked = True
        self._bell.ring()

    def unpark(self) -> None:
        """After a fork, in the parent: go on."""
        self._parked = False
        if self._mail:
            self._wake()

    def leave(self) -> None:
        """Tell what is left without waiting, then nothing more."""
        self._leaving = True
        if self._mail:
            self._wake()

    def hush(self) -> None:
        """Tell nothing more: whoever closed waits no longer, and may have gone on."""
        self._leaving = True
        self._mail.clear()

    @property
    def running(self) -> bool:
        """Whether its thread exists."""
        return self._thread.running

    def wait_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* until the hooks have been told; one that hangs is left behind."""
        return self._ident == get_ident() or self._thread.wait_ended(seconds)
