from __future__ import annotations

import threading

import anyio
import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Delivered, Partial, Permanent, Unknown
from fallbacks.testing.fake_clock import FakeClock
from fallbacks.testing.faulty_tier import HANG, FaultyAsyncTier, FaultyTier, Hang
from fallbacks.tier import AsyncTier, Kind, SyncTier

pytestmark = pytest.mark.unit

BATCH = Batch([b"one\n", b"two\n", b"three\n"])


def test_clock_moves_only_when_told():
    """
    Both clocks advance together; the wall clock alone can be set.
    """
    clock = FakeClock(10.0, wall_ns=5_000_000_000)
    clock.advance(1.5)
    clock.jump(-4)

    assert (11.5, 2_500_000_000) == (clock.monotonic(), clock.time_ns())
    assert "<FakeClock 11.5>" == repr(clock)
    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)


@pytest.mark.parametrize("kind", [FaultyTier, FaultyAsyncTier])
def test_script_is_followed_and_claims_are_recorded(kind):
    """
    Each write does the next step; taken lines are those the answers claim.
    """
    tier = kind([Partial([2, 0]), Delivered(1), Unknown(), 7, OSError("x"), SystemExit])

    def write():
        answer = tier.write(BATCH)
        return answer if kind is FaultyTier else anyio.run(lambda: answer)

    answers = [write() for _ in range(4)]
    with pytest.raises(OSError, match="x"):
        write()
    with pytest.raises(SystemExit):
        write()
    last = write()
    close = tier.close() if kind is FaultyTier else anyio.run(tier.aclose)

    assert [Partial([2, 0]), Delivered(1), Unknown(), 7] == answers
    assert DELIVERED is last
    assert [b"three\n", b"one\n", b"one\n", *BATCH] == tier.taken
    assert [BATCH] * 7 == tier.batches
    assert (None, 1) == (close, tier.closed)
    assert isinstance(tier, SyncTier if kind is FaultyTier else AsyncTier)
    assert f"<{kind.__name__} faulty [0 steps]>" == repr(tier)
    assert Kind.FINAL is tier.kind


def test_failing_until_healed():
    """
    One answer for every write, until the tier is well again.
    """
    tier = FaultyTier([HANG], kind=Kind.HOLDING)
    tier.fail_with(Permanent("no"))
    sick = [tier.write(BATCH), tier.write(BATCH)]
    tier.heal()

    assert [Permanent("no")] * 2 == sick
    assert DELIVERED is tier.write(BATCH)


def test_hanging_write_goes_on_when_released():
    """
    A hang blocks its thread and nothing else, and answers as it was told.
    """
    tier = FaultyTier([Hang(then=Unknown())])
    answers = []
    thread = threading.Thread(target=lambda: answers.append(tier.write(BATCH)))
    thread.start()
    while not tier.hanging:
        pass
    tier.release()
    thread.join()

    assert [Unknown()] == answers
    assert 0 == tier.hanging


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_hanging_coroutine_goes_on_when_released(backend, elsewhere):
    """
    An async hang is ended from its own loop or from any thread.
    """
    tier = FaultyAsyncTier([HANG])
    answers = []

    async def main():
        async def write():
            answers.append(await tier.write(BATCH))

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            while not tier.hanging:
                await anyio.lowlevel.checkpoint()
            if elsewhere:
                thread = threading.Thread(target=tier.release)
                thread.start()
                thread.join()
            else:
                tier.release()

    anyio.run(main, backend=backend)

    assert [DELIVERED] == answers


def test_hanging_coroutine_can_be_cancelled():
    """
    A cancelled hang takes nothing and is not released later.
    """
    tier = FaultyAsyncTier([HANG])

    async def main():
        with anyio.move_on_after(0):
            await tier.write(BATCH)

    anyio.run(main)
    tier.release()

    assert [] == tier.taken
    assert 0 == tier.hanging
