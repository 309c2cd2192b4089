from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
from pathlib import Path

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Retryable
from fallbacks.system import PosixSystem
from fallbacks.tiers import AsyncFileTier
from fallbacks.tiers._executor import DaemonExecutor

pytestmark = pytest.mark.integration


class Stuck(PosixSystem):
    """A system whose `stat` hangs until it is let go."""

    __slots__ = ("entered", "error", "go", "wait")

    def __init__(self):
        self.entered = threading.Event()
        self.go = threading.Event()
        self.wait = False
        self.error = None

    def stat(self, path):
        if self.wait:
            self.entered.set()
            self.go.wait()
        return super().stat(path)

    def close(self, fd):
        super().close(fd)
        if self.error:
            raise self.error


async def until(condition):
    """Let the loop turn until *condition* holds."""
    while not condition():
        # The condition turns true on another thread, which knows no event of ours.
        await asyncio.sleep(0)


async def cancelled_in(tier, system):
    """Have a write of *tier* cancelled while its call hangs in *system*."""
    system.wait = True
    task = asyncio.ensure_future(tier.write(Batch([b"lost\n"])))
    await until(system.entered.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_abandoned_call_keeps_the_tier_out_of_the_file(log):
    """
    Until the call that was cancelled returns, writes are refused at once.
    """
    system = Stuck()

    async def main():
        tier = AsyncFileTier(log, system=system)
        await tier.write(Batch([b"one\n"]))
        await cancelled_in(tier, system)
        refused = await tier.write(Batch([b"two\n"]))
        lane = tier._lane
        system.wait = False
        system.go.set()
        await until(lambda: not lane.busy)
        taken = await tier.write(Batch([b"two\n"]))
        await tier.aclose()
        return refused, taken

    refused, taken = asyncio.run(main())

    assert isinstance(refused, Retryable)
    assert "abandoned" in refused.error
    assert DELIVERED is taken
    assert b"one\ntwo\n" == log.read_bytes()


@pytest.mark.parametrize("error", [None, OSError(5, "close failed")])
def test_closing_does_not_wait_for_an_abandoned_call(log, error):
    """
    The abandoned call closes its file when it returns; a new write opens its own.
    """
    system = Stuck()
    before = len(os.listdir("/proc/self/fd"))

    async def main():
        tier = AsyncFileTier(log, system=system)
        await tier.write(Batch([b"one\n"]))
        await cancelled_in(tier, system)
        lane = tier._lane
        await tier.aclose()
        system.wait = False
        taken = await tier.write(Batch([b"two\n"]))
        system.error = error
        system.go.set()
        await until(lambda: not lane.busy)
        await until(lambda: lane.executor.alive == 0)
        system.error = None
        still_open = tier.position() is not None
        again = await tier.write(Batch([b"three\n"]))
        await tier.aclose()
        return taken, still_open, again

    outcomes = asyncio.run(main())

    assert (DELIVERED, True, DELIVERED) == outcomes
    assert b"one\ntwo\nthree\n" == log.read_bytes()
    assert before == len(os.listdir("/proc/self/fd"))


def test_broken_off_write_leaves_the_end_in_doubt(log):
    """
    What a write that was broken off has put into the file is looked at before the next one.
    """

    class BrokenOff(PosixSystem):
        broken = False

        def write(self, fd, data):
            if not self.broken:
                return super().write(fd, data)
            self.broken = False
            super().write(fd, data[:2])
            raise asyncio.CancelledError

    system = BrokenOff()

    async def main():
        tier = AsyncFileTier(log, system=system)
        await tier.write(Batch([b"one\n"]))
        system.broken = True
        with pytest.raises(asyncio.CancelledError):
            await tier.write(Batch([b"two\n"]))
        await tier.write(Batch([b"two\n"]))
        await tier.aclose()

    asyncio.run(main())

    assert b"one\ntw\ntwo\n" == log.read_bytes()


def test_write_that_takes_nothing_is_an_error(log):
    """
    A write that reports nothing does not turn into an endless loop.
    """

    class Nothing(PosixSystem):
        def write(self, fd, data):
            return 0

    async def main():
        tier = AsyncFileTier(log, system=Nothing())
        outcome = await tier.write(Batch([b"one\n"]))
        await tier.aclose()
        return outcome

    outcome = asyncio.run(main())

    assert isinstance(outcome.error, OSError)


def test_given_executor_is_used_and_left_running(log):
    """
    An executor that was handed in belongs to whoever did.
    """
    executor = DaemonExecutor(name="given")

    async def main():
        tier = AsyncFileTier(log, executor=executor)
        await tier.write(Batch([b"one\n"]))
        await tier.aclose()
        tier.abandon()

    asyncio.run(main())
    alive = executor.alive
    executor.shutdown()

    assert 1 == alive


def test_render_errors_leave_the_tier(log):
    """
    What a renderer raises is for the driver to judge, and nothing is written.
    """

    def broken(line):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        asyncio.run(AsyncFileTier(log, render=broken).write(Batch([b"one\n"])))

    assert not log.exists()


def test_hung_call_does_not_keep_the_process(log):
    """
    A program ends although a write is still stuck in the file system.
    """
    script = """
        import asyncio, sys, threading
        from fallbacks.batch import Batch
        from fallbacks.system import PosixSystem
        from fallbacks.tiers import AsyncFileTier
        class Stuck(PosixSystem):
            def fstat(self, fd):
                threading.Event().wait()
        async def main():
            tier = AsyncFileTier(sys.argv[1], system=Stuck())
            try:
                await asyncio.wait_for(tier.write(Batch([b"one\\n"])), 0.05)
            except TimeoutError:
                await tier.aclose()
                print("gave up")
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(log)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=Path(__file__).parents[3],
    )

    assert (0, "gave up\n", "") == (done.returncode, done.stdout, done.stderr)


def test_importing_the_tiers_loads_no_machinery():
    """
    asyncio, aiofiles, executors and logging are loaded at the first use only.
    """
    script = """
        import sys, fallbacks.tiers
        heavy = {"asyncio", "aiofiles", "anyio", "concurrent.futures", "logging",
                 "socket", "fallbacks.tiers._executor"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("platlib")},
    )

    assert "[]\n" == done.stdout
