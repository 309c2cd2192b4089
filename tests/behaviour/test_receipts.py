"""
Receipts: what a call answers, how safe the record is, and what became of it.
"""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import re
import threading
import time

import pytest
import trio

import hydra
from hydra.queue import State
from tests.contract import kit

pytestmark = pytest.mark.integration

ID = re.compile(r"[a-z0-9]{12}\.\d+[rg]-\d+")
CONSTANTS = (hydra.QUEUED, hydra.FILTERED, hydra.SAMPLED, hydra.DROPPED)


@pytest.mark.parametrize("receipt", CONSTANTS, ids=repr)
def test_constants_stay_themselves(receipt):
    """A shared constant survives pickle and copy as the same object, and has no id."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert receipt is pickle.loads(pickle.dumps(receipt, protocol))
    assert receipt is copy.copy(receipt)
    assert receipt is copy.deepcopy(receipt)
    assert receipt.id is None
    assert re.fullmatch(r"<Receipt (queued|filtered|sampled|dropped)>", repr(receipt))


def test_answers_below_error(sink, call_style):
    """Below ERROR a call answers with one of four shared constants."""

    def unwanted(log, method, event):
        return None if event["event"] == "unwanted" else event

    kit.configure(sink, level="info", processors=[unwanted])

    async def scenario(call):
        return [
            await call(hydra.info("queued")),
            await call(hydra.warning("queued")),
            await call(hydra.debug("filtered")),
            await call(hydra.info("unwanted")),
            await call(hydra.log(25, "queued")),
        ]

    answers = call_style.run(scenario)
    stats = kit.quiet()

    expected = [hydra.QUEUED, hydra.QUEUED, hydra.FILTERED, hydra.SAMPLED, hydra.QUEUED]
    assert all(one is other for one, other in zip(expected, answers, strict=True))
    assert (3, 3, 1) == (stats.accepted, stats.delivered, stats.suppressed)
    assert [1, 2, 3] == [int(record["id"].rpartition("-")[2]) for record in sink.records]


def test_dropped_is_answered_and_counted(sink):
    """A full queue that takes no more answers DROPPED, which asks nothing of anybody."""
    kit.configure(sink, queue={"records": 10, "reserve": 1, "when_full": "drop_new"})
    kit.block_writer(sink, hydra.get_logger("shop"))
    answers = [hydra.info("n") for _ in range(15)]

    assert [hydra.QUEUED] * 10 + [hydra.DROPPED] * 5 == answers
    assert hydra.DROPPED.durability is None
    assert all(receipt.wait(0).settled for receipt in answers[10:])
    assert not any(receipt.wait(0).delivered for receipt in answers[10:])
    assert not asyncio.run(hydra.DROPPED.delivered(0)).delivered
    sink.open()
    assert {("info", "queue_full"): 5} == kit.quiet().drops


def test_ids_name_the_line(sink, call_style):
    """The id of a receipt of one's own is the id in the line."""
    kit.configure(sink)
    log = hydra.get_logger("shop").tracked()

    async def scenario(call):
        receipts = [
            await call(log.info("a")),
            await call(log.error("b")),
            await call(log.warn("c")),
        ]
        assert all(receipt.id in repr(receipt) for receipt in receipts)
        return [receipt.id for receipt in receipts]

    ids = call_style.run(scenario)
    kit.quiet()

    assert ids == [record["id"] for record in sink.records]
    assert all(ID.fullmatch(each) for each in ids)


def test_durability_of_each_level_on_the_way(sink):
    """Q in the queue, K in the journal, D after fdatasync, S when the sink has it."""
    kit.configure(sink)
    log = hydra.get_logger("shop").tracked()
    kit.block_writer(sink, hydra.get_logger("shop"))

    info, error, critical = log.info("i"), log.error("e"), log.critical("c")

    assert ["Q", "K", "D"] == [receipt.durability.value for receipt in (info, error, critical)]
    assert hydra.Durability.QUEUED is hydra.QUEUED.durability
    sink.open()
    kit.quiet()
    assert info.durability.value == "S"
    # D may have been reached meanwhile, by the group commit.
    assert error.durability.value in "SD"
    assert critical.durability.value == "D"


def test_durability_without_a_journal(sink):
    """Without a journal an ERROR off the loop waits for the sink; on a loop it says Q."""
    kit.configure(sink, journal={"enabled": False}, queue={"block_timeout": 5.0})

    assert hydra.error("e").durability is hydra.Durability.SINK

    kit.block_writer(sink, hydra.get_logger("shop"))

    async def scenario():
        began = time.monotonic()
        receipt = hydra.error("e")
        await receipt
        return receipt.durability, time.monotonic() - began

    durability, took = asyncio.run(scenario())
    assert durability is hydra.Durability.QUEUED
    assert took < 1.0
    sink.open()
    assert kit.quiet().delivered == 3


@pytest.mark.parametrize("level", ["info", "error"])
def test_wait_gives_up_in_time(level, sink):
    """`wait` and `delivered` end with their timeout and say what is pending."""
    kit.configure(sink)
    log = hydra.get_logger("shop").tracked()
    kit.block_writer(sink, log)
    receipt = log.log(level, "slow")

    async def ask():
        return await receipt.delivered(0.02)

    for found in (receipt.wait(0.02), receipt.wait(0), receipt.wait(-1), asyncio.run(ask()),
                  trio.run(ask)):  # fmt: skip
        assert not found.settled
        assert not found.delivered
        assert {} == found.dropped
        assert State.PENDING is found.fates["app"].state
        assert receipt.id == found.id

    sink.open()
    assert receipt.wait(kit.PATIENCE).delivered
    assert asyncio.run(ask()).delivered
    assert trio.run(ask).delivered


def test_waiting_for_queued_is_a_barrier(sink):
    """`wait` on the constant QUEUED waits for everything queued so far, and no longer."""
    kit.configure(sink)
    kit.block_writer(sink, hydra.get_logger("shop"))
    receipt = hydra.info("n")

    async def ask(seconds):
        return (await receipt.delivered(seconds)).settled

    assert not receipt.wait(0.02).settled
    assert not asyncio.run(ask(0.02))
    assert not trio.run(ask, 0.02)
    sink.open()
    assert receipt.wait(kit.PATIENCE).settled
    assert ["hostage", "n"] == sink.messages
    assert asyncio.run(ask(kit.PATIENCE))
    assert {} == receipt.wait(kit.PATIENCE).fates


def test_many_wait_for_one_record(sink):
    """Any number of threads and tasks of any loop may wait for the same receipt."""
    kit.configure(sink)
    log = hydra.get_logger("shop").tracked()
    kit.block_writer(sink, log)
    receipt = log.info("awaited")
    found = []
    started = threading.Barrier(7)

    async def ask():
        started.wait()
        found.append(await receipt.delivered(kit.PATIENCE))

    def block():
        started.wait()
        found.append(receipt.wait(kit.PATIENCE))

    works = [block, block, lambda: asyncio.run(ask()), lambda: asyncio.run(ask())]
    works += [lambda: trio.run(ask), lambda: trio.run(ask)]
    threads = [threading.Thread(target=work) for work in works]
    for each in threads:
        each.start()
    started.wait()
    sink.open()
    for each in threads:
        each.join()

    assert [True] * 6 == [settlement.delivered for settlement in found]


def test_settlement_names_each_destination(sink, other):
    """A record for two destinations settles at both; one that dropped it says why."""
    queue = {"records": 5, "reserve": 1, "when_full": "drop_new"}
    hydra.configure(
        destinations=[
            kit.destination(sink, "a", queue=queue),
            kit.destination(other, "b", queue={"records": 50}),
        ]
    )
    log = hydra.get_logger("shop").tracked()
    kit.block_writer(sink, log)
    for _ in range(5):
        log.info("fill")
    receipt = log.info("torn")
    found = receipt.wait(0.5)
    sink.open()
    kit.quiet()
    found = receipt.wait(kit.PATIENCE)

    assert ["a", "b"] == list(found.fates)
    assert (State.DROPPED, State.DELIVERED) == tuple(f.state for f in found.fates.values())
    assert {"a": "queue_full"} == found.dropped
    assert (True, False) == (found.settled, found.delivered)
    assert "torn" not in sink.messages
    assert "torn" in other.messages


def test_tracked_loggers_beget_tracked_loggers(sink):
    """What is bound to a tracked logger stays tracked; the logger it came from is as it was."""
    kit.configure(sink)
    log = hydra.get_logger("shop", a=1)
    tracked = log.tracked().bind(b=2).unbind("a")

    assert hydra.QUEUED is log.info("plain")
    receipt = tracked.info("own")
    assert receipt.wait(kit.PATIENCE).delivered
    assert (None, 2) == (sink.records[-1].get("a"), sink.records[-1]["b"])
    assert hydra.FILTERED is hydra.get_logger("x").tracked().log(1, "too low")


def test_settled_receipts_outlive_close(sink):
    """A receipt can be asked after close, and tells what it told before."""
    kit.configure(sink)
    receipt = hydra.error("e")
    kit.closed()

    assert receipt.wait(0).delivered
    assert asyncio.run(receipt.delivered(0)).delivered
    assert trio.run(receipt.delivered, 0).delivered


class Disk:
    """An fdatasync that hangs until it is told to go on."""

    def __init__(self, monkeypatch):
        self.free = threading.Event()
        self.calls = 0
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, fd):
        self.calls += 1
        self.free.wait(10)
        self._real(fd)


@pytest.mark.parametrize("style", ["plain", "asyncio", "trio"])
def test_critical_waits_for_a_slow_disk_250_ms(style, sink, monkeypatch):
    """CRITICAL waits at most 250 ms for fdatasync, at rest, and the receipt says K."""
    kit.configure(sink)
    disk = Disk(monkeypatch)

    async def scenario():
        receipt = hydra.critical("c")
        await receipt
        return receipt

    began, spent = time.monotonic(), time.process_time()
    if style == "plain":
        receipt = hydra.critical("c")
    else:
        receipt = asyncio.run(scenario()) if style == "asyncio" else trio.run(scenario)
    took, spent = time.monotonic() - began, time.process_time() - spent
    durability = receipt.durability
    calls = disk.calls
    disk.free.set()

    # The lower bound is what is tested: it did wait. The upper one is for a busy machine.
    assert 0.2 <= took < 2.0
    assert calls == 1
    assert durability in {hydra.Durability.KERNEL, hydra.Durability.SINK}
    assert spent < 0.1
    assert kit.quiet().delivered == 1


def test_critical_on_a_loop_does_not_block_it(sink, monkeypatch):
    """On a loop the call itself returns at once; only awaiting it waits for the disk."""
    kit.configure(sink)
    disk = Disk(monkeypatch)

    async def scenario():
        receipts = [hydra.critical("c") for _ in range(20)]
        task = asyncio.create_task(receipts[-1].coro())
        await asyncio.sleep(0)
        waiting = not task.done()
        disk.free.set()
        await task
        return waiting, receipts[-1].durability

    assert (True, hydra.Durability.DISK) == asyncio.run(scenario())
    kit.quiet()
