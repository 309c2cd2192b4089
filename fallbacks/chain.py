"""
A chain: tiers, the plan that orders them, and the driver for a thread.

Rule 1: only the holder of `ticket` calls anything here, except `expire`, which
takes the ticket first.
Rule 2: whatever a tier raises is contained at the call, as an outcome.
Rule 3: the driver for an event loop (`fallbacks.aio`) works on the same object,
so a destination can move between a thread and a loop with its plan intact.
"""

from __future__ import annotations

import math
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Sequence

from .batch import Batch
from .clock import SYSTEM_CLOCK, Clock
from .meter import Meter
from .outcomes import (
    Delivered,
    Outcome,
    Partial,
    Unknown,
    outcome_of,
    outcome_of_error,
    taken_of,
)
from .plan import Delivery, Health, Plan, Strategy, Try, Wait
from .retry import Retry
from .ticket import Ticket
from .tier import SyncTier, Tier, is_async


class Chain:
    """
    The tiers of one destination in order of preference.

    Args:
        tiers: Sync and async tiers, the preferred one first.
        seconds: How long one attempt on a tier may take.
        strategy: How the tiers are used.
        retry: Attempts and back-off.
        primaries: How many tiers at the front stand for the destination itself
            (a file tier and its twin are two); held lines are replayed to these.
        clock: Monotonic time for deadlines.

    Raises:
        ValueError: If there are no tiers, or *primaries* is not a number of them.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        *,
        seconds: float = 5.0,
        strategy: Strategy = Strategy.FAILOVER,
        retry: Retry | None = None,
        primaries: int = 1,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not tiers:
            raise ValueError("a chain needs at least one tier")
        if not 1 <= primaries <= len(tiers):
            raise ValueError(f"primaries must be 1 to {len(tiers)}, not {primaries}")
        self.tiers = tuple(tiers)
        self.primaries = tuple(range(primaries))
        self.plan = Plan([Health(tier.kind, seconds) for tier in tiers], strategy, retry or Retry())
        self.meters = [Meter() for _ in tiers]
        self.ticket = Ticket()
        self.clock = clock
        self.sync_tiers = tuple(i for i, tier in enumerate(tiers) if not is_async(tier))
        self.trying: Delivery | None = None
        self.began = 0.0
        """When the attempt that is under way began, in monotonic seconds."""
        self.on_late: Callable[[int, Batch, Outcome], object] = lambda *_: None
        """Told by `absorb` of each late answer: the tier, what it was given, what it said."""
        self._late: deque[tuple[int, Batch, Outcome]] = deque()

    def run(
        self,
        delivery: Delivery,
        batch: Batch,
        pause: Callable[[float], object],
        *,
        lent: bool = False,
    ) -> bool:
        """
        Drive *delivery* of *batch* on this thread until it is done or gives up.

        Args:
            delivery: Made by `plan.begin`, restricted to sync tiers.
            batch: The lines; *delivery* was begun with its length.
            pause: Called with seconds to wait; may return early, with True when
                somebody is waiting and the wait shall be cut short.
            lent: Whether this is a thread of the application's and the tiers are
                ones that raise nothing themselves. What they do raise then, if it
                is no Exception, came out of a signal handler and goes on: a Ctrl-C
                must not end as the outcome of a write. The answer is not fed.

        Returns:
            False when the ticket was stolen meanwhile: the caller must stop at
            once and touch nothing; the thief goes on with the same delivery.
        """
        self.trying = delivery
        while True:
            now = self.absorb()
            step = delivery.step(now)
            if isinstance(step, Try):
                tier = self.tiers[step.tier]
                self.began = now
                section = self.ticket.enter(now + step.seconds)
                given = part(batch, step)
                answer = attempt(tier, given)
                raised = _beyond_exception(answer) if lent else None
                if not self.ticket.leave(section):
                    self.late(step.tier, given, answer)
                    return False
                if raised is not None:
                    raise raised
                ended = self.clock.monotonic()
                self.measure(step.tier, answer, len(step.indices), ended - now)
                delivery.feed(answer, ended)
            elif isinstance(step, Wait):
                section = self.ticket.enter(math.inf)
                rung = pause(step.seconds)
                if not self.ticket.leave(section):
                    return False
                if rung:
                    self.hasten()
            else:
                self.trying = None
                return True

    def hasten(self) -> None:
        """Skip rests and back-offs: somebody waits for what is under way."""
        self.plan.hasten()
        if self.trying is not None:
            self.trying.hasten()

    def absorb(self) -> float:
        """Feed the answers of abandoned calls that have come in; return the time."""
        now = self.clock.monotonic()
        while self._late:
            tier, batch, outcome = self._late.popleft()
            self.plan.late(tier, outcome)
            self.on_late(tier, batch, outcome)
        return now

    def late(self, tier: int, batch: Batch, outcome: Outcome) -> None:
        """Hand in the answer of an abandoned call. Any thread may call this."""
        self._late.append((tier, batch, outcome))

    @property
    def unabsorbed(self) -> list[tuple[int, Batch, Outcome]]:
        """The late answers that no holder has taken in yet."""
        return list(self._late)

    def expire(self, error: BaseException | str) -> bool:
        """
        Steal the ticket from a holder that is blocked; return whether it worked.

        The attempt it was blocked in counts as unknown. The caller holds the
        ticket now and owes the rest of `trying`, if that is not None.
        """
        if not self.ticket.steal():
            return False
        delivery = self.trying
        if delivery is not None:
            tier = delivery.trying
            now = self.clock.monotonic()
            if tier is not None:
                self.measure(tier, Unknown(error), len(delivery.left), now - self.began)
            delivery.expire(error, now)
        return True

    def measure(self, tier: int, answer: Outcome, size: int, seconds: float) -> None:
        """Count the *answer* of *tier* to *size* lines after *seconds*."""
        meter = self.meters[tier]
        meter.record(seconds)
        taken = len(taken_of(answer, size))
        rest = answer.rest if isinstance(answer, Partial) else answer
        meter.taken += taken
        if taken < size:
            meter.fail(None if isinstance(rest, Delivered) else rest.error)

    def healthy(self) -> bool:
        """Return whether a primary may be tried now."""
        now = self.clock.monotonic()
        return any(self.plan.available(tier, now) for tier in self.primaries)


def attempt(tier: Tier, batch: Batch) -> Outcome:
    """
    Call the sync *tier* and return its answer, whatever happens in there.

    A sink is foreign code: SystemExit or MemoryError out of it must cost a
    batch an attempt, not the destination its thread.
    """
    try:
        assert isinstance(tier, SyncTier)
        return outcome_of(tier.write(batch), len(batch))
    except BaseException as error:
        return outcome_of_error(error)


def _beyond_exception(answer: Outcome) -> BaseException | None:
    error = getattr(answer, "error", None)
    return error if isinstance(error, BaseException) and not isinstance(error, Exception) else None


def part(batch: Batch, step: Try) -> Batch:
    """Return the lines of *batch* that *step* is about."""
    if len(step.indices) == len(batch) and step.duplicate == batch.duplicate:
        return batch
    return batch.select(step.indices, duplicate=step.duplicate)


def call_on_thread(tier: Tier, batch: Batch, finished: Callable[[Outcome], None]) -> None:
    """
    Call the sync *tier* on a daemon thread of its own and pass its answer to *finished*.

    Where no thread can be started the call is made here and now: late is better
    than not at all.
    """

    def work() -> None:
        finished(attempt(tier, batch))

    try:
        start_new_thread(work, ())
    except RuntimeError:
        work()
