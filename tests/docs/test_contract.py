"""
Sentences of docs/reference/contract.md that can be shown in a few lines each.

The hard cases (kills, forks, full disks, hanging sinks) have tests of their own;
the page links to them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from itertools import count
from pathlib import Path

import pytest

import hydra

pytestmark = pytest.mark.integration

PATIENCE = 20.0


class Gate:
    """A sink that takes nothing before it is opened, and tells when it was called."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.called = threading.Event()
        self._open = threading.Event()

    def __call__(self, lines: list[bytes]) -> None:
        self.called.set()
        assert self._open.wait(PATIENCE)
        self.lines += lines

    def open(self) -> None:
        self._open.set()

    @property
    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.lines]


@pytest.fixture(name="gate")
def _gate():
    """Make a gate, and open it in the end so that nothing hangs in it."""
    gate = Gate()
    yield gate
    gate.open()


def _full(gate: Gate, **queue: object) -> hydra.Logger:
    """Return a logger whose queue of two places is full and whose writer is at the gate."""
    hydra.configure(
        app="t",
        control_records=False,
        journal=False,
        destinations=[hydra.Destination(gate, name="gate", timeout=PATIENCE, fallback=[], batch=1)],
        queue={"records": 2, "reserve": 0, "block_timeout": 0.05, **queue},
    )
    log = hydra.get_logger("t")
    log.info("in flight")
    assert gate.called.wait(PATIENCE)
    log.info("first")
    log.info("second")
    return log


def _drops() -> dict[tuple[str, str], int]:
    return dict(hydra.stats().drops)


@pytest.mark.parametrize("when_full", ["block", "drop_new"])
def test_full_queue_drops_and_counts(gate: Gate, when_full: str) -> None:
    """
    Off the loop a full queue refuses new records, after the timeout or at once, and counts them.
    """
    log = _full(gate, when_full=when_full)
    receipts = [log.info("too many"), log.warning("too many")]
    gate.open()
    stats = hydra.flush()

    assert [hydra.DROPPED] * 2 == receipts
    assert {("info", "queue_full"): 1, ("warning", "queue_full"): 1} == _drops()
    assert ["in flight", "first", "second"] == gate.messages
    assert (True, 5, 3, 2) == (stats.balanced, stats.accepted, stats.delivered, stats.dropped)


def test_blocked_caller_gets_room(gate: Gate) -> None:
    """
    Off the loop a caller waits for room, and its record is taken when there is some.
    """
    log = _full(gate, block_timeout=PATIENCE)
    threading.Timer(0.01, gate.open).start()

    assert hydra.QUEUED is log.info("third")
    assert hydra.flush().destinations["gate"].blocked_seconds > 0
    assert ["in flight", "first", "second", "third"] == gate.messages


def test_parked_call_waits_for_room_when_awaited(gate: Gate) -> None:
    """
    On a loop a full queue parks the line: nothing blocks, and awaiting waits, in order.
    """
    log = _full(gate)

    async def main() -> None:
        waiting = [asyncio.create_task(log.info(name).coro()) for name in ("third", "fourth")]
        await asyncio.sleep(0)
        parked = hydra.stats().destinations["gate"].parked
        gate.open()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)

        assert 2 == parked

    asyncio.run(main())
    hydra.flush()

    assert ["in flight", "first", "second", "third", "fourth"] == gate.messages
    assert {} == _drops()


@pytest.mark.parametrize("reason", ["discarded", "cancelled"])
def test_parked_call_that_is_let_go_is_dropped(gate: Gate, reason: str) -> None:
    """
    On a loop a parked line is dropped, and counted, when its receipt is let go of or cancelled.
    """
    log = _full(gate)

    async def main() -> None:
        if reason == "discarded":
            log.info("too many")
            gc.collect()
            return
        task = asyncio.create_task(log.info("too many").coro())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gate.open()
    stats = hydra.flush()

    assert {("info", reason): 1} == _drops()
    assert stats.balanced


def test_error_is_in_the_kernel_when_the_call_returns(tmp_path: Path, gate: Gate) -> None:
    """
    An ERROR is in the journal, readable by anybody, while its destination has nothing yet.
    """
    hydra.configure(
        app="t", destinations=[hydra.Destination(gate, name="gate", timeout=PATIENCE)],
        journal={"dir": str(tmp_path / "journal")},
    )  # fmt: skip
    receipt = hydra.error("refused", order_id=42)
    (segment,) = [
        path for path in (tmp_path / "journal").glob("*.j") if b'"order_id":42' in path.read_bytes()
    ]

    assert hydra.Durability.KERNEL is receipt.durability
    assert receipt.id.encode() in segment.read_bytes()
    assert not receipt.wait(0).settled


def test_awaited_critical_is_on_the_disk(tmp_path: Path, gate: Gate) -> None:
    """
    A CRITICAL is on the disk when its await resumes, and off the loop when its call returns.
    """
    hydra.configure(
        app="t", destinations=[hydra.Destination(gate, name="gate", timeout=PATIENCE)],
        journal={"dir": str(tmp_path / "journal")},
    )  # fmt: skip

    async def main() -> hydra.Receipt:
        receipt = hydra.critical("on the loop")
        await receipt
        return receipt

    receipts = [asyncio.run(main()), hydra.critical("off the loop")]

    assert [hydra.Durability.DISK] * 2 == [receipt.durability for receipt in receipts]


def test_settlement_says_where_a_record_is(tmp_path: Path) -> None:
    """
    A receipt tells which tier has the record: the file, or the one that holds it meanwhile.
    """
    path = tmp_path / "disk" / "app.log"
    hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
    there = hydra.error("there").wait(PATIENCE)
    path.parent.rename(tmp_path / "away")
    path.parent.write_text("")
    held = hydra.error("held").wait(PATIENCE)
    path.parent.unlink()
    (tmp_path / "away").rename(path.parent)

    assert ("delivered", "file") == (there.fates["app"].state.value, there.fates["app"].tier)
    assert ("held", "fallback") == (held.fates["app"].state.value, held.fates["app"].tier)
    assert there.delivered
    assert held.delivered


def test_shared_receipt_is_a_barrier(gate: Gate) -> None:
    """
    Waiting on the shared receipt of an ordinary record waits for everything queued so far.
    """
    log = _full(gate, records=10)
    receipt = log.info("last")
    early = receipt.wait(0.01)
    gate.open()
    late = receipt.wait(PATIENCE)

    assert hydra.QUEUED is receipt
    assert (False, True) == (early.settled, late.settled)
    assert "last" == gate.messages[-1]


def test_call_after_close_is_written_directly(tmp_path: Path) -> None:
    """
    After the close a record is in the file when its call returns, without a thread.
    """
    path = tmp_path / "app.log"
    hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
    hydra.info("before")
    hydra.close()
    threads = threading.active_count()
    hydra.info("after")

    assert "after" == json.loads(path.read_bytes().splitlines()[-1])["message"]
    assert threads == threading.active_count()


def test_other_configuration_loses_nothing(tmp_path: Path) -> None:
    """
    Configuring again drains the old destinations; one thread's records keep their order.
    """
    path = tmp_path / "app.log"
    for turn in range(5):
        hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
        for number in range(20):
            hydra.info("n", n=turn * 20 + number)
    stats = hydra.close()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]

    assert list(range(100)) == [record["n"] for record in found if "n" in record]
    assert stats.balanced


def test_awaiting_lets_other_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Awaited calls give way to other tasks once for each millisecond of logging, not at each call.
    """
    # Half a millisecond for each call.
    ticks = count(1)
    monkeypatch.setattr("fallbacks.clock.SystemClock.time_ns", lambda _: next(ticks) * 500_000)
    hydra.configure(app="t", destinations=[hydra.Destination(lambda lines: None, name="none")])

    async def main() -> int:
        turns = 0
        done = False

        async def neighbour() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(neighbour())
        for _ in range(100):
            await hydra.info("busy")
        done = True
        await task
        return turns

    assert 30 <= asyncio.run(main()) <= 51
