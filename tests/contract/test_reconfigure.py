"""
Another configuration under load: new calls go to the new destinations, nothing is lost.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

import hydra
from hydra.core import EMPTY, ERROR, INFO
from hydra.engine import ENGINE
from tests.contract.kit import (
    PATIENCE,
    Between,
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

    async def let_go():
        # Gets its turn only while whoever leaves the block lets others run.
        await asyncio.to_thread(sink.stuck.wait, PATIENCE)
        sink.open()

    async def main():
        async with hydra.running(options):
            await log.info("inside")
            hydra.flush(PATIENCE)
            sink.shut()
            await log.info("late")
            letting_go = asyncio.create_task(let_go())
        assert letting_go.done()
        await letting_go

    asyncio.run(main())

    assert ["inside", "late"] == sink.messages


def test_calls_while_closing(log, tmp_path):
    """
    Calls that go on through a close are delivered by the writer or by the call itself.

    They do not keep the close from ending, although the queue is never empty.
    """
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    done = threading.Event()
    counts = [0] * 3

    def work(name):
        while not done.is_set():
            log.info("placed", t=name, n=counts[name])
            counts[name] += 1

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    while sum(counts) < 500:
        done.wait(0.001)
    began = time.monotonic()
    hydra.close(PATIENCE)
    took = time.monotonic() - began
    after = sum(counts)
    while sum(counts) < after + 100:
        done.wait(0.001)
    done.set()
    for thread in threads:
        thread.join()
    stats = closed()
    lines = path.read_bytes().splitlines()

    assert took < PATIENCE / 2
    assert (0, sum(counts)) == (stats.destinations["app"].rescues, stats.delivered)
    assert sum(counts) == sum(b'"logger":"shop"' in line for line in lines)


def to_file(path):
    """Put a configuration into force that logs to *path*, and wait until the one before is gone."""
    before = ENGINE.run
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    while before is not None and not before.gone:
        hydra.QUEUED.wait(0.01)


def shop(path):
    """Return the messages that the application logged to *path*."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [each["message"] for each in map(json.loads, lines) if each["logger"] == "shop"]


def body(run):
    """Return what a call makes with the encoder of *run*, up to the id."""
    return run.encoder.body(1, b'"info"', b'"shop"', "late", EMPTY, EMPTY, {})


@pytest.mark.parametrize("level", [INFO, ERROR])
def test_call_that_finds_its_run_replaced(log, tmp_path, level):
    """A call that has no number yet when its run is replaced goes to the run in force."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    to_file(old)
    run = ENGINE.run
    stream = ENGINE.current().route("shop", level)
    to_file(new)
    stream.send(body(run), level)
    stats = quiet()

    assert ([], ["late"]) == (shop(old), shop(new))
    assert (1, 0) == (stats.delivered, stats.dropped)
    assert 0 == stream.issued


def test_call_that_finds_its_run_replaced_by_one_that_does_not_want_it(log, tmp_path):
    """What the run in force filters is filtered, and takes no number anywhere."""
    to_file(tmp_path / "old.log")
    run = ENGINE.run
    stream = ENGINE.current().route("shop", INFO)
    configure(Sink(), level="error")
    receipt = stream.send(body(run), INFO)

    assert hydra.FILTERED is receipt
    assert 0 == stream.issued


@pytest.mark.parametrize("level", [INFO, ERROR])
def test_call_that_is_overtaken_by_a_change(log, tmp_path, level):
    """A call with its number half taken is written where it was going, once, and leaves no file."""
    old, new, last = (tmp_path / name for name in ("old.log", "new.log", "last.log"))
    to_file(old)
    stream = ENGINE.current().route("shop", level)
    stream.numbers = Between(stream, lambda: to_file(new))
    log.log(level, "late")
    to_file(last)
    quiet()

    assert [] == stream.numbers.to_happen
    assert (["late"], [], []) == (shop(old), shop(new), shop(last))


def test_journaled_call_that_is_overtaken_by_a_change(log, tmp_path):
    """An ERROR that is in the journal of a replaced run is not replayed while its call goes on."""
    old, new, last = (tmp_path / name for name in ("old.log", "new.log", "last.log"))
    to_file(old)
    run = ENGINE.run
    append = run.keeper.append

    def slow(entry):
        append(entry)
        to_file(new)
        to_file(last)
        hydra.flush(PATIENCE)

    run.keeper.append = slow
    log.error("late")
    stats = quiet()
    while not run.keeper.ended:
        hydra.QUEUED.wait(0.01)

    assert (["late"], [], []) == (shop(old), shop(new), shop(last))
    assert 0 == stats.pending
    assert [] == [path for path in run.system.listdir(run.journal_directory) if run.id in path]


def test_records_that_a_closed_run_left_to_the_journal(log):
    """What no tier took until the close is taken over by the next run, and is in its books only."""

    def down(_):
        raise OSError("down")

    new = Sink()
    hydra.configure(destinations=[destination(down)])
    log.error("late")
    left = balanced(hydra.close(0.01))
    configure(new)
    while not new.records:
        quiet()
    stats = quiet()

    assert (1, 0, 1) == (left.accepted, left.delivered, left.pending)
    assert ["late"] == new.messages
    assert (1, 1, 0) == (stats.accepted, stats.delivered, stats.pending)


def test_journaled_call_that_is_overtaken_and_finds_no_sink(log):
    """An ERROR that comes too late for a closed sink is taken over by the run in force."""
    old, new = Sink(), Sink()
    configure(old)
    run = ENGINE.run
    append = run.keeper.append

    def slow(entry):
        append(entry)
        configure(new)
        while not run.gone:
            hydra.QUEUED.wait(0.01)

    run.keeper.append = slow
    log.error("late")
    while not new.records:
        quiet()
    stats = quiet()

    assert ([], ["late"]) == (old.messages, new.messages)
    assert (0, True) == (stats.pending, stats.balanced)


def test_records_left_to_the_journal_are_no_longer_the_closed_runs(log, tmp_path):
    """A call after the close writes itself, and not what the next run will take over."""
    blocked = tmp_path / "dir"
    blocked.touch()
    old, new = blocked / "old.log", tmp_path / "new.log"
    hydra.configure(
        destinations=[{"name": "app", "type": "file", "path": str(old), "fallback": []}]
    )
    log.error("left")
    hydra.close(0.01)
    blocked.unlink()
    ENGINE.run.services["app"].chain.hasten()
    log.info("direct")
    to_file(new)
    while not shop(new):
        quiet()

    assert (["direct"], ["left"]) == (shop(old), shop(new))
