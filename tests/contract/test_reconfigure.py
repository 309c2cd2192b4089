"""
Another configuration under load: new calls go to the new destinations, nothing is lost.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

import hydra
from hydra.engine import ENGINE
from tests.contract.kit import (
    PATIENCE,
    Sink,
    balanced,
    closed,
    configure,
    destination,
    proven,
    quiet,
)

pytestmark = pytest.mark.integration


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


def load(log: hydra.Logger, change: Callable[[int], None]) -> list[int]:
    """Log from four threads while *change* is called twenty times; return the calls of each."""
    done = threading.Event()
    counts = [0] * 4

    def work(name):
        while not done.is_set():
            for _ in range(10):
                method = log.error if counts[name] % 10 == 0 else log.info
                method("placed", t=name, n=counts[name])
                counts[name] += 1

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    change(0)
    for thread in threads:
        thread.start()
    for n in range(1, 20):
        change(n)
    done.set()
    for thread in threads:
        thread.join()
    return counts


@pytest.mark.leaks_ok(
    reason="a thread that still holds the routes of a replaced run opens its file again"
)
def test_configure_under_load(log, tmp_path):
    """Each record of four threads is in one of the twenty files, once."""

    def change(n):
        path = str(tmp_path / f"{n}.log")
        hydra.configure(destinations=[{"name": "app", "type": "file", "path": path}])

    counts = load(log, change)
    balanced(hydra.close(PATIENCE))

    found = [[] for _ in counts]
    for path in tmp_path.glob("*.log"):
        lines = path.read_bytes().splitlines()
        proven(lines)
        for record in map(json.loads, lines):
            if record["logger"] == "shop":
                found[record["t"]].append(record["n"])
    assert [list(range(count)) for count in counts] == [sorted(each) for each in found]


@pytest.mark.leaks_ok(
    reason="a thread that still holds the routes of a replaced run opens its file again"
)
def test_configure_under_load_with_sinks_that_have_no_fallback(log):
    """A call that comes too late for a closed sink has nowhere to go; it is counted."""
    sinks = [Sink() for _ in range(20)]
    counts = load(log, lambda n: configure(sinks[n]))
    dropped = sum(stats.dropped for stats in [balanced(hydra.close(PATIENCE))])

    delivered = sum(len(sink.records) for sink in sinks)
    assert sum(counts) - 4 * 20 <= delivered <= sum(counts)
    assert dropped <= sum(counts) - delivered


def test_order_across_a_change(log):
    """One thread's records reach a file in call order, also when its writer changes."""
    sink = Sink()
    for n in range(10):
        configure(sink)
        for m in range(100):
            log.info("placed", n=100 * n + m)
    hydra.close(PATIENCE)

    assert list(range(1000)) == [each["n"] for each in sink.records]


def test_slow_destination_keeps_draining_after_the_change(log):
    """What was queued before the change is delivered under the old configuration."""
    old, new = Sink(), Sink()
    configure(old)
    old.shut()
    for n in range(50):
        log.info("old", n=n)
    # Under another name: a writer waits for its predecessor of the same name.
    hydra.configure(destinations=[destination(new, "new")])
    log.info("new")
    while not new.records:
        hydra.QUEUED.wait(0.01)
    assert 50 == hydra.stats().pending
    old.open()
    stats = quiet()

    assert 0 == stats.pending
    assert ["old"] * 50 == old.messages
    assert ["new"] == new.messages


def test_wrong_configuration_changes_nothing(log):
    """With errors the old configuration stays in force, and every error is told."""
    sink = Sink()
    configure(sink)
    run = ENGINE.run
    with pytest.raises(hydra.ConfigurationError) as caught:
        hydra.configure(level="loud", queue={"records": -1}, nonsense=1)
    log.info("placed")
    quiet()

    assert run is ENGINE.run
    assert ["placed"] == sink.messages
    assert all(each in str(caught.value) for each in ("level", "queue.records", "nonsense"))
    assert isinstance(caught.value, hydra.HydraError)


def test_running(log):
    """`running` configures for a block, then closes, whatever the block raised."""
    sink = Sink()
    options = {"destinations": [{"name": "app", "type": "sink", "sink": sink}]}
    with pytest.raises(ValueError, match="bad"), hydra.running(**options):
        log.info("inside")
        raise ValueError("bad")

    assert ["inside"] == sink.messages
    assert ["close"] == [each["event"] for each in sink.controls]


def test_running_in_a_task(log):
    """`async with` does the same without blocking the loop."""
    sink = Sink()
    options = {"destinations": [{"name": "app", "type": "sink", "sink": sink}]}

    async def main():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.001)

        beating = asyncio.create_task(beat())
        async with hydra.running(options):
            await log.info("inside")
            sink.shut()
            await log.info("late")
            threading.Timer(0.05, sink.open).start()
        beating.cancel()
        return beats

    beats = asyncio.run(main())

    assert ["inside", "late"] == sink.messages
    assert beats > 5


def test_calls_while_closing(log, tmp_path):
    """Calls during a close are delivered by the writer or by the call itself, and counted."""
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    done = threading.Event()
    counts = [0] * 3

    def work(name):
        while not done.is_set():
            log.info("placed", t=name, n=counts[name])
            counts[name] += 1
            if counts[name] % 50 == 0:
                # Faster than the writer, it would never have an empty queue to close.
                done.wait(0.001)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    while sum(counts) < 500:
        done.wait(0.001)
    hydra.close(PATIENCE)
    after = sum(counts)
    while sum(counts) < after + 100:
        done.wait(0.001)
    done.set()
    for thread in threads:
        thread.join()
    stats = closed()
    lines = path.read_bytes().splitlines()

    assert sum(counts) == stats.delivered
    assert sum(counts) == sum(b'"logger":"shop"' in line for line in lines)
