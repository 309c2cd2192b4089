"""
Records that are refused for good, while disks fill up and processes die.
"""

from __future__ import annotations

import errno

import pytest

from fallbacks.batch import Batch
from fallbacks.dead_letters import prefix_of, read
from fallbacks.outcomes import DELIVERED, Outcome, Permanent, Retryable
from fallbacks.system import System
from fallbacks.testing import FakeClock, FaultyFilesystem, Killed
from fallbacks.tier import Kind
from hydra.config import DestinationSettings, JournalSettings, Settings
from hydra.core.levels import ERROR, INFO, level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build
from hydra.engine._reading import read as read_stats
from hydra.engine._run import Run

pytestmark = pytest.mark.faults

RECORDS = 6
BAD = {2, 5}


class Schema:
    """A receiver that outlives processes; it refuses batches with a bad record in them."""

    name = "collector"
    kind = Kind.FINAL

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.down = False
        self.most: int | None = None
        """How many lines it takes before it is down; None: any number."""

    def write(self, batch: Batch) -> Outcome:
        if self.down or (self.most is not None and len(self.taken) >= self.most):
            return Retryable("down")
        if any(b'"bad":true' in line for line in batch):
            return Permanent("not of the schema")
        self.taken += batch
        return DELIVERED

    def close(self) -> None:
        """Do nothing."""


def start(system: System, sink: Schema) -> Run:
    """Return a run of one sink with a journal, on *system*."""
    settings = Settings(
        app="shop",
        destinations=(DestinationSettings(name="app", type="sink", sink=sink, retries=0),),
        journal=JournalSettings(enabled=True, dir="/state/journal"),
        state_dir="/state",
    )
    return build(settings, system=system, clock=FakeClock(), threaded=False, probe=lambda *_: None)


def log(run: Run, number: int, *, bad: bool, level: int = ERROR) -> bytes:
    """Log one record and return its id."""
    stream = run.route("shop", level)
    assert stream is not None
    body = run.encoder.body(
        number, level_tag(level), logger_tag("shop"), "m", EMPTY, EMPTY, {"n": number, "bad": bad}
    )
    receipt = stream.send(body, level, True)
    assert receipt.id is not None
    return receipt.id.encode()


def pump(run: Run) -> None:
    """Run every writer until there is nothing to do."""
    for service in run.services.values():
        service.pump()


def aside(disk: FaultyFilesystem) -> list[str]:
    """Return the ids of what is kept aside, each as often as a file says it."""
    return [
        letter.id
        for path in disk.files()
        if prefix_of(path) is not None
        for letter in read(disk, path).letters
    ]


def number_of(line: bytes) -> int:
    """Return the field n of a line."""
    return int(line.split(b'"n":')[1].split(b",")[0])


@pytest.mark.parametrize("down", [False, True], ids=["live", "replayed"])
def test_killed_at_any_call(down: bool) -> None:
    """
    Whenever the process dies, each bad ERROR is kept aside in the end, once by its id, and each
    good one is delivered: nothing is acknowledged before it is in the kernel.
    """
    for n in range(1, 400):
        disk, sink = FaultyFilesystem(), Schema()
        dying = disk.process(101)
        run = start(dying, sink)
        sink.down = down
        keys = [log(run, number, bad=number in BAD) for number in range(RECORDS)]
        if down:
            pump(run)
            sink.down = False
            run.clock.advance(60.0)
        dying.kill_at(n, torn=30)
        try:
            pump(run)
        except Killed:
            pass
        disk.kill(101)
        heir = start(disk.process(102), sink)
        heir.recovery.take_over()
        for _ in range(3):
            heir.clock.advance(60.0)
            pump(heir)

        assert {keys[number].decode() for number in BAD} == set(aside(disk)), n
        assert len(BAD) == len(aside(disk))
        assert set(range(RECORDS)) - BAD == {
            number_of(line) for line in sink.taken if b"hydra.ledger" not in line
        }
        assert read_stats([heir]).balanced
        if dying.done < n:
            break
    assert n > 10


def test_disk_is_full_while_a_record_is_kept_aside() -> None:
    """
    An ERROR stays in the journal, pending, until there is room; what is below is dropped.
    """
    disk, sink = FaultyFilesystem(), Schema()
    run = start(disk.process(101), sink)
    disk.fail("write", errno.ENOSPC, times=None, path="*.dead")
    log(run, 1, bad=True, level=INFO)
    key = log(run, 2, bad=True)
    pump(run)
    stats = read_stats([run])

    assert {("info", "refused"): 1} == dict(stats.drops)
    assert (1, True, []) == (stats.pending, stats.balanced, aside(disk))

    disk.heal()
    log(run, 3, bad=True, level=INFO)
    pump(run)
    stats = read_stats([run])

    assert (0, True) == (stats.pending, stats.balanced)
    assert key.decode() == aside(disk)[0]
    assert 2 == stats.destinations["app"].dead_letters


def test_disk_is_full_and_the_process_is_killed() -> None:
    """
    What stayed in the journal is kept aside by the next start.
    """
    disk, sink = FaultyFilesystem(), Schema()
    run = start(disk.process(101), sink)
    disk.fail("write", errno.ENOSPC, times=None, path="*.dead")
    key = log(run, 1, bad=True)
    pump(run)
    disk.kill(101)
    disk.heal()
    heir = start(disk.process(102), sink)
    heir.recovery.take_over()
    pump(heir)

    assert [key.decode()] == aside(disk)
    assert read_stats([heir]).balanced


def test_disk_is_full_when_a_held_record_is_refused() -> None:
    """
    A held ERROR stays held, and its good neighbours are delivered once.
    """
    disk, sink = FaultyFilesystem(), Schema()
    run = start(disk.process(101), sink)
    sink.down = True
    keys = [log(run, number, bad=number == 0) for number in range(3)]
    pump(run)
    sink.down = False
    disk.fail("write", errno.ENOSPC, times=None, path="*.dead")
    run.clock.advance(60.0)
    pump(run)
    stats = read_stats([run])

    assert (3, 0, True, []) == (stats.held, stats.dropped, stats.balanced, aside(disk))
    assert [1, 2] == [number_of(line) for line in sink.taken]

    disk.heal()
    run.clock.advance(60.0)
    pump(run)
    stats = read_stats([run])

    assert [keys[0].decode()] == aside(disk)
    assert [1, 2] == [number_of(line) for line in sink.taken if b"hydra.ledger" not in line]
    assert (0, 0, 1, 2) == (stats.held, stats.pending, stats.dropped, stats.replayed)


def test_replay_that_breaks_off_behind_a_bad_record() -> None:
    """
    What was refused is counted once, while the store has it until its neighbours are delivered.
    """
    disk, sink = FaultyFilesystem(), Schema()
    run = start(disk.process(101), sink)
    sink.down = True
    for number in range(4):
        log(run, number, bad=number == 0)
    pump(run)
    sink.down = False
    sink.most = 1
    run.clock.advance(60.0)
    pump(run)
    stats = read_stats([run])

    assert (1, 3, True) == (stats.dropped, stats.pending, stats.balanced)

    sink.most = None
    run.clock.advance(60.0)
    pump(run)
    stats = read_stats([run])

    assert (1, 0, 3, True) == (stats.dropped, stats.pending, stats.delivered, stats.balanced)
    assert 1 == len(aside(disk))
