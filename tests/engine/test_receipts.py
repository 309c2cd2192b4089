"""
What a call answers: shared constants, and receipts that know their record.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import time

import pytest
import trio

import hydra
from fallbacks.outcomes import Permanent
from hydra.engine import OwnReceipt
from hydra.processors import DropEvent
from tests.contract.kit import PATIENCE, Sink, closed, configure, destination, quiet

pytestmark = pytest.mark.integration

CONSTANTS = {
    "queued": hydra.QUEUED,
    "filtered": hydra.FILTERED,
    "sampled": hydra.SAMPLED,
    "dropped": hydra.DROPPED,
}


@pytest.fixture(name="sink")
def _sink() -> Sink:
    sink = Sink()
    configure(sink, level="info")
    return sink


@pytest.fixture(name="log")
def _log(sink) -> hydra.Logger:
    return hydra.get_logger("shop")


@pytest.mark.parametrize("name", CONSTANTS)
def test_shared_constants(name):
    """They have no id, tell their name, and stay themselves when copied or pickled."""
    receipt = CONSTANTS[name]

    assert receipt.id is None
    assert f"<Receipt {name}>" == repr(receipt)
    assert receipt is copy.copy(receipt) is copy.deepcopy(receipt)
    assert receipt is pickle.loads(pickle.dumps(receipt))
    assert receipt.durability is (hydra.Durability.QUEUED if name == "queued" else None)
    assert receipt.wait(0).settled


def test_answers_below_error(log, sink):
    """A queued record and one that nobody wants answer by constants; nothing is allocated."""

    def sampler(logger, method, event):
        if event["event"] == "sampled":
            raise DropEvent
        return event

    configure(sink, level="info", processors=[sampler])

    assert log.info("placed") is hydra.QUEUED
    assert log.debug("detail") is hydra.FILTERED
    assert log.info("sampled") is hydra.SAMPLED
    stats = quiet()
    assert (1, 1) == (stats.accepted, stats.suppressed)
    # A filtered or sampled call uses no number.
    assert ["1"] == [each["id"].rpartition("-")[2] for each in sink.records]


def test_receipt_of_an_error(log, sink):
    """It has the id of the line, is in the kernel at once, and ends at the sink."""
    sink.shut()
    receipt = log.error("failed")
    assert isinstance(receipt, OwnReceipt)
    assert receipt.durability is hydra.Durability.KERNEL
    assert f"<Receipt {receipt.id} K>" == repr(receipt)
    pending = receipt.wait(0)
    assert (False, False, {}) == (pending.settled, pending.delivered, pending.dropped)
    assert "pending" == pending.fates["app"].state.value
    sink.open()
    told = receipt.wait(PATIENCE)

    assert receipt.id == told.id == sink.records[0]["id"]
    assert told.delivered
    assert ("delivered", "Sink") == (told.fates["app"].state.value, told.fates["app"].tier)
    assert receipt.durability in {hydra.Durability.SINK, hydra.Durability.DISK}


def test_receipt_of_a_critical(log, sink):
    """Off the loop the call waits for the disk, and says that it has it."""
    receipt = log.critical("down")

    assert receipt.durability is hydra.Durability.DISK


@pytest.mark.parametrize("run", [lambda main: asyncio.run(main()), trio.run])
def test_critical_on_a_loop(run, log):
    """On a loop the call returns with K, and awaiting it waits for D."""

    async def main():
        receipt = log.critical("down")
        before = receipt.durability
        await receipt
        return before, receipt.durability

    before, after = run(main)

    assert before in {hydra.Durability.KERNEL, hydra.Durability.DISK}
    assert after is hydra.Durability.DISK


def test_critical_with_a_disk_that_hangs(log, sink, monkeypatch):
    """Fdatasync is waited for 250 ms at most, by the call and by awaiting; the receipt says K."""
    import threading

    from fallbacks.system import SYSTEM

    released = threading.Event()
    log.error("opens the journal")
    real = type(SYSTEM).fdatasync
    monkeypatch.setattr(
        type(SYSTEM), "fdatasync", lambda self, fd: released.wait(30) and real(self, fd)
    )
    began = time.monotonic()
    receipt = log.critical("down")
    blocked = time.monotonic() - began

    async def main():
        began = time.monotonic()
        receipt = log.critical("down")
        called = time.monotonic() - began
        await receipt
        return called, time.monotonic() - began, receipt.durability

    called, awaited, durability = asyncio.run(main())
    released.set()

    assert 0.2 < blocked < 2.0
    assert receipt.durability is not None
    assert called < 0.2
    assert 0.2 < awaited < 2.0
    assert durability in {hydra.Durability.KERNEL, hydra.Durability.SINK}


def test_tracked_call(log, sink):
    """A tracked logger's every call can be asked about; without journal it is Q, then S."""
    sink.shut()
    receipt = log.tracked().info("watched")
    assert receipt.durability is hydra.Durability.QUEUED
    sink.open()
    told = receipt.wait(PATIENCE)

    assert told.delivered
    assert receipt.durability is hydra.Durability.SINK
    assert log.tracked().bind(a=1).info("watched").id
    assert log.tracked().debug("detail") is hydra.FILTERED


@pytest.mark.parametrize("run", [lambda main: asyncio.run(main()), trio.run])
def test_delivered_in_a_task(run, log, sink):
    """`delivered` waits on the loop without blocking it, and gives up when its time is up."""

    async def main():
        sink.shut()
        receipt = log.error("failed")
        early = await receipt.delivered(0.01)
        sink.open()
        return early, await receipt.delivered(PATIENCE), await hydra.QUEUED.delivered(PATIENCE)

    early, late, barrier = run(main)

    assert (False, True, True) == (early.settled, late.delivered, barrier.settled)


def test_receipt_as_a_task(log):
    """`coro()` is a real coroutine, for create_task and gather."""

    async def main():
        return await asyncio.gather(
            asyncio.create_task(log.info("placed").coro()),
            asyncio.create_task(log.error("failed").coro()),
            asyncio.wait_for(log.tracked().info("watched"), 5),
        )

    assert [None, None, None] == asyncio.run(main())


def test_queued_is_a_barrier(log, sink):
    """Waiting on QUEUED waits for everything that was queued before."""
    sink.shut()
    receipt, *_ = [log.info("placed", n=n) for n in range(100)]
    assert not receipt.wait(0.01).settled
    sink.open()

    assert receipt.wait(PATIENCE).settled
    assert 100 == len(sink.records)


def test_receipt_after_close(log, sink):
    """A receipt outlives the run it belongs to."""
    receipt = log.error("failed")
    closed()

    assert receipt.wait(0).delivered
    assert repr(receipt).startswith(f"<Receipt {receipt.id} ")


def test_receipt_of_a_record_for_two_destinations():
    """It is settled when every destination is, and names each one's tier."""
    one, two = Sink(), Sink()
    configure(one, two)
    two.shut()
    receipt = hydra.get_logger("shop").error("failed")
    while not one.records:
        time.sleep(0)
    early = receipt.wait(0.01)
    two.open()
    late = receipt.wait(PATIENCE)

    assert not early.settled
    assert ["app", "app1"] == list(late.fates)
    assert late.delivered


def test_receipt_of_a_record_that_is_held(tmp_path):
    """A record in a fallback file counts as delivered for now, and the receipt says held."""

    def broken(lines):
        raise ConnectionError("nobody there")

    hydra.configure(
        destinations=[
            {
                "name": "app", "type": "sink", "sink": broken, "retries": 0,
                "fallback": [{"type": "file", "path": str(tmp_path / "held")}],
            }
        ]
    )  # fmt: skip
    receipt = hydra.get_logger("shop").tracked().info("watched")
    told = receipt.wait(PATIENCE)

    assert told.delivered
    assert "held" == told.fates["app"].state.value
    assert receipt.durability is hydra.Durability.KERNEL


def test_receipt_of_a_record_that_is_dropped():
    """What nobody takes is dropped at the close, and the receipt says why."""

    def broken(lines):
        return Permanent("never")

    hydra.configure(
        journal={"enabled": False},
        destinations=[destination(broken, retries=0, timeout=0.2)],
        exit_timeout=0.2,
    )
    receipt = hydra.get_logger("shop").tracked().info("watched")
    stats = hydra.close(1.0)
    told = receipt.wait(0)

    assert stats.balanced
    assert told.settled
    assert not told.delivered
    assert set(told.dropped) == {"app"}
    assert sum(stats.drops.values()) == 1


def test_dropped_somewhere_is_not_safe():
    """A record that one destination refuses for good is Q, although the other one has it."""
    sink = Sink(shut=True)

    def broken(lines):
        return Permanent("never")

    hydra.configure(destinations=[destination(sink, "app"), destination(broken, "strict")])
    receipt = hydra.get_logger("shop").error("failed")
    at_once = receipt.durability
    sink.open()
    told = receipt.wait(PATIENCE)

    assert {"app": "delivered", "strict": "dropped"} == {
        name: fate.state.value for name, fate in told.fates.items()
    }
    assert (hydra.Durability.KERNEL, hydra.Durability.QUEUED) == (at_once, receipt.durability)
