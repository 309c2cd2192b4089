from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks import (
    Batch,
    Chain,
    Delivered,
    Kind,
    Partial,
    Permanent,
    Retry,
    Retryable,
    Strategy,
    Unknown,
    aio,
)
from fallbacks import chain as chains
from fallbacks.breaker import State
from fallbacks.delivery import Delivery
from fallbacks.outcomes import DELIVERED, Outcome
from fallbacks.steps import Settled
from fallbacks.testing import HANG, FakeClock, FaultyAsyncTier, FaultyTier, Hang

pytestmark = pytest.mark.unit

LINES = [b"a\n", b"b\n", b"c\n"]
BACKENDS = ["asyncio", "trio"]
FIXED = Retry(attempts=2, base=1.0, jitter=lambda: 0.5)


@pytest.fixture(name="backend", params=BACKENDS)
def _backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _visible_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start threads that coverage and the leak check know by name."""

    def start(work: Callable[[], None], args: tuple[()]) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    monkeypatch.setattr(chains, "start_new_thread", start)


@pytest.fixture(name="awaited", params=["in a task", "promptly"])
def _awaited(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted tiers are run in tasks of their own, or say that they need none."""
    if request.param == "promptly":
        monkeypatch.setattr(FaultyAsyncTier, "prompt", True, raising=False)


class Deaf(FaultyAsyncTier):
    """A tier that ignores its cancellation and answers when it likes."""

    def __init__(self, answer: object = DELIVERED) -> None:
        super().__init__([answer], name="deaf")
        self.cancelled = anyio.Event()
        self.go_on = anyio.Event()

    async def write(self, batch: Batch) -> Outcome:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
        with anyio.CancelScope(shield=True):
            await self.go_on.wait()
        return await super().write(batch)


class Quiet(FaultyTier):
    """A sync tier that tells when it hangs."""

    def __init__(self, *script: object) -> None:
        super().__init__(script, name="quiet")
        self.entered = threading.Event()
        self.may_leave = threading.Event()
        self.left = threading.Event()

    def write(self, batch: Batch) -> Outcome:
        self.entered.set()
        self.may_leave.wait(20)
        try:
            return super().write(batch)
        finally:
            self.left.set()


async def drive(
    chain: Chain,
    calls: anyio.abc.TaskGroup,
    pause: Callable[[float], Awaitable[object]] | None = None,
    *,
    patient: bool = True,
) -> tuple[bool, Delivery]:
    """Run a delivery of LINES with the ticket in hand; a pause moves the fake clock."""

    async def advance(seconds: float) -> None:
        clock = chain.clock
        assert isinstance(clock, FakeClock)
        clock.advance(seconds)

    chain.ticket.acquire()
    delivery = chain.plan.begin(len(LINES), patient=patient)
    kept = await aio.run(chain, delivery, Batch(LINES), calls=calls, pause=pause or advance)
    return kept, delivery


def run(backend: str, scenario: Callable[[anyio.abc.TaskGroup], Awaitable[None]]) -> None:
    """Run *scenario* with a task group, bounded in time."""

    async def main() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as calls:
                await scenario(calls)

    anyio.run(main, backend=backend)


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks and threads run until *condition* holds."""
    while not condition():
        await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("awaited")
def test_batch_goes_to_the_async_tier(backend: str) -> None:
    """
    A healthy chain makes one call and passes the batch itself on.
    """
    first, second = FaultyAsyncTier(), FaultyTier()
    chain = Chain([first, second], clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        kept, delivery = await drive(chain, calls)

        assert (True, [Settled(0, range(3), suspect=False)]) == (kept, delivery.settled)

    run(backend, scenario)

    assert (LINES, [], None) == (first.taken, second.taken, chain.trying)


@pytest.mark.parametrize(
    "error", [OSError("x"), SystemExit(1), KeyboardInterrupt, GeneratorExit, MemoryError]
)
@pytest.mark.usefixtures("awaited")
@pytest.mark.parametrize("kind", [FaultyAsyncTier, FaultyTier])
def test_whatever_a_tier_raises_is_contained(
    error: BaseException | type[BaseException],
    kind: type[FaultyAsyncTier | FaultyTier],
    backend: str,
) -> None:
    """
    SystemExit in a task would end the loop, and with it every other destination.
    """
    bad, good = kind(), FaultyAsyncTier()
    bad.fail_with(error)
    chain = Chain([bad, good], clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        assert (await drive(chain, calls))[0]

    run(backend, scenario)

    assert LINES == good.taken
    assert chain.meters[0].last_error is not None


@pytest.mark.usefixtures("awaited")
def test_tier_whose_attributes_raise_is_contained(backend: str) -> None:
    """
    Even looking at a foreign object may run its code.
    """

    class Hostile(FaultyAsyncTier):
        hostile = False

        def __getattribute__(self, name: str) -> object:
            if name == "aclose" or not object.__getattribute__(self, "hostile"):
                return object.__getattribute__(self, name)
            raise SystemExit(name)

    bad, good = Hostile(), FaultyAsyncTier()
    chain = Chain([bad, good], clock=FakeClock())
    bad.hostile = True

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        assert (await drive(chain, calls))[0]

    run(backend, scenario)

    assert LINES == good.taken


@pytest.mark.usefixtures("awaited")
def test_cancellation_that_a_tier_makes_up_is_a_failure(backend: str) -> None:
    """
    A client library that is cancelled inside raises what looks like our own cancellation.
    """
    good = FaultyAsyncTier()

    class Cancelling(FaultyAsyncTier):
        async def write(self, batch: Batch) -> Outcome:
            if backend == "asyncio":
                raise anyio.get_cancelled_exc_class()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
            raise OSError("cancelled inside")

    chain = Chain([Cancelling(), good], clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        assert (await drive(chain, calls))[0]

    run(backend, scenario)

    assert (LINES, False) == (good.taken, chain.plan.tiers[0].busy)


@pytest.mark.usefixtures("awaited")
def test_deadline_cancels_the_tier(backend: str) -> None:
    """
    A call that does not answer in time is cancelled and unknown; its tier is free at once after.
    """
    slow, good = FaultyAsyncTier([HANG]), FaultyAsyncTier()
    chain = Chain([slow, good], seconds=0.0, clock=FakeClock())
    chain.plan.tiers[1].seconds = 9.0

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        kept, delivery = await drive(chain, calls)

        assert (True, [Settled(1, range(3), suspect=True)]) == (kept, delivery.settled)

        await until(lambda: not slow.hanging)

    run(backend, scenario)
    chain.absorb()

    assert ([], False, State.CLOSED) == (
        slow.taken,
        chain.plan.tiers[0].busy,
        chain.plan.tiers[0].breaker.state,
    )
    assert (1, 1) == (chain.meters[0].attempts, chain.meters[0].failed)


@pytest.mark.usefixtures("awaited")
def test_call_under_way_is_cancelled_at_its_deadline(backend: str) -> None:
    """
    A tier that is in the middle of its call learns that nobody waits any more.
    """
    slow, good = FaultyAsyncTier([HANG]), FaultyAsyncTier()
    chain = Chain([slow, good], seconds=0.01, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        await drive(chain, calls)

        assert 1 == len(slow.batches)

    late: list[Outcome] = []
    chain.on_late = lambda tier, batch, answer: late.append(answer)
    run(backend, scenario)
    chain.absorb()

    assert [Unknown("cancelled at its deadline")] == late
    assert ([], LINES, False) == (slow.taken, good.taken, chain.plan.tiers[0].busy)


def test_tier_that_swallows_its_cancellation_is_left_behind(backend: str) -> None:
    """
    The batch moves on at once; the late answer frees the tier and proves that it lives.
    """
    chain: Chain

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        nonlocal chain
        deaf, good = Deaf(), FaultyAsyncTier()
        chain = Chain([deaf, good], seconds=0.01, clock=FakeClock())
        chain.plan.tiers[1].seconds = 9.0
        chain.plan.tiers[0].breaker.threshold = 1
        _, delivery = await drive(chain, calls)

        assert ([Settled(1, range(3), suspect=True)], LINES) == (delivery.settled, good.taken)

        chain.ticket.release()
        await drive(chain, calls)

        assert (2, State.OPEN) == (len(good.batches), chain.plan.tiers[0].breaker.state)

        await deaf.cancelled.wait()
        chain.absorb()

        assert chain.plan.tiers[0].busy

        deaf.go_on.set()
        await until(lambda: deaf.taken)

    run(backend, scenario)
    chain.absorb()

    assert (False, State.CLOSED) == (
        chain.plan.tiers[0].busy,
        chain.plan.tiers[0].breaker.state,
    )


def test_deaf_tier_does_not_keep_the_loop_busy(backend: str) -> None:
    """
    A call is cancelled once, not in every round of the loop.
    """
    rounds = 0

    class Stubborn(FaultyAsyncTier):
        stop = False

        async def write(self, batch: Batch) -> Outcome:
            nonlocal rounds
            while not self.stop:
                try:
                    with anyio.CancelScope(shield=backend == "trio"):
                        await anyio.sleep(0.001)
                except anyio.get_cancelled_exc_class():
                    rounds += 1
            return DELIVERED

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        stubborn = Stubborn()
        chain = Chain([stubborn, FaultyAsyncTier()], seconds=0.01, clock=FakeClock())
        await drive(chain, calls)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        stubborn.stop = True

    run(backend, scenario)

    assert rounds <= 1


def test_sync_tier_runs_on_a_thread(backend: str) -> None:
    """
    The loop runs on while a sync tier blocks.
    """
    quiet = Quiet()
    chain = Chain([quiet], clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        async def let_go() -> None:
            await until(quiet.entered.is_set)
            quiet.may_leave.set()

        calls.start_soon(let_go)

        assert (await drive(chain, calls))[0]

    run(backend, scenario)

    assert LINES == quiet.taken


def test_sync_tier_that_hangs_is_left_behind(backend: str) -> None:
    """
    A thread cannot be cancelled: the tier is busy until the call returns.
    """
    quiet, good = Quiet(), FaultyAsyncTier()
    chain = Chain([quiet, good], seconds=0.01, clock=FakeClock())
    chain.plan.tiers[1].seconds = 9.0

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        _, delivery = await drive(chain, calls)
        chain.absorb()

        assert [Settled(1, range(3), suspect=True)] == delivery.settled
        assert chain.plan.tiers[0].busy

        quiet.may_leave.set()
        await until(quiet.left.is_set)
        await until(lambda: chain._late)

    run(backend, scenario)
    chain.absorb()

    assert not chain.plan.tiers[0].busy


def test_answer_after_the_end_of_the_loop_frees_the_tier(backend: str) -> None:
    """
    A thread that comes back to find no loop hands its answer in all the same.
    """
    quiet, good = Quiet(), FaultyAsyncTier()
    chain = Chain([quiet, good], seconds=0.01, clock=FakeClock())
    chain.plan.tiers[1].seconds = 9.0

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        await drive(chain, calls)

    run(backend, scenario)
    quiet.may_leave.set()
    late_by = threading.Event()
    while not chain._late:
        late_by.wait(0.001)
    chain.absorb()

    assert not chain.plan.tiers[0].busy


def test_call_without_a_thread_is_made_on_the_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where no thread can be started, the loop itself makes the call and does not wait for itself.
    """

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(chains, "start_new_thread", refuse)
    tier = FaultyTier()
    chain = Chain([tier], clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        assert (await drive(chain, calls))[0]

    run(backend, scenario)

    assert LINES == tier.taken


def test_loop_that_ended_between_answer_and_wake_up(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A loop that is gone by the time the answer comes is no error in the tier's thread.
    """
    asked = []

    def gone(*_: object, **__: object) -> None:
        asked.append(True)
        raise RuntimeError("the run has finished")

    monkeypatch.setattr(anyio.from_thread, "run_sync", gone)
    chain = Chain([FaultyTier()], seconds=0.05, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        kept, delivery = await drive(chain, calls)

        assert (True, ()) == (kept, delivery.left)

    run(backend, scenario)

    assert [True] == asked


@pytest.mark.usefixtures("awaited")
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_driver_cancelled_in_the_middle_of_a_call(kind: str, backend: str) -> None:
    """
    Whoever takes over finds the tier busy, and free again when the call has returned.
    """
    quiet = Quiet()
    tier = FaultyAsyncTier([HANG]) if kind == "async" else quiet
    good = FaultyTier()
    chain = Chain([tier, good], seconds=9.0, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await until(lambda: quiet.entered.is_set() or tier.hanging)
                scope.cancel()

            calls.start_soon(cancel)
            await drive(chain, calls)

        assert scope.cancelled_caught

        quiet.may_leave.set()
        if kind == "sync":
            await until(quiet.left.is_set)
        await until(lambda: chain._late)

    run(backend, scenario)

    assert chain.expire("the loop has ended")
    assert chain.trying is not None

    clock = chain.clock
    assert isinstance(clock, FakeClock)
    chain.absorb()

    assert chain.run(chain.trying, Batch(LINES), clock.advance)
    assert (LINES, False) == (good.taken, chain.plan.tiers[0].busy)


def test_driver_cancelled_just_when_the_answer_came(backend: str) -> None:
    """
    An answer that the cancelled driver could not take in any more is a late one, not lost.
    """
    good = FaultyTier()
    scope: anyio.CancelScope

    class Cutting(FaultyAsyncTier):
        async def write(self, batch: Batch) -> Outcome:
            scope.cancel()
            return DELIVERED

    chain = Chain([Cutting(), good], seconds=9.0, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        nonlocal scope
        with anyio.CancelScope() as scope:
            await drive(chain, calls)

        assert scope.cancelled_caught

    run(backend, scenario)

    assert chain.expire("the loop has ended")

    chain.absorb()

    assert not chain.plan.tiers[0].busy


@pytest.mark.usefixtures("awaited")
def test_ticket_stolen_during_a_call(backend: str) -> None:
    """
    A loop that hung comes back, finds its ticket gone, hands its answer in and stops.
    """
    chain: Chain

    class Robbed(FaultyAsyncTier):
        async def write(self, batch: Batch) -> Outcome:
            section = chain.ticket.section
            assert section is not None
            assert chain.clock.monotonic() + 9.0 + aio.GRACE == section.deadline
            assert chain.expire("the loop hangs")
            return await super().write(batch)

    chain = Chain([Robbed(), FaultyTier()], seconds=9.0, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        kept, delivery = await drive(chain, calls)

        assert (False, []) == (kept, delivery.settled)

    run(backend, scenario)

    assert chain.plan.tiers[0].busy

    chain.absorb()

    assert not chain.plan.tiers[0].busy


@pytest.mark.usefixtures("awaited")
def test_ticket_stolen_during_a_call_that_is_abandoned(backend: str) -> None:
    """
    A call that both the deadline and a thief gave up frees its tier once it returns.
    """
    slow = FaultyAsyncTier([HANG])
    chain = Chain([slow], seconds=0.01, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        async def rob() -> None:
            await until(lambda: slow.hanging)
            assert chain.expire("exit")

        calls.start_soon(rob)
        kept, _ = await drive(chain, calls)

        assert not kept

    run(backend, scenario)
    chain.absorb()

    assert not chain.plan.tiers[0].busy


@pytest.mark.usefixtures("awaited")
def test_ticket_stolen_in_a_pause(backend: str) -> None:
    """
    A driver that is robbed while it waits stops and touches nothing.
    """
    chain = Chain([FaultyAsyncTier([Retryable()])], clock=FakeClock(), retry=FIXED)

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        async def pause(seconds: float) -> bool:
            section = chain.ticket.section
            assert section is not None
            assert math.inf == section.deadline
            return chain.expire("exit")

        kept, _ = await drive(chain, calls, pause)

        assert not kept

    run(backend, scenario)

    assert (1, False) == (chain.meters[0].attempts, chain.plan.tiers[0].busy)


@pytest.mark.usefixtures("awaited")
def test_rung_pause_hastens(backend: str) -> None:
    """
    Somebody who rings ends rest and back-off, without time passing.
    """
    tier = FaultyAsyncTier([Retryable(), Retryable(), Retryable()])
    chain = Chain([tier], clock=FakeClock(), retry=FIXED)
    before = chain.clock.monotonic()

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        async def pause(seconds: float) -> bool:
            return True

        assert (await drive(chain, calls, pause))[0]

    run(backend, scenario)

    assert (before, LINES) == (chain.clock.monotonic(), tier.taken)


STEPS = st.sampled_from(
    [
        DELIVERED,
        Delivered(1),
        Delivered(0),
        Delivered(9),
        Partial([0]),
        Partial([1], Unknown()),
        Partial([], Permanent()),
        Retryable("busy"),
        Retryable(after=0.3),
        Permanent("no"),
        Unknown("lost"),
        OSError("x"),
        SystemExit(1),
        KeyboardInterrupt(),
        None,
        "nonsense",
    ]
)


def _report(chain: Chain, delivery: Delivery) -> list[object]:
    assert isinstance(chain.clock, FakeClock)
    return [
        [(s.tier, list(s.indices), s.suspect) for s in delivery.settled],
        list(delivery.left),
        {copy: list(lines) for copy, lines in delivery.missed.items()},
        dict(delivery.had),
        (delivery.suspect, delivery.rejected, delivery.trying),
        [(m.attempts, m.failed, m.taken, repr(m.last_error)) for m in chain.meters],
        [(h.busy, h.breaker.state, h.breaker.opened) for h in chain.plan.tiers],
        [[list(batch) for batch in tier.batches] for tier in chain.tiers],  # type: ignore[union-attr]
        [tier.taken for tier in chain.tiers],  # type: ignore[union-attr]
        chain.clock.monotonic(),
        chain.ticket.section,
    ]


@settings(max_examples=60, deadline=None)
@given(
    scripts=st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=3),
    stores=st.lists(st.lists(STEPS, max_size=3), min_size=3, max_size=3),
    strategy=st.sampled_from(Strategy),
    patient=st.booleans(),
)
def test_both_drivers_behave_the_same(
    scripts: list[list[object]], stores: list[list[object]], strategy: Strategy, patient: bool
) -> None:
    """
    The same answers give the same report by every strategy: on a thread, under asyncio and trio.
    """
    # The destination and one more copy at least, a holding tier, and two repair stores.
    finals = [*scripts, *[[]] * (2 - len(scripts))]

    def chain_of(kind: type[FaultyTier | FaultyAsyncTier]) -> Chain:
        for script in scripts + stores:
            for step in script:
                if isinstance(step, BaseException):
                    step.__traceback__ = None
        tiers = [kind(script) for script in finals]
        tiers += [kind(script, kind=Kind.HOLDING) for script in stores]
        repairs = {0: len(finals) + 1, 1: len(finals) + 2}
        return Chain(tiers, strategy=strategy, repairs=repairs, clock=FakeClock(), retry=FIXED)

    chain = chain_of(FaultyTier)
    chain.ticket.acquire()
    delivery = chain.plan.begin(len(LINES), patient=patient)

    assert isinstance(chain.clock, FakeClock)
    assert chain.run(delivery, Batch(LINES), chain.clock.advance)

    expected = _report(chain, delivery)
    for backend in BACKENDS:
        for kind in (FaultyAsyncTier, FaultyTier):
            other = chain_of(kind)

            async def scenario(calls: anyio.abc.TaskGroup, other: Chain = other) -> None:
                kept, delivery = await drive(other, calls, patient=patient)

                assert kept
                assert expected == _report(other, delivery)

            run(backend, scenario)


def test_call_that_hangs_and_then_fails_counts_once(backend: str) -> None:
    """
    Deadline and late failure are one failure of the tier, as on a thread.
    """
    slow, good = FaultyAsyncTier([Hang(OSError("x"))]), FaultyAsyncTier()
    chain = Chain([slow, good], seconds=0.01, clock=FakeClock())

    async def scenario(calls: anyio.abc.TaskGroup) -> None:
        await drive(chain, calls)

    run(backend, scenario)
    chain.absorb()

    assert (False, State.CLOSED) == (
        chain.plan.tiers[0].busy,
        chain.plan.tiers[0].breaker.state,
    )
