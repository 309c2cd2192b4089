"""
A sink that hangs for ever: on a thread, on the loop, deaf to its cancellation, or with the loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
import threading
import time
from pathlib import Path

import pytest

import hydra
from hydra.queue import State
from tests.sinks._kit import (
    Hanging,
    held_files,
    numbers,
    of,
    read,
    records,
    run_program,
    until,
    until_async,
)

pytestmark = pytest.mark.faults

KINDS = ("sync", "async", "deaf", "blocking")
TIMEOUT = 0.2


@pytest.fixture
def hanging(request):
    """Give a sink that hangs; it is released in the end."""
    sink = Hanging(request.param)
    yield sink
    sink.release()


def configured(sink, path, **options):
    """Configure the hanging sink beside a good file; return a logger."""
    hydra.configure(
        app="t",
        level="debug",
        destinations=[
            hydra.Destination(sink.sink(), name="bad", timeout=TIMEOUT, retries=0, **options),
            {"name": "good", "type": "file", "path": str(path), "timeout": 1.0},
        ],
    )
    return hydra.get_logger("shop")


@pytest.mark.parametrize("hanging", KINDS, indirect=True)
def test_hanging_sink_is_left_behind_and_comes_back(hanging, tmp_path, call_style):
    """
    The batch goes on when the deadline has passed, the neighbour is not held up, and when
    the sink answers after all, the held lines are replayed to it and the held file goes.
    """
    log = configured(hanging, tmp_path / "good.log")

    async def scenario(call):
        for n in range(5):
            await call(log.info("ordinary", n=n))
        return await call(log.error("grave", n=5))

    receipt = call_style.run(scenario)
    assert hanging.hung.wait(5)
    began = time.monotonic()
    settlement = receipt.wait(10)
    waited = time.monotonic() - began

    assert (State.HELD, "fallback") == (settlement.fates["bad"].state, settlement.fates["bad"].tier)
    assert State.DELIVERED is settlement.fates["good"].state
    assert waited < TIMEOUT + 2.5
    assert hydra.flush(5).balanced
    # One that obeys its cancellation may be asked again.
    assert hanging.kind == "async" or of("bad").tiers[0].state == "busy"

    second = log.error("grave too", n=6).wait(5)

    assert second.settled
    assert State.HELD is second.fates["bad"].state

    hanging.release()
    hydra.flush(5)
    until(lambda: of("bad").delivered == 7, "the sink has everything", seconds=15)

    found = numbers(records(hanging.lines))
    # What it hung with may arrive twice: nobody could know that it was taken.
    assert list(range(7)) == sorted(set(found))
    assert [n for n in found if n == 6] == [6]
    until(lambda: held_files() == [], "the held file is gone")
    assert 0 == of("bad").dropped
    assert of("bad").crashes == 0


@pytest.mark.parametrize("hanging", KINDS, indirect=True)
def test_neighbours_of_a_hanging_sink_are_prompt(hanging, tmp_path):
    """While a sink hangs, lines reach another destination within a bounded time."""
    log = configured(hanging, tmp_path / "good.log")

    async def scenario():
        log.error("hang", n=0)
        await until_async(hanging.hung.is_set, "the sink hangs")
        slowest = 0.0
        for n in range(1, 40):
            receipt = log.error("prompt", n=n)
            slowest = max(
                slowest,
                await until_async(
                    lambda r=receipt: "good" in r._entry.fates, "the neighbour has the line"
                ),
            )
        return slowest

    slowest = asyncio.run(scenario())

    # Where the loop itself hangs, its watchdog must find out: one timeout of the neighbour's.
    bound = 0.5 if hanging.kind != "blocking" else 1.0 + 1.5
    assert slowest < bound
    assert list(range(40)) == numbers(read(tmp_path / "good.log"))


@pytest.mark.parametrize("hanging", KINDS, indirect=True)
def test_hanging_sink_costs_no_processor_time(hanging, tmp_path):
    """An abandoned call, also one that ignores its cancellation, leaves the process at rest."""
    log = configured(hanging, tmp_path / "good.log")
    log.error("hang", n=0).wait(5)
    hydra.flush(5)
    never = threading.Event()

    before = time.process_time()
    never.wait(0.3)
    spent = time.process_time() - before

    assert spent < 0.06


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["return", "close", "sigterm"])
def test_process_ends_within_its_deadline(kind, end, tmp_path):
    """A sink that never answers delays the exit by the exit timeout at most; lines are held."""
    program = """
        import os, signal, sys, time
        import hydra
        from tests.sinks._kit import Hanging
        kind, end = sys.argv[1:]
        sink = Hanging(kind)
        hydra.configure(
            app="t", exit_timeout=0.5, signals=True,
            destinations=[hydra.Destination(sink.sink(), name="bad", timeout=30)],
        )
        log = hydra.get_logger("shop")
        for n in range(10):
            log.info("ordinary", n=n)
        log.error("grave", n=10)
        assert sink.hung.wait(10)
        for n in range(11, 20):
            log.info("ordinary", n=n)
        print("hung", time.time(), flush=True)
        if end == "close":
            stats = hydra.close(0.5)
            print("closed", stats.balanced, stats.accepted, stats.dropped, flush=True)
        elif end == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
    """
    done = run_program(textwrap.dedent(program), kind, end)
    ended = time.time()

    assert (b"", -signal.SIGTERM if end == "sigterm" else 0) == (done.stderr, done.returncode)
    out = done.stdout.decode().split()
    # The deadline, and what an interpreter takes to end on a busy machine: not the 30 s of
    # the sink, and not for ever.
    assert ended - float(out[1]) < 0.5 + 10.0
    if end == "close":
        assert ["closed", "True", "20", "0"] == out[2:]
    held = [
        line
        for path in Path(os.environ["HYDRA_STATE_DIR"]).rglob("*.held")
        for line in path.read_bytes().splitlines()
        if not line.startswith(b'{"hydra"')
    ]
    assert list(range(20)) == numbers(records(held))


def test_slow_sink_is_no_hanging_loop(tmp_path):
    """Asking for a flush while an async sink is steadily at work does not take it for hung."""
    got = []

    async def slow(lines):
        await asyncio.sleep(0.05)
        got.extend(lines)

    hydra.configure(
        app="t",
        destinations=[hydra.Destination(slow, name="slow", timeout=TIMEOUT, batch=10, retries=0)],
    )
    log = hydra.get_logger("shop")
    for n in range(300):
        log.info("ordinary", n=n)

    until(lambda: got, "the loop is at work")
    assert hydra.flush(20).balanced
    assert 0 == of("slow").rescues
    assert list(range(300)) == numbers(records(got))
    assert "loop" == of("slow").mode
