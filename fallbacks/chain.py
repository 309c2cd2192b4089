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
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .batch import Batch
from .clock import SYSTEM_CLOCK, Clock
from .delivery import Delivery
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
from .plan import Health, Plan
from .retry import Retry
from .steps import Try, Wait
from .strategy import Strategy, rule_of
from .ticket import Ticket
from .tier import Kind, RenderError, SyncTier, Tier, is_async

# What a tier of the kinds in the box may raise without a system call that failed.
_OWN: Final = (RenderError, MemoryError, RecursionError)


class Chain:
    """
    The tiers of one destination in order of preference.

    Args:
        tiers: Sync and async tiers, the preferred one first.
        seconds: How long one attempt on a tier may take.
        strategy: How the tiers are used; `switch` changes it.
        quorum: For `Strategy.QUORUM`, how many copies make a line safe; None: more
            than half of them.
        retry: Attempts and back-off.
        primaries: How many tiers at the front stand for the destination itself
            (a file tier and its twin are two); held lines are replayed to these,
            and a line that one of them refuses for good is tried nowhere else.
        copies: Indices of the tiers of each copy, those of the destination itself
            first. None: the primaries, then each other final tier by itself.
        repairs: By number of a copy, the index of the holding tier that keeps what
            this copy missed while others took it. It serves for nothing else.
        clock: Monotonic time for deadlines.

    Raises:
        ValueError: If there are no tiers, *primaries* is not a number of them, or
            the strategy does not fit the tiers.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        *,
        seconds: float = 5.0,
        strategy: Strategy = Strategy.FAILOVER,
        quorum: int | None = None,
        retry: Retry | None = None,
        primaries: int = 1,
        copies: Sequence[Sequence[int]] | None = None,
        repairs: Mapping[int, int] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not tiers:
            raise ValueError("a chain needs at least one tier")
        if not 1 <= primaries <= len(tiers):
            raise ValueError(f"primaries must be 1 to {len(tiers)}, not {primaries}")
        self.tiers = tuple(tiers)
        self.primaries = tuple(range(primaries))
        self.repairs = dict(repairs or {})
        """By number of a copy, the index of the tier that keeps what the copy missed."""
        self.copies = tuple(map(tuple, copies)) if copies is not None else self._copies()
        """The indices of the tiers of each copy."""
        self.plan = Plan(self._healths(seconds), retry=retry or Retry())
        self.switch(strategy, quorum)
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

    def _copies(self) -> tuple[tuple[int, ...], ...]:
        kept = {*self.primaries, *self.repairs.values()}
        others = [
            (index,)
            for index, tier in enumerate(self.tiers)
            if index not in kept and tier.kind is Kind.FINAL
        ]
        return (self.primaries, *others)

    def _healths(self, seconds: float) -> list[Health]:
        healths = [Health(tier.kind, seconds) for tier in self.tiers]
        for copy, tiers in enumerate(self.copies):
            for index in tiers:
                healths[index].copy = copy
        for copy, index in self.repairs.items():
            healths[index].copy, healths[index].kind = copy, Kind.REPAIR
        return healths

    def switch(self, strategy: Strategy, quorum: int | None = None) -> None:
        """
        Use the tiers by another strategy, from the next batch on.

        Any thread may call this at any time. A batch that is under way ends as it
        began, unless no tier makes it safe: then it goes on by the new strategy.
        What is held or kept for a copy stays, and finds its way as before.

        Args:
            strategy: The strategy.
            quorum: See the class.

        Raises:
            ValueError: If the strategy does not fit the tiers; nothing changes then.
        """
        holding = any(health.kind is Kind.HOLDING for health in self.plan.tiers)
        rule = rule_of(strategy, quorum, copies=len(self.copies), holding=holding)
        # One assignment, of an object that never changes: nobody sees half of it.
        self.plan.rule = rule

    @property
    def homes(self) -> tuple[int, ...]:
        """Indices of the tiers that held lines go back to."""
        if not self.plan.rule.shares:
            return self.primaries
        return tuple(index for copy in self.copies for index in copy)

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
                ones whose own errors are known, see `_out_of_a_handler`. Any other came out
                of a signal handler and goes on: neither a Ctrl-C nor the handler's
                TimeoutError must end as the outcome of a write. What the tier says
                to have taken is fed, its failure is not.

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
                raised = _out_of_a_handler(answer) if lent else None
                if not self.ticket.leave(section):
                    self.late(step.tier, given, answer)
                    return False
                if raised is not None:
                    if isinstance(answer, Partial):
                        self.answered(delivery, answer)
                    raise raised
                self.answered(delivery, answer)
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
            self._note_state(tier)
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
            self.overdue(delivery, error)
        return True

    def answered(self, delivery: Delivery, answer: Outcome) -> None:
        """Measure and feed the *answer* to the attempt that is under way."""
        tier, now = delivery.trying, self.clock.monotonic()
        assert tier is not None
        self._measure(tier, answer, delivery.size, now - self.began)
        delivery.feed(answer, now)
        self._note_state(tier)

    def overdue(self, delivery: Delivery, error: BaseException | str) -> None:
        """Give up the attempt that is under way, if there is one: its answer is unknown."""
        tier, now = delivery.trying, self.clock.monotonic()
        if tier is not None:
            self._measure(tier, Unknown(error), delivery.size, now - self.began)
            delivery.expire(error, now)
            self._note_state(tier)

    def _note_state(self, tier: int) -> None:
        self.meters[tier].note_state(self.plan.tiers[tier].breaker.state.value, self.clock.time_ns)

    def _measure(self, tier: int, answer: Outcome, size: int, seconds: float) -> None:
        """Count the *answer* of *tier* to *size* lines after *seconds*."""
        # As it was while the attempt was out: a probe shows only here.
        self._note_state(tier)
        meter = self.meters[tier]
        meter.record(seconds)
        taken = len(taken_of(answer, size))
        rest = answer.rest if isinstance(answer, Partial) else answer
        meter.taken += taken
        if taken < size:
            meter.fail(None if isinstance(rest, Delivered) else rest.error)

    def healthy(self) -> bool:
        """Return whether a tier that held lines go back to may be tried now."""
        now = self.clock.monotonic()
        return any(self.plan.available(tier, now) for tier in self.homes)


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


def _out_of_a_handler(answer: Outcome) -> BaseException | None:
    """Return the error of a tier's *answer*, unless it is one of the tier's own."""
    rest = answer.rest if isinstance(answer, Partial) else answer
    error = None if isinstance(rest, Delivered) else rest.error
    if not isinstance(error, BaseException) or isinstance(error, _OWN):
        return None
    # What the system reports has a number. A handler's TimeoutError, which the tier may
    # have caught in the belief that it was such a report, has none.
    return None if isinstance(error, OSError) and error.errno is not None else error


def part(batch: Batch, step: Try) -> Batch:
    """Return the lines of *batch* that *step* is about."""
    # What is replayed was doubtful before this delivery began, and stays so.
    duplicate = batch.duplicate or step.duplicate
    if len(step.indices) == len(batch) and duplicate == batch.duplicate:
        return batch
    return batch.select(step.indices, duplicate=duplicate)


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
