"""
A writer's own decisions: what it acknowledges, puts back, declares, marks and waits for.
"""

from __future__ import annotations

import errno

import pytest

from fallbacks import DELIVERED, Batch, Partial, Permanent, Unknown
from fallbacks.handover import claim, waive
from fallbacks.testing import FakeClock, FaultyFilesystem, FaultyTier
from hydra.config import load
from hydra.engine import _writer
from hydra.engine._build import build
from tests._compiled import needs_compiled
from tests.engine._world import DOWN
from tests.sinks._kit import numbers, records

pytestmark = pytest.mark.integration

ALWAYS = None
"""How often a fault strikes."""


# -- the journal


def test_journal_gives_back_what_no_tier_took(world):
    """Of a batch that is taken in part, a killed process leaves the rest, and nothing else."""
    first = world(sinks=[FaultyTier([Partial([0]), DOWN, DOWN])], journal=True)
    first.system.fail("open", errno.ENOSPC, times=ALWAYS, path="/held/*")
    first.log(3, level=40)
    first.service.pump()
    first.kill()
    first.system.heal()
    second = world(copies=1, journal=True, system=first.system.process(200))
    second.run.recovery.take_over()
    second.pump(2)

    assert [0] == first.got(0)
    assert [1, 2] == second.got(0)


def test_position_vouches_for_nothing_that_is_open(world):
    """
    A file of a quorum that has a record already does not get it again from the journal,
    although a later one was acknowledged in between.
    """
    options = {"path": "/logs/app.log", "type": "file", "journal": True}
    sinks = [FaultyTier(), FaultyTier([Partial([1]), DOWN, DOWN])]
    first = world("quorum", sinks=sinks, **options)
    first.system.fail("open", errno.ENOSPC, times=ALWAYS, path="/held/*")
    first.log(2, level=40)
    first.service.pump()
    live = first.run.keeper.journal.statistics().live
    first.kill()
    first.system.heal()
    sinks[1].heal()
    second = world("quorum", sinks=sinks, system=first.system.process(200), **options)
    second.run.recovery.take_over()
    second.pump(2)

    assert 1 == live
    assert [0, 1] == numbers(records(first.system.read("/logs/app.log").splitlines()))
    assert [1, 0] == second.got(1)


def test_position_vouches_for_nothing_that_is_in_doubt(world, monkeypatch):
    """
    A record that a file has, although its write was given up, is found there by the next start,
    also when another tier has taken a later one by then.
    """
    options = {"path": "/logs/app.log", "type": "file", "journal": True}
    first = world(sinks=[FaultyTier(), FaultyTier([Partial([1]), DOWN])], **options)
    first.system.fail("open", errno.ENOSPC, times=ALWAYS, path="/held/*")
    first.log(1, level=40)
    first.service.pump()
    file = first.service.chain.tiers[0]
    real = file.write

    def given_up(batch):
        real(batch)
        return Unknown("given up")

    monkeypatch.setattr(file, "write", given_up)
    first.log(2, level=40)
    first.service.pump()
    live = first.run.keeper.journal.statistics().live
    first.kill()
    first.system.heal()
    second = world(system=first.system.process(200), **options)
    second.run.recovery.take_over()
    second.pump(2)

    assert 1 == live
    assert [0, 1, 2] == numbers(records(first.system.read("/logs/app.log").splitlines()))


def test_journal_that_cannot_be_read(world):
    """What only the journal has, and does not give back, is dropped, counted and told."""
    w = world(copies=1, hold=False, journal=True, settings={"queue": {"records": 4, "reserve": 1}})
    w.sinks[0].fail_with(DOWN)
    w.system.fail("map", errno.ENODEV, times=ALWAYS, path="/journal/*")
    receipts = [w.log(level=40) for _ in range(8)]
    w.system.fail("pread", errno.EIO, times=ALWAYS, path="/journal/*")
    w.sinks[0].heal()
    w.pump(2)

    assert list(range(5)) == w.got(0)
    assert {("error", _writer.UNREADABLE): 3} == dict(w.writer.balance().drops)
    assert [{}] * 5 + [{"app": _writer.UNREADABLE}] * 3 == [r.wait(0).dropped for r in receipts]
    w.check(accepted=8, delivered=5, dropped=3, pending=0)


def test_record_that_is_moved_while_it_is_acknowledged():
    """A destination that has a record does not get it again when the journal moves it just then."""
    fs = FaultyFilesystem()

    def start(pid, near, far):
        settings = load(
            {
                "app": "t",
                "journal": {"enabled": True, "dir": "/journal"},
                "control_records": False,
                "destinations": [
                    {
                        "name": name,
                        "sink": sink,
                        "retries": 0,
                        "fallback": [{"type": "file", "path": f"/held/{name}"}],
                    }
                    for name, sink in (("near", near), ("far", far))
                ],
            }
        )
        return build(
            settings,
            system=fs.process(pid),
            clock=FakeClock(),
            threaded=False,
            probe=lambda *_: "no",
        )

    first = start(200, near := FaultyTier(), FaultyTier())
    journal = first.keeper.journal
    real = journal.acknowledge

    def acknowledge(*args):
        real(*args)
        fs.fail("fdatasync", errno.EIO, path="/journal/*")
        # The segment is given up: what is live in it is written to another one, and it goes.
        assert not journal.sync()
        assert 1 == journal.housekeep()

    journal.acknowledge = acknowledge
    body = b'{"timestamp":"2026-01-01T00:00:00.000000Z","level":"error","logger":"s","n":0'
    first.stream(("near", "far"), guaranteed=True).send(body, 40)
    first.services["near"].pump()
    fs.kill(200)
    fs.heal()
    second = start(300, again := FaultyTier(), far := FaultyTier())
    second.recovery.take_over()
    for service in second.services.values():
        service.pump()
    second.begin_close()
    second.finish_close(0.0)

    assert [1, 0, 1] == [len(sink.taken) for sink in (near, again, far)]


# -- what had to stay


def test_lines_that_had_to_stay_are_put_back(world):
    """What no tier takes is dropped at the close only; before it waits, in its order."""
    w = world(copies=1, hold=False)
    w.sinks[0].fail_with(DOWN)
    w.log(3)
    w.pump(2)

    w.check(accepted=3, pending=3, queued=3, dropped=0)

    w.log(1)
    w.sinks[0].heal()
    w.pump(2)

    assert [0, 1, 2, 3] == w.got(0)


# -- declarations


@pytest.mark.parametrize(
    ("strategy", "reason"), [("failover", "tier:copy1"), ("mirror", "tier:copy")]
)
def test_file_lacks_what_another_tier_took(world, strategy, reason):
    """What the file will never have is declared by its numbers, with who has it instead."""
    w = world(strategy, path="/logs/app.log", type="file", hold=False, control_records=True)
    w.log(1)
    w.pump()
    w.system.fail("*", errno.EIO, times=ALWAYS, path="/logs/*")
    w.log(2)
    w.pump()
    w.system.heal()
    w.log(1)
    w.pump(2)
    found = [*w.file(), *records(w.sinks[1].taken)]
    [said] = [record for record in found if record.get("event") == "diverted"]
    [lacking] = said["drops"]

    assert [0, 3] == numbers(w.file())
    assert {1, 2} <= set(w.got(1))
    assert (2, 2, 3, reason) == (
        said["count"], lacking["from"], lacking["to"], lacking["reason"],
    )  # fmt: skip


# -- doubts


def test_held_line_that_the_sink_may_have_is_marked(world):
    """After an unknown answer the line is replayed as a possible duplicate; later ones are not."""
    w = world(sinks=[FaultyTier([Unknown("lost"), DELIVERED, DOWN])])
    w.log(1)
    w.pump(2)
    w.log(1)
    w.pump(2)
    marks = [(numbers(records(batch.lines)), batch.duplicate) for batch in w.sinks[0].batches]

    assert [([0], False), ([0], True), ([1], False), ([1], False)] == marks


def test_doubt_ends_with_the_lines_it_was_about(world):
    """Once what came back in doubt has been taken, lines that are held later are not marked."""
    w = world(sinks=[FaultyTier([Unknown("lost"), DELIVERED, DOWN])])
    w.system.fail("open", errno.ENOSPC, times=ALWAYS, path="/held/*")
    w.log(1)
    w.service.pump()
    w.system.heal()
    w.pump()
    w.log(1)
    w.pump(2)
    marks = [(numbers(records(batch.lines)), batch.duplicate) for batch in w.sinks[0].batches]

    assert [[0], [0], [1], [1]] == [n for n, _ in marks]
    assert [False, False] == [marked for _, marked in marks[2:]]


def test_line_held_by_a_late_answer_is_marked(world):
    """What was given up as lost, delivered again and then found in the store may be there twice."""
    w = world(copies=1)
    w.log(1)
    w.pump()
    line = w.sinks[0].taken[0]
    w.writer.store.write(Batch([line]))
    w.service.chain.late(1, Batch([line]), DELIVERED)
    w.pump(2)

    assert [False, True] == [batch.duplicate for batch in w.sinks[0].batches]


# -- refusals


def test_refused_lines_are_counted_once(world, monkeypatch):
    """A signal handler that raises between two refused records has none of them counted again."""
    w = world(copies=1, hold=False)
    w.sinks[0].fail_with(Permanent("no"))
    w.log(3)
    real, calls = w.writer.drop, []

    def drop(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(w.writer, "drop", drop)
    with pytest.raises(KeyboardInterrupt):
        w.service.pump()

    assert 3 == w.writer.drops.total
    w.check(accepted=3, dropped=3, pending=0)


# -- the interpreter


@needs_compiled
@pytest.mark.parametrize("records", [1, 2])
def test_claim_lasts_as_long_as_there_is_much_to_do(world, monkeypatch, records):
    """In a flood: from the first look into the queue to the end of the job."""
    monkeypatch.setattr(_writer, "_FLOOD", 2)
    seen = []

    class Seeing(FaultyTier):
        def write(self, batch):
            seen.append(waive())
            claim(0)
            return super().write(batch)

    w = world(sinks=[Seeing()])
    w.log(records)
    w.service.pump()

    assert [records == 2] == seen
    assert not waive()


# -- rest


def test_writer_wakes_up_when_there_is_something_to_do(world):
    """`wait` tells the moment from which the writer is not idle any more, neither less nor more."""
    w = world(copies=1, control_records=True)
    w.sinks[0].fail_with(DOWN)
    w.log(3)
    w.service.pump()
    seconds = w.writer.wait()

    assert w.writer.idle

    w.clock.advance(seconds * 0.99)

    assert w.writer.idle

    w.clock.advance(seconds * 0.02)

    assert not w.writer.idle
