from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks import Batch, Chain, Delivered, Kind, Partial, Permanent, Retry, Retryable, Unknown
from fallbacks import chain as chains
from fallbacks.breaker import State
from fallbacks.chain import attempt, call_on_thread, part
from fallbacks.outcomes import DELIVERED, Outcome
from fallbacks.steps import Settled, Try
from fallbacks.testing import FakeClock, FaultyAsyncTier, FaultyTier
from fallbacks.tier import RenderError

pytestmark = pytest.mark.unit

LINES = [b"a\n", b"b\n", b"c\n"]
FIXED = Retry(attempts=2, base=1.0, jitter=lambda: 0.5)


class Meddling(FaultyTier):
    """A tier in the middle of whose next call something else happens."""

    meddle: Callable[[], object] | None = None

    def write(self, batch: Batch) -> Outcome:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return super().write(batch)


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


def drive(chain: Chain, delivery: object = None, *, patient: bool = True) -> tuple[bool, object]:
    """Run a delivery of LINES with the ticket in hand and the fake clock moved by each pause."""
    chain.ticket.acquire()
    if delivery is None:
        delivery = chain.plan.begin(len(LINES), patient=patient)
    clock = chain.clock
    assert isinstance(clock, FakeClock)
    kept = chain.run(delivery, Batch(LINES), clock.advance)  # type: ignore[arg-type]
    return kept, delivery


def test_batch_goes_to_the_first_tier(clock: FakeClock) -> None:
    """
    A healthy chain makes one call and passes the batch itself on.
    """
    first, second = FaultyTier(name="first"), FaultyTier(name="second")
    chain = Chain([first, second], clock=clock)
    batch = Batch(LINES)
    chain.ticket.acquire()

    assert chain.run(chain.plan.begin(3), batch, clock.advance)
    assert ([batch], [], None) == (first.batches, second.batches, chain.trying)
    assert batch is first.batches[0]
    assert None is chain.ticket.section


@pytest.mark.parametrize(
    "error",
    [OSError("x"), SystemExit(1), KeyboardInterrupt, GeneratorExit, MemoryError, StopIteration],
)
def test_whatever_a_tier_raises_is_contained(
    error: BaseException | type[BaseException], clock: FakeClock
) -> None:
    """
    Foreign code costs a batch an attempt, not the destination its thread.
    """
    bad, good = FaultyTier(name="bad"), FaultyTier(name="good")
    bad.fail_with(error)
    chain = Chain([bad, good], clock=clock)

    assert drive(chain)[0]
    assert LINES == good.taken
    assert isinstance(chain.meters[0].last_error, BaseException)


@pytest.mark.parametrize("answer", [None, 7, Delivered(4), Partial([9]), Partial(None)])  # type: ignore[arg-type]
def test_lying_tier_costs_an_attempt(answer: object, clock: FakeClock) -> None:
    """
    An answer that cannot be true leaves the lines to the next tier.
    """
    bad, good = FaultyTier([answer, answer]), FaultyTier()
    if isinstance(answer, Delivered | Partial):
        bad._answer = lambda step, batch: step  # type: ignore[assignment, method-assign, return-value]
    chain = Chain([bad, good], clock=clock, retry=FIXED)

    assert drive(chain)[0]
    assert LINES == good.taken


def test_tier_whose_attributes_raise_is_contained() -> None:
    """
    Even looking at a foreign object may run its code.
    """

    class Hostile(FaultyTier):
        def __getattribute__(self, name: str) -> object:
            raise SystemExit(name)

    assert isinstance(attempt(Hostile(), Batch(LINES)), Retryable)


def test_async_tier_is_no_tier_for_a_thread() -> None:
    """
    A driver that forgot to leave async tiers out loses an attempt, not the lines.
    """
    assert isinstance(attempt(FaultyAsyncTier(), Batch(LINES)), Retryable)


def test_pause_lets_the_delivery_go_on(clock: FakeClock) -> None:
    """
    A back-off is waited for inside a section without deadline.
    """
    tier = FaultyTier([Retryable()])
    chain = Chain([tier], clock=clock, retry=FIXED)
    chain.ticket.acquire()
    deadlines = []

    def pause(seconds: float) -> None:
        section = chain.ticket.section
        assert section is not None
        deadlines.append(section.deadline)
        clock.advance(seconds)

    assert chain.run(chain.plan.begin(3), Batch(LINES), pause)
    assert [math.inf] == deadlines
    assert 2 == chain.meters[0].attempts


def test_rung_pause_hastens(clock: FakeClock) -> None:
    """
    Somebody who rings ends rest and back-off, without time passing.
    """
    tier = FaultyTier([Retryable(), Retryable(), Retryable()])
    chain = Chain([tier], clock=clock, retry=FIXED)
    chain.ticket.acquire()
    before = clock.monotonic()

    assert chain.run(chain.plan.begin(3), Batch(LINES), lambda _: True)
    assert (before, LINES) == (clock.monotonic(), tier.taken)


def test_hastening_an_idle_chain_ends_its_rests(clock: FakeClock) -> None:
    """
    There may be no delivery under way when somebody waits.
    """
    chain = Chain([FaultyTier()], clock=clock)
    chain.plan.tiers[0].breaker.failed(clock.monotonic())
    chain.plan.tiers[0].breaker.failed(clock.monotonic())

    assert not chain.healthy()

    chain.hasten()

    assert chain.healthy()


def test_health_is_that_of_the_primaries(clock: FakeClock) -> None:
    """
    One usable primary is enough; a fallback does not count.
    """
    chain = Chain([FaultyTier(), FaultyTier(), FaultyTier()], primaries=2, clock=clock)
    chain.plan.abandoned(0)

    assert ((0, 1), True) == (chain.primaries, chain.healthy())

    chain.plan.abandoned(1)

    assert not chain.healthy()


@pytest.mark.parametrize(("tiers", "primaries"), [(0, 1), (1, 0), (1, 2)])
def test_senseless_chain_is_refused(tiers: int, primaries: int) -> None:
    """
    A chain has a tier, and its primaries are among them.
    """
    with pytest.raises(ValueError, match=r"tier|primaries"):
        Chain([FaultyTier() for _ in range(tiers)], primaries=primaries)


def test_sync_tiers_are_known() -> None:
    """
    A thread must know which tiers it may run.
    """
    assert (0, 2) == Chain([FaultyTier(), FaultyAsyncTier(), FaultyTier()]).sync_tiers


def test_abandoned_call_goes_on_elsewhere(clock: FakeClock) -> None:
    """
    After a theft the thief finishes the delivery, and the robbed holder touches nothing.
    """
    hung, spare = Meddling(name="hung"), FaultyTier(name="spare")
    chain = Chain([hung, spare], clock=clock, seconds=3.0)

    def rob() -> None:
        section = chain.ticket.section
        assert section is not None
        assert clock.monotonic() + 3.0 == section.deadline
        clock.advance(4.0)
        assert chain.expire("too late")
        assert chain.trying is not None
        assert chain.run(chain.trying, Batch(LINES), clock.advance)
        chain.ticket.release()

    hung.meddle = rob
    kept, delivery = drive(chain)

    assert not kept
    assert [Settled(1, range(3), suspect=True)] == delivery.settled  # type: ignore[attr-defined]
    assert spare.batches[0].duplicate
    assert chain.plan.tiers[0].busy
    assert (1, 1, 0, 4.0) == (
        chain.meters[0].attempts,
        chain.meters[0].failed,
        chain.meters[0].taken,
        chain.meters[0].seconds,
    )

    chain.absorb()

    assert (False, State.CLOSED) == (
        chain.plan.tiers[0].busy,
        chain.plan.tiers[0].breaker.state,
    )


def test_ticket_stolen_in_a_pause(clock: FakeClock) -> None:
    """
    A holder that is robbed while it waits for a back-off stops; no tier becomes busy.
    """
    tier = FaultyTier([Retryable()])
    chain = Chain([tier], clock=clock, retry=FIXED)
    chain.ticket.acquire()
    delivery = chain.plan.begin(3)

    def pause(seconds: float) -> bool:
        assert chain.expire("exit")
        return True

    assert not chain.run(delivery, Batch(LINES), pause)
    assert (1, False, False) == (
        chain.meters[0].attempts,
        chain.plan.tiers[0].busy,
        delivery.suspect,
    )


def test_expiry_needs_a_section(clock: FakeClock) -> None:
    """
    A holder that is not blocked is not robbed.
    """
    chain = Chain([FaultyTier()], clock=clock)
    chain.ticket.acquire()

    assert not chain.expire("why")


def test_expiry_without_a_delivery(clock: FakeClock) -> None:
    """
    A holder may block in something else than a delivery, such as closing a tier.
    """
    chain = Chain([FaultyTier()], clock=clock)
    chain.ticket.acquire()
    chain.ticket.enter(1.0)

    assert (True, 0) == (chain.expire("why"), chain.meters[0].attempts)


def test_theft_and_return_race() -> None:
    """
    When the watchdog steals at the very moment the call returns, exactly one side goes on.
    """
    rounds = 200
    barrier = threading.Barrier(2, timeout=20)
    kept: list[bool] = []
    stolen: list[bool] = []

    class Racing(FaultyTier):
        def write(self, batch: Batch) -> Outcome:
            barrier.wait()
            return DELIVERED

    chain = Chain([Racing(), FaultyTier()], clock=FakeClock())

    def hold() -> None:
        for _ in range(rounds):
            chain.ticket.acquire()
            chain.absorb()
            delivery = chain.plan.begin(3)
            kept.append(chain.run(delivery, Batch(LINES), lambda _: None))
            if kept[-1]:
                chain.ticket.release()
            barrier.wait()
            barrier.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    for _ in range(rounds):
        barrier.wait()
        stolen.append(chain.expire("race"))
        barrier.wait()
        if stolen[-1]:
            assert chain.trying is not None
            assert chain.run(chain.trying, Batch(LINES), lambda _: None)
            chain.ticket.release()
        chain.ticket.acquire()
        chain.absorb()
        chain.ticket.release()
        assert not chain.plan.tiers[0].busy
        barrier.wait()
    holder.join()

    assert [True] * rounds == [a is not b for a, b in zip(kept, stolen, strict=True)]


@pytest.mark.parametrize(
    ("answer", "taken", "failed", "error"),
    [
        (Delivered(), 3, 0, None),
        (Delivered(3), 3, 0, None),
        (Delivered(1), 1, 1, None),
        (Partial([0, 1, 2]), 3, 0, None),
        (Partial([1], Permanent("bad")), 1, 1, "bad"),
        (Retryable("r"), 0, 1, "r"),
        (Unknown("u"), 0, 1, "u"),
    ],
)
def test_every_answer_is_measured(
    answer: Outcome, taken: int, failed: int, error: str | None
) -> None:
    """
    An attempt that did not take everything failed, and says why where it can.
    """
    chain = Chain([FaultyTier()])
    chain._measure(0, answer, 3, 0.5)
    meter = chain.meters[0]

    assert (1, taken, failed, error, 0.5) == (
        meter.attempts,
        meter.taken,
        meter.failed,
        meter.last_error,
        meter.seconds,
    )


def test_tier_gets_what_is_left_and_its_mark() -> None:
    """
    The batch itself is passed on only when all of it is meant, marked as it is.
    """
    batch = Batch(LINES)
    smaller = part(batch, Try(0, [0, 2], 1.0, duplicate=False))
    marked = part(batch, Try(0, range(3), 1.0, duplicate=True))

    assert batch is part(batch, Try(0, range(3), 1.0, duplicate=False))
    assert ([b"a\n", b"c\n"], False) == (list(smaller), smaller.duplicate)
    assert (LINES, True) == (list(marked), marked.duplicate)
    assert marked is part(marked, Try(0, range(3), 1.0, duplicate=False))
    assert part(marked, Try(0, [0], 1.0, duplicate=False)).duplicate


def test_call_on_a_thread_of_its_own() -> None:
    """
    The answer is handed in by another thread.
    """
    told = threading.Event()
    found: list[tuple[Outcome, int]] = []

    def finished(answer: Outcome) -> None:
        found.append((answer, threading.get_ident()))
        told.set()

    call_on_thread(FaultyTier(), Batch(LINES), finished)

    assert told.wait(10)
    assert DELIVERED == found[0][0]
    assert threading.get_ident() != found[0][1]


def test_call_without_a_thread_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no thread can be started, late is better than not at all.
    """

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(chains, "start_new_thread", refuse)
    found: list[Outcome] = []
    call_on_thread(FaultyTier([SystemExit(3)]), Batch(LINES), found.append)

    assert isinstance(found[0], Retryable)


STEPS = st.sampled_from(
    [
        DELIVERED,
        Delivered(1),
        Delivered(0),
        Partial([0]),
        Partial([], Permanent()),
        Retryable(),
        Retryable(after=0.3),
        Permanent(),
        Unknown(),
        OSError,
        SystemExit,
        None,
    ]
)


@given(
    scripts=st.lists(st.lists(STEPS, max_size=6), min_size=1, max_size=3),
    patient=st.booleans(),
    rob_at=st.integers(0, 8),
)
def test_claimed_lines_are_the_settled_ones(
    scripts: list[list[object]], patient: bool, rob_at: int
) -> None:
    """
    Each line is settled once, by a tier that has said so; only a robbed tier may have more.
    """
    clock = FakeClock()
    calls = 0

    class Counted(Meddling):
        def write(self, batch: Batch) -> Outcome:
            nonlocal calls
            calls += 1
            if calls == rob_at:
                self.meddle = rob
            return super().write(batch)

    def rob() -> None:
        assert chain.expire("robbed")
        # The robbed tier comes back only behind this call, so it is not waited for.
        delivery.restrict(range(len(tiers)), patient=False)
        chain.run(delivery, Batch(LINES), clock.advance)

    tiers = [Counted(script, kind=Kind.FINAL) for script in scripts]
    chain = Chain(tiers, clock=clock, retry=FIXED)
    chain.ticket.acquire()
    delivery = chain.plan.begin(len(LINES), patient=patient)
    robbed = not chain.run(delivery, Batch(LINES), clock.advance)
    settled = [(each.tier, LINES[i]) for each in delivery.settled for i in each.indices]
    claimed = [(number, line) for number, tier in enumerate(tiers) for line in tier.taken]

    assert len({line for _, line in settled}) == len(settled)
    assert sorted(LINES) == sorted(
        [
            *(line for _, line in settled),
            *(LINES[i] for i in delivery.left),
            *(LINES[each.index] for each in delivery.rejected),
        ]
    )
    assert set(settled) <= set(claimed)
    assert robbed or sorted(settled) == sorted(claimed)
    assert sum(meter.taken for meter in chain.meters) == len(settled)

    chain.absorb()

    assert not any(health.busy for health in chain.plan.tiers)


def test_late_answer_is_told_with_what_was_given(clock: FakeClock) -> None:
    """
    A robbed tier may have taken lines: who keeps the books learns which, once.
    """
    hung = Meddling([Delivered(2)], name="hung")
    chain = Chain([hung, FaultyTier()], clock=clock)
    told: list[object] = []
    chain.on_late = lambda *late: told.append(late)

    def rob() -> None:
        assert chain.expire("too late")
        assert chain.trying is not None
        assert chain.run(chain.trying, Batch(LINES), clock.advance)

    hung.meddle = rob
    drive(chain)

    assert [(0, hung.batches[0], Delivered(2))] == chain.unabsorbed
    assert [] == told

    chain.absorb()
    chain.absorb()

    assert [(0, hung.batches[0], Delivered(2))] == told
    assert [] == chain.unabsorbed


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(2), ValueError("late"), TimeoutError(), OSError("made up")],
)
@pytest.mark.parametrize("caught", [False, True])
def test_exception_of_a_handler_leaves_a_lent_thread(
    error: BaseException, caught: bool, clock: FakeClock
) -> None:
    """
    On a thread of the application's, what a handler raises in a write of ours goes on.
    """
    chain = Chain([FaultyTier([Retryable(error) if caught else error]), FaultyTier()], clock=clock)
    chain.ticket.acquire()
    delivery = chain.plan.begin(3)
    with pytest.raises(type(error)) as raised:
        chain.run(delivery, Batch(LINES), clock.advance, lent=True)

    assert error is raised.value
    assert (0, []) == (delivery.trying, delivery.settled)


def test_lines_written_before_the_exception_of_a_handler_are_settled(clock: FakeClock) -> None:
    """
    What a tier took before a handler raised in the middle of its write is not sent again.
    """
    chain = Chain([FaultyTier([Partial([0], Retryable(TimeoutError()))])], clock=clock)
    chain.ticket.acquire()
    delivery = chain.plan.begin(3)
    with pytest.raises(TimeoutError):
        chain.run(delivery, Batch(LINES), clock.advance, lent=True)

    assert [Settled(0, [0], suspect=False)] == delivery.settled
    assert [1, 2] == list(delivery.left)


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), TimeoutError(110, "timed out"), MemoryError(), RenderError("no")]
)
def test_errors_of_the_tier_itself_stay_outcomes(error: Exception, clock: FakeClock) -> None:
    """
    Also on a thread of the application's, what a tier of ours fails with is an outcome.
    """
    second = FaultyTier()
    chain = Chain([FaultyTier([error] * 9), second], clock=clock)
    chain.ticket.acquire()
    done = chain.run(chain.plan.begin(3), Batch(LINES), clock.advance, lent=True)

    assert done
    assert LINES == second.taken


def test_doubt_about_a_batch_reaches_the_tier() -> None:
    """
    Lines that are replayed in doubt are marked, though no attempt of this delivery is.
    """
    tier = FaultyTier()
    chain = Chain([tier], clock=FakeClock())
    batch = Batch(LINES, duplicate=True)

    assert chain.run(chain.plan.begin(len(batch)), batch, lambda _: None)
    assert tier.batches[0].duplicate
