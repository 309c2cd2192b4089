from __future__ import annotations

import _thread
import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from fallbacks import (
    AsyncSender,
    Batch,
    Chain,
    Delivered,
    HeldStore,
    Outcome,
    Partial,
    Permanent,
    Retry,
    Retryable,
    Sender,
    Sent,
    Strategy,
)
from fallbacks.testing import HANG, FaultyAsyncTier, FaultyTier

pytestmark = pytest.mark.integration

PATIENCE = 10.0
DOWN = ConnectionError("nobody there")


def _lines(*numbers: int) -> list[bytes]:
    return [b'{"id":"%d"}\n' % number for number in numbers]


def _id(line: bytes) -> bytes | None:
    return line[7:-3] if line.startswith(b'{"id":"') and line.endswith(b'"}\n') else None


def _store(tmp_path: Path, destination: str = "shop", **options: Any) -> HeldStore:
    return HeldStore(
        str(tmp_path / "held"), app="hooks", destination=destination, run="run", identify=_id,
        weigh=lambda _: 1, **options,
    )  # fmt: skip


def _chain(*tiers: Any, seconds: float = PATIENCE, attempts: int = 1) -> Chain:
    return Chain(tiers, seconds=seconds, retry=Retry(attempts=attempts, base=0.0))


class Face:
    """A sync sender with the face of an async one, so that each situation is tried on both."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def send(self, lines: list[bytes], **options: Any) -> Sent:
        return self._sender.send(lines, **options)

    async def replay(self) -> Sent:
        return self._sender.replay()

    @property
    def repairing(self) -> int:
        return self._sender.repairing

    @property
    def missed(self) -> int:
        return self._sender.missed


Scenario = Callable[[Any], Awaitable[None]]


@pytest.fixture(name="world", params=["thread", "asyncio", "trio"])
def _world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(name="play")
def _play(world: str) -> Callable[..., None]:
    """Return what runs a scenario with a sender of each world."""

    def play(scenario: Scenario, chain: Chain, store: HeldStore | None = None) -> None:
        async def on_loop() -> None:
            async with AsyncSender(chain, store=store) as sender:
                await scenario(sender)

        async def on_thread() -> None:
            with Sender(chain, store=store) as sender:
                await scenario(Face(sender))

        if world == "trio":
            trio.run(on_loop)
        else:
            asyncio.run(on_loop() if world == "asyncio" else on_thread())

    return play


@pytest.fixture(name="kind")
def _kind(world: str) -> Any:
    return FaultyTier if world == "thread" else FaultyAsyncTier


def test_lines_are_delivered_in_order(play: Any, kind: Any) -> None:
    """
    While the destination is well it gets everything, and nothing else does.
    """
    primary, other = kind(), FaultyTier()

    async def scenario(sender: Any) -> None:
        assert Sent(delivered=2) == await sender.send(_lines(1, 2))
        assert Sent(delivered=1) == await sender.send(_lines(3))
        assert Sent() == await sender.send([])

    play(scenario, _chain(primary, other))

    assert _lines(1, 2, 3) == primary.taken
    assert [] == other.batches
    assert (1, 1) == (primary.closed, other.closed)


def test_what_fails_once_is_tried_again(play: Any, kind: Any) -> None:
    """
    A failure that passes costs a retry, and nothing is held for it.
    """
    primary = kind([DOWN])

    async def scenario(sender: Any) -> None:
        assert Sent(delivered=2) == await sender.send(_lines(1, 2))

    play(scenario, _chain(primary, FaultyTier(), attempts=2))

    assert 2 == len(primary.batches)


def test_outage_is_held_and_replayed_in_order(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    Lines of an outage wait in the store, and go to the destination when it is back.
    """
    primary, store = kind(), _store(tmp_path)
    chain = _chain(primary, store)

    async def scenario(sender: Any) -> None:
        primary.fail_with(DOWN)
        assert Sent(held=2) == await sender.send(_lines(1, 2))
        assert Sent(held=1) == await sender.send(_lines(3))
        primary.heal()
        chain.hasten()
        assert Sent(delivered=3) == await sender.replay()
        assert Sent() == await sender.replay()

    play(scenario, chain, store)

    assert _lines(1, 2, 3) == primary.taken
    assert [] == list(tmp_path.glob("*.held"))


def test_destination_that_rests_is_left_alone(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    While the breaker is open a replay tries nothing and says how much is held.
    """
    primary, store = kind(), _store(tmp_path)
    chain = _chain(primary, store)

    async def scenario(sender: Any) -> None:
        primary.fail_with(DOWN)
        for number in (1, 2, 3):
            await sender.send(_lines(number))
        tried = len(primary.batches)
        primary.heal()
        assert Sent(held=3) == await sender.replay()
        assert tried == len(primary.batches)
        chain.hasten()
        assert Sent(delivered=3) == await sender.replay()

    play(scenario, chain, store)


def test_replay_that_fails_keeps_the_rest(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    What a replay has delivered is not sent again, and what it has not is still held.
    """
    primary, store = kind(), _store(tmp_path)
    chain = _chain(primary, store)

    async def scenario(sender: Any) -> None:
        primary.fail_with(DOWN)
        await sender.send(_lines(1, 2, 3))
        primary.fail_with(Partial([0, 2], Retryable(DOWN)))
        chain.hasten()
        first = await sender.replay()
        primary.heal()
        chain.hasten()
        second = await sender.replay()
        assert (3, 0) == (first.delivered + second.delivered, second.held)

    play(scenario, chain, store)

    assert sorted(_lines(1, 2, 3)) == sorted(primary.taken)


def _copies(*tiers: Any, strategy: Strategy, **options: Any) -> Chain:
    return Chain(
        tiers, seconds=PATIENCE, retry=Retry(attempts=1, base=0.0), strategy=strategy, **options
    )


def test_lines_below_the_quorum_reach_the_copies_that_lack_them(
    play: Any, kind: Any, tmp_path: Path
) -> None:
    """
    What too few copies have is held, is never acknowledged below the number, and no copy
    gets it twice.
    """
    first, second, third = copies = kind(), kind(), kind()
    store = _store(tmp_path)
    chain = _copies(*copies, store, strategy=Strategy.QUORUM, quorum=3)

    async def scenario(sender: Any) -> None:
        second.fail_with(DOWN)
        third.fail_with(DOWN)
        assert Sent(held=2) == await sender.send(_lines(1, 2))
        second.heal()
        chain.hasten()
        assert Sent(held=2) == await sender.replay()
        third.heal()
        chain.hasten()
        assert Sent(delivered=2) == await sender.replay()

    play(scenario, chain, store)

    assert [_lines(1, 2)] * 3 == [first.taken, second.taken, third.taken]


def test_copy_gets_what_it_missed(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    It gets that alone, once and in order, and it is in no count but its own.
    """
    first, second, kept = kind(), kind(), _store(tmp_path, "shop@second")
    chain = _copies(first, second, kept, strategy=Strategy.MIRROR, repairs={1: 2})

    async def scenario(sender: Any) -> None:
        second.fail_with(DOWN)
        assert Sent(delivered=2) == await sender.send(_lines(1, 2))
        assert Sent(delivered=1) == await sender.send(_lines(3))
        chain.hasten()
        assert (Sent(), 3) == (await sender.replay(), sender.repairing)
        second.fail_with(Partial([0], Retryable(DOWN)))
        chain.hasten()
        await sender.replay()
        second.heal()
        chain.hasten()
        assert (Sent(), 0, 0) == (await sender.replay(), sender.repairing, sender.missed)

    play(scenario, chain)

    assert [_lines(1, 2, 3)] * 2 == [first.taken, second.taken]


def test_what_a_replay_brings_to_one_copy_is_kept_for_the_other(
    play: Any, kind: Any, tmp_path: Path
) -> None:
    """
    A held line that one copy takes is delivered, and waits for the copy that is still down.
    """
    first, second = kind(), kind()
    store, kept = _store(tmp_path), _store(tmp_path, "shop@second")
    chain = _copies(first, second, store, kept, strategy=Strategy.MIRROR, repairs={1: 3})

    async def scenario(sender: Any) -> None:
        first.fail_with(DOWN)
        second.fail_with(DOWN)
        assert Sent(held=1) == await sender.send(_lines(1))
        first.heal()
        chain.hasten()
        assert Sent(delivered=1) == await sender.replay()
        assert 1 == sender.repairing
        second.heal()
        chain.hasten()
        assert Sent() == await sender.replay()

    play(scenario, chain, store)

    assert [_lines(1)] * 2 == [first.taken, second.taken]


@pytest.mark.parametrize(("keeps", "waiting", "missed"), [(False, 0, 2), (True, 2, 0)])
def test_what_a_copy_will_never_get_is_counted(
    play: Any, kind: Any, tmp_path: Path, keeps: bool, waiting: int, missed: int
) -> None:
    """
    A delivered line that a copy lacks for good is missed: nothing keeps it, or it is refused.
    """
    second = kind()
    tiers = [kind(), second, *([_store(tmp_path, "shop@second")] if keeps else [])]
    chain = _copies(*tiers, strategy=Strategy.MIRROR, repairs={1: 2} if keeps else None)

    async def scenario(sender: Any) -> None:
        second.fail_with(DOWN)
        assert Sent(delivered=2) == await sender.send(_lines(1, 2))
        assert (waiting, missed) == (sender.repairing, sender.missed)
        second.fail_with(Partial([], Permanent("never")))
        chain.hasten()
        assert Sent() == await sender.replay()
        assert (0, 2) == (sender.repairing, sender.missed)

    play(scenario, chain)


def test_held_lines_go_to_any_copy_where_one_is_as_good_as_the_other(
    play: Any, kind: Any, tmp_path: Path
) -> None:
    """
    With `fastest` a replay does not wait for the first tier while another one is well.
    """
    first, second, store = kind(), kind(), _store(tmp_path)
    chain = _copies(first, second, store, strategy=Strategy.FASTEST)

    async def scenario(sender: Any) -> None:
        first.fail_with(DOWN)
        second.fail_with(DOWN)
        assert Sent(held=2) == await sender.send(_lines(1, 2))
        second.heal()
        chain.hasten()
        assert Sent(delivered=2) == await sender.replay()

    play(scenario, chain, store)

    assert _lines(1, 2) == second.taken


class Choosy(FaultyTier):
    """Refuses every batch with a certain line in it."""

    poison = _lines(7)[0]

    def write(self, batch: Batch) -> Outcome:
        if self.poison in batch.lines and self._always == Delivered():
            return Permanent("not this one")
        return super().write(batch)


@pytest.mark.parametrize("down", [False, True])
def test_poison_is_found_and_given_back(play: Any, tmp_path: Path, down: bool) -> None:
    """
    A line that the destination never takes is rejected alone, whether live or held before.
    """
    primary, store = Choosy(), _store(tmp_path)
    chain = _chain(primary, store)
    numbers = range(1, 12)

    async def scenario(sender: Any) -> None:
        if down:
            primary.fail_with(DOWN)
        live = await sender.send(_lines(*numbers))
        primary.heal()
        chain.hasten()
        late = await sender.replay()
        assert (Choosy.poison,) == live.rejected + late.rejected
        assert (10, 0) == (live.delivered + late.delivered, late.held)

    play(scenario, chain, store)

    assert sorted(_lines(*(n for n in numbers if n != 7))) == sorted(primary.taken)


def test_what_nobody_takes_comes_back(play: Any, kind: Any) -> None:
    """
    When no tier takes a line in time it is the caller's again.
    """
    primary, other = kind([Delivered(1)]), FaultyTier()

    async def scenario(sender: Any) -> None:
        primary.fail_with(DOWN)
        other.fail_with(DOWN)
        assert Sent(left=tuple(_lines(1, 2))) == await sender.send(_lines(1, 2), timeout=0)

    play(scenario, _chain(primary, other, attempts=3))


def test_tier_that_hangs_is_left_behind(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    A tier that does not answer in time costs its deadline, and what is held for it is replayed
    as possible duplicates when it is free.
    """
    primary, store = kind([HANG]), _store(tmp_path)
    chain = _chain(primary, store, seconds=0.1)

    async def scenario(sender: Any) -> None:
        assert Sent(held=1) == await sender.send(_lines(1))
        primary.heal()
        with anyio.fail_after(PATIENCE):
            while (await sender.replay()).held:
                chain.hasten()
                await anyio.sleep(0.001)

    play(scenario, chain, store)

    assert primary.batches[-1].duplicate
    assert _lines(1)[0] in primary.taken


def test_held_lines_outlive_the_process(play: Any, kind: Any, tmp_path: Path) -> None:
    """
    What one sender held another one replays, when its store has adopted the files.
    """
    first = _store(tmp_path)
    with Sender(_chain(FaultyTier([DOWN]), first), store=first) as sender:
        assert Sent(held=2) == sender.send(_lines(1, 2))
    primary, store = kind(), _store(tmp_path)
    assert 2 == store.adopt()

    async def scenario(sender: Any) -> None:
        assert Sent(delivered=2) == await sender.replay()

    play(scenario, _chain(primary, store), store)

    assert _lines(1, 2) == primary.taken


def test_threads_take_turns() -> None:
    """
    Any thread may send; each line is delivered once, and those of a call stay together.
    """
    primary = FaultyTier()
    sender = Sender(_chain(primary))
    start = threading.Barrier(8)

    def work(k: int) -> None:
        start.wait()
        for n in range(20):
            sender.send(_lines(1000 * k + 2 * n, 1000 * k + 2 * n + 1))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [int(_id(line) or 0) for line in primary.taken]

    assert 8 * 40 == len(set(found)) == len(found)
    assert all(b == a + 1 for a, b in zip(found[::2], found[1::2], strict=True))


def test_tasks_take_turns() -> None:
    """
    Tasks that send at once are served one after another.
    """
    primary = FaultyAsyncTier()

    async def main() -> None:
        async with AsyncSender(_chain(primary)) as sender, anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(sender.send, _lines(2 * n, 2 * n + 1))

    asyncio.run(main())

    assert 20 == len(set(primary.taken)) == len(primary.taken)


class Deaf(FaultyAsyncTier):
    """Goes on when it is cancelled; on trio, where a shield keeps every cancellation out."""

    async def write(self, batch: Batch) -> Outcome:
        with anyio.CancelScope(shield=True):
            return await super().write(batch)


def test_cancelled_send_leaves_the_chain_usable() -> None:
    """
    Who cancels a send may send again; a tier that goes on is not asked until it has stopped.
    """
    primary, other = Deaf([HANG]), FaultyTier()
    chain = _chain(primary, other)

    async def main() -> None:
        async with AsyncSender(chain) as sender:
            async with anyio.create_task_group() as group:
                group.start_soon(sender.send, _lines(1))
                while not primary.hanging:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert Sent(delivered=1) == await sender.send(_lines(2))
            assert _lines(2) == other.taken
            primary.release()
            while not chain.unabsorbed:
                await anyio.lowlevel.checkpoint()
            assert Sent(delivered=1) == await sender.send(_lines(3))

    trio.run(main)

    assert _lines(1, 3) == primary.taken
    assert not chain.ticket.held


def test_interrupted_send_leaves_the_chain_usable() -> None:
    """
    After a Ctrl-C in the middle of a send the next one goes past the tier that hangs.
    """
    primary, other = FaultyTier([HANG]), FaultyTier()
    chain = _chain(primary, other)
    sender = Sender(chain)

    def interrupt() -> None:
        while not primary.hanging:
            threading.Event().wait(0.001)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        sender.send(_lines(1))
    thread.join()

    assert Sent(delivered=1) == sender.send(_lines(2))
    assert _lines(2) == other.taken
    primary.release()


def test_every_tier_is_closed() -> None:
    """
    One tier that cannot be closed keeps no other from it, and is told.
    """

    class Stuck(FaultyTier):
        def close(self) -> None:
            raise OSError("no")

    class AsyncStuck(FaultyAsyncTier):
        async def aclose(self) -> None:
            raise OSError("no")

    last = FaultyTier()
    with pytest.raises(ExceptionGroup, match="tiers that could not be closed"):
        Sender(_chain(Stuck(), last)).close()
    with pytest.raises(ExceptionGroup, match="tiers that could not be closed"):
        asyncio.run(AsyncSender(_chain(AsyncStuck(), Stuck(), last)).aclose())

    assert 2 == last.closed


def test_error_in_the_block_is_not_wrapped() -> None:
    """
    What the caller's own code raises leaves `async with` as it is.
    """

    async def main() -> None:
        async with AsyncSender(_chain(FaultyAsyncTier())):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        asyncio.run(main())


def test_back_off_is_waited_for_within_the_timeout(play: Any, kind: Any) -> None:
    """
    Where nobody takes a line, rounds go on until the timeout, and the caller gets it back.
    """
    primary = kind([DOWN, DOWN])
    chain = Chain([primary], seconds=PATIENCE, retry=Retry(attempts=5, base=0.001))

    async def scenario(sender: Any) -> None:
        assert Sent(delivered=1) == await sender.send(_lines(1), timeout=60.0)

    chain.plan.tiers[0].breaker.threshold = 5
    play(scenario, chain)

    assert 3 == len(primary.batches)


def test_without_threads_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no thread can be started the send is made on the caller's own.
    """

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("fallbacks.sender.start_new_thread", refuse)
    primary = FaultyTier()

    assert Sent(delivered=1) == Sender(_chain(primary)).send(_lines(1))


def test_fault_of_the_chain_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What no tier has raised reaches the caller, and the chain is free afterwards.
    """
    chain = _chain(FaultyTier())
    sender = Sender(chain)

    def fail(*_: object) -> None:
        raise LookupError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(chain, "run", fail)
        with pytest.raises(LookupError, match="a bug"):
            sender.send(_lines(1))

    assert Sent(delivered=1) == sender.send(_lines(2))


def test_wrong_use_is_told(tmp_path: Path) -> None:
    """
    A chain that cannot work with a sender is refused with the reason.
    """
    with pytest.raises(ValueError, match="only async tiers; use AsyncSender"):
        Sender(_chain(FaultyAsyncTier()))
    with pytest.raises(ValueError, match="fallback is no tier of the chain"):
        Sender(_chain(FaultyTier()), store=_store(tmp_path))
    kept = _store(tmp_path)
    copies = _copies(FaultyTier(), FaultyTier(), kept, strategy=Strategy.MIRROR, repairs={1: 2})
    with pytest.raises(ValueError, match="keeps what one copy missed"):
        Sender(copies, store=kept)
    chain = _chain(FaultyTier())

    async def main() -> None:
        sender = AsyncSender(chain)
        with pytest.raises(RuntimeError, match="inside of its `async with`"):
            await sender.send(_lines(1))
        async with sender:
            chain.ticket.acquire()
            with pytest.raises(RuntimeError, match="in use elsewhere"):
                await sender.send(_lines(1))
            chain.ticket.release()

    asyncio.run(main())

    assert "<Sender [1 tiers, 0 lines held]>" == repr(Sender(chain))
