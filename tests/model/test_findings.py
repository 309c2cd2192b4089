"""
What the model has found, each told once in the fewest steps.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from time import monotonic

import pytest

from fallbacks import Permanent, Retryable, System
from fallbacks.position import Position
from fallbacks.testing import FakeClock, FaultyFilesystem, FaultyProcess, FaultyTier
from hydra.config._settings import (
    DestinationSettings,
    FallbackSettings,
    JournalSettings,
    QueueSettings,
    Settings,
)
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build
from hydra.engine._keeper import Keeper
from hydra.engine._receipts import Durability, Receipt
from hydra.engine._run import Run
from hydra.queue import Barrier, Entry, State

pytestmark = pytest.mark.faults

ROOT = "/hydra-model"


def _file(name: str, *fallbacks: FallbackSettings) -> DestinationSettings:
    return DestinationSettings(
        name=name, type="file", path=f"{ROOT}/{name}.log", retries=0, fallback=fallbacks
    )


def _run(
    system: System,
    clock: FakeClock,
    destinations: Sequence[DestinationSettings],
    queue: QueueSettings | None = None,
) -> Run:
    settings = Settings(
        app="model",
        level=5,
        state_dir=f"{ROOT}/state",
        destinations=tuple(destinations),
        queue=queue or QueueSettings(),
        journal=JournalSettings(dir=f"{ROOT}/journal", segment=4096),
    )
    run = build(
        settings,
        system=system,
        clock=clock,
        threaded=False,
        probe=lambda place, _: None if place.origin == "state_dir" else "not in this world",
    )
    run.start(leftovers=False)
    return run


@pytest.fixture(name="fs")
def _fs() -> FaultyFilesystem:
    fs = FaultyFilesystem()
    fs.makedirs(f"{ROOT}/state/model")
    return fs


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


def _log(run: Run, level: int, seq: int = 1) -> Receipt:
    stream = run.route("model", level)
    assert stream is not None
    fields: dict[str, object] = {"seq": seq}
    tag = logger_tag("model")
    return stream.send(run.encoder.body(0, level_tag(level), tag, "m", EMPTY, EMPTY, fields), level)


def _close(run: Run) -> None:
    run.begin_close()
    run.finish_close(monotonic())


def _drain(run: Run, clock: FakeClock) -> None:
    for _ in range(5):
        clock.advance(61.0)
        for service in run.services.values():
            service.pump()


def test_error_left_in_the_journal_outlives_the_other_destination(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    The last destination to take a record does not remove what another one left in the journal.
    """
    fs.fail("open", errno.EMFILE, times=None, path=f"{ROOT}/one.log")
    both = [_file("one"), _file("two")]
    run = _run(fs.process(1), clock, both)
    _log(run, 40)
    _close(run)
    fs.heal()
    heir = _run(fs.process(2), clock, both)
    heir.recovery.take_over()
    _drain(heir, clock)

    assert [1, 1] == [fs.read(f"{ROOT}/{n}.log").count(b'"seq":1') for n in ("one", "two")]

    _close(heir)


class _Notes:
    """As much of a journal as acknowledging takes."""

    def __init__(self) -> None:
        self.broken = False
        self.noted: list[tuple[str, Position | None, list[bytes]]] = []

    def acknowledge(self, destination: str, position: Position | None, ids: list[bytes]) -> None:
        if self.broken:
            raise OSError(errno.ENOSPC, "full")
        self.noted.append((destination, position, list(ids)))


def _entry(key: bytes) -> Entry:
    entry = Entry(b"line\n", key, "1g", 1, "error", 1)
    entry.segment = object()
    return entry


def test_failed_acknowledgement_is_made_up_for_by_the_next() -> None:
    """
    A place in a file must not be noted while records before it are not acknowledged.
    """
    notes = _Notes()
    keeper = Keeper(notes, interval=1.0, threaded=False)  # type: ignore[arg-type]
    here, there = Position(1, 2, 100), Position(1, 2, 200)
    notes.broken = True
    keeper.acknowledge("app", here, [_entry(b"r.1g-1")])
    notes.broken = False
    keeper.acknowledge("other", None, [_entry(b"r.1g-1")])
    keeper.acknowledge("app", there, [_entry(b"r.1g-2")])
    keeper.acknowledge("app", there, [_entry(b"r.1g-3")])

    assert [
        ("other", None, [b"r.1g-1"]),
        ("app", there, [b"r.1g-1", b"r.1g-2"]),
        ("app", there, [b"r.1g-3"]),
    ] == notes.noted


def test_barriers_do_not_keep_the_overflow_in_the_journal(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    However many callers wait for what only the journal has, it is fetched.
    """
    queue = QueueSettings(records=4, reserve=1, bytes=4096, when_full="drop_new")
    run = _run(fs.process(1), clock, [_file("one")], queue)
    for seq in range(1, 8):
        _log(run, 40, seq)
    writer = run.services["one"].writer
    waiting = len(writer.queue.overflow)
    passed: list[int] = []
    for number in range(6):
        writer.barrier(Barrier(lambda number=number: passed.append(number)))
    _drain(run, clock)

    assert 2 == waiting
    assert list(range(6)) == sorted(passed)
    assert 7 == fs.read(f"{ROOT}/one.log").count(b'"seq":')

    _close(run)


def test_held_lines_that_cannot_be_read_are_left_for_later(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    A failing read of the fallback file costs the writer a pause, not its thread.
    """
    destination = _file("one", FallbackSettings(type="file"))
    run = _run(fs.process(1), clock, [destination])
    fs.fail("open", errno.EMFILE, times=None, path=f"{ROOT}/one.log")
    _log(run, 30)
    run.services["one"].pump()
    fs.heal()
    fs.fail("pread", errno.EIO, times=None, path="*.held")
    _drain(run, clock)
    writer = run.services["one"].writer

    assert (1, 0) == (writer.pending, writer.balance().lost)

    fs.heal()
    _drain(run, clock)

    assert (0, 1, 1) == (writer.pending, writer.delivered, writer.replayed)

    _close(run)


def test_close_that_is_robbed_goes_on(fs: FaultyFilesystem, clock: FakeClock) -> None:
    """
    When a tier hangs in the drain of the close, the watchdog steals the ticket and close ends.
    """
    run: Run

    class Hanging(FaultyTier):
        def write(self, batch: object) -> object:  # type: ignore[override]
            if not self.batches:
                self.batches.append(batch)  # type: ignore[arg-type]
                run.services["one"].rescue()
            return Retryable("late")

    first = FallbackSettings(type="sink", sink=FaultyTier([Retryable()] * 9))
    hanging = DestinationSettings(
        name="one", type="sink", sink=Hanging(), retries=0, fallback=(first,)
    )
    run = _run(fs.process(1), clock, [hanging])
    service = run.services["one"]
    service._safe = (0, 1)
    _log(run, 30)
    _close(run)

    assert (True, False, 1) == (
        service.closed,
        service.chain.ticket.held,
        service.writer.drops.total,
    )
    assert 0 == service.writer.balance().lost


def test_record_that_the_journal_moves_is_not_replayed_to_who_has_it(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    A record that the journal writes to another segment stays acknowledged, with the old one gone.
    """
    fs.fail("write", errno.ENOSPC, times=None, path=f"{ROOT}/two.log")
    both = [_file("one"), _file("two")]
    run = _run(fs.process(1), clock, both)
    _log(run, 40)
    run.services["one"].pump()
    run.services["two"].pump()
    fs.fail("fdatasync", errno.EIO, path="*.j")
    run.keeper.tend()
    fs.kill(1)
    fs.heal()
    heir = _run(fs.process(2), clock, both)
    heir.recovery.take_over()
    _drain(heir, clock)

    assert [1, 1] == [fs.read(f"{ROOT}/{n}.log").count(b'"seq":1') for n in ("one", "two")]

    _close(heir)


def test_record_that_one_destination_dropped_is_not_in_the_kernel(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    What one destination holds in a file says nothing of another one, which dropped the record.
    """
    fs.fail("map", errno.ENODEV, times=None)
    fs.fail("write", errno.ENOSPC, times=None, path="*.j")
    fs.fail("write", errno.ENOSPC, times=None, path=f"{ROOT}/*.log")
    full = QueueSettings(records=1, reserve=0, when_full="drop_new")
    settings = [_file("one", FallbackSettings(type="file")), _file("two")]
    run = _run(fs.process(1), clock, settings, full)
    _log(run, 30)
    run.services["one"].pump()
    receipt = _log(run, 40, 2)
    run.services["one"].pump()

    assert {"one": State.HELD, "two": State.DROPPED} == {
        name: fate.state for name, fate in receipt.wait(0).fates.items()
    }
    assert Durability.QUEUED is receipt.durability

    _close(run)


def test_file_that_was_read_is_known_although_its_close_fails(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    A line that may be at its destination is looked up there, and a late error forgets nothing.
    """
    run = _run(fs.process(1), clock, [_file("one")])
    _log(run, 40)
    pump = run.services["one"].pump
    acknowledge = run.keeper.acknowledge
    run.keeper.acknowledge = lambda *_: None  # type: ignore[method-assign]
    pump()
    run.keeper.acknowledge = acknowledge  # type: ignore[method-assign]
    fs.kill(1)
    fs.fail("close", errno.EIO, path=f"{ROOT}/one.log")
    heir = _run(fs.process(2), clock, [_file("one")])
    heir.recovery.take_over()
    _drain(heir, clock)

    assert 1 == fs.read(f"{ROOT}/one.log").count(b'"seq":1')

    _close(heir)


def test_refused_record_is_kept_aside_when_somebody_waits(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    An ERROR that could not be kept aside does not stay in the journal until the close.
    """
    sink = FaultyTier([Permanent("never")])
    run = _run(fs.process(1), clock, [DestinationSettings(name="one", type="sink", sink=sink)])
    writer = run.services["one"].writer
    fs.fail("open", errno.EACCES, times=None, path="*.dead")
    _log(run, 40)
    _drain(run, clock)
    before = writer.pending
    fs.heal()
    passed: list[int] = []
    writer.barrier(Barrier(lambda: passed.append(writer.pending)))
    _drain(run, clock)

    assert (1, [0]) == (before, passed)
    assert {("error", "dead_letter"): 1} == writer.drops.counts()

    _close(run)


class _Hanging(System):
    """The disk of one process: what is written to some paths is there, and then the call hangs."""

    def __init__(self, process: FaultyProcess, *paths: str) -> None:
        self._process = process
        self.paths = paths
        self.run: Run | None = None

    def __getattribute__(self, name: str) -> object:
        if name in {"write", "paths", "run", "_process"}:
            return object.__getattribute__(self, name)
        return getattr(self._process, name)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write, and be given up by the watchdog where that is wanted."""
        written = self._process.write(fd, data)
        if self._process._files[fd].path in self.paths:
            assert self.run is not None
            self.paths = ()
            self.run.services["one"].rescue()
        return written


@pytest.mark.parametrize("before", [0, 3])
def test_line_that_a_call_wrote_before_it_was_given_up_is_found_by_replay(
    fs: FaultyFilesystem, clock: FakeClock, before: int
) -> None:
    """
    A file of held lines that is begun after a doubtful write has replay look before that write.
    """
    system = _Hanging(fs.process(1))
    run = system.run = _run(system, clock, [_file("one", FallbackSettings(type="file"))])
    for seq in range(1, before + 1):
        _log(run, 20, seq)
    run.services["one"].pump()
    system.paths = (f"{ROOT}/one.log",)
    _log(run, 20, 77)
    run.services["one"].pump()
    held = run.services["one"].writer.store
    assert held is not None
    waited = held.held
    _drain(run, clock)

    assert (1, 0) == (waited, held.held)
    assert 1 == fs.read(f"{ROOT}/one.log").count(b'"seq":77')

    _close(run)


def test_line_that_came_back_in_doubt_is_found_by_replay(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    Doubt is not forgotten where nothing could hold the lines, and they are held at a later try.
    """
    system = _Hanging(fs.process(1))
    held = FallbackSettings(type="file")
    run = system.run = _run(system, clock, [_file("one", held)])
    writer = run.services["one"].writer
    _log(run, 20, 1)
    run.services["one"].pump()
    fs.fail("open", errno.EIO, times=None, path="*.held")
    system.paths = (f"{ROOT}/one.log",)
    _log(run, 20, 77)
    run.services["one"].pump()
    stayed = len(writer.queue.entries)
    fs.heal()
    fs.fail("write", errno.EIO, times=None, path=f"{ROOT}/one.log")
    clock.advance(61.0)
    run.services["one"].pump()
    fs.heal()
    _drain(run, clock)

    assert (1, 1) == (stayed, writer.replayed)
    assert 1 == fs.read(f"{ROOT}/one.log").count(b'"seq":77')

    _close(run)


def test_barrier_waits_for_what_was_fetched_from_the_journal(
    fs: FaultyFilesystem, clock: FakeClock
) -> None:
    """
    A barrier does not pass what had no room before it, and was fetched when there was room.
    """
    one = DestinationSettings(
        name="one", type="file", path=f"{ROOT}/one.log", retries=0, batch=1, fallback=()
    )
    run = _run(fs.process(1), clock, [one], QueueSettings(records=4, reserve=1, block_timeout=0.0))
    for seq in range(1, 8):
        _log(run, 40, seq)
    passed: list[bool] = []
    writer = run.services["one"].writer
    overflow = len(writer.queue.overflow)
    writer.barrier(Barrier(lambda: passed.append(True)))
    fs.fail("write", errno.EIO, when=7, times=None, path=f"{ROOT}/one.log")
    run.services["one"].pump()
    early = list(passed)
    fs.heal()
    _drain(run, clock)

    assert (2, [], [True]) == (overflow, early, passed)

    _close(run)


class _Reading(System):
    """The disk of one process, and how many bytes it has read of one path."""

    def __init__(self, process: FaultyProcess, path: str) -> None:
        self._process = process
        self._path = path
        self.bytes_read = 0

    def __getattribute__(self, name: str) -> object:
        if name in {"pread", "bytes_read", "_path", "_process"}:
            return object.__getattribute__(self, name)
        return getattr(self._process, name)

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        """Read, and count."""
        data = self._process.pread(fd, n, offset)
        if self._process._files[fd].path == self._path:
            self.bytes_read += len(data)
        return data


@pytest.mark.parametrize("there", [0.0, 0.5, 1.0])
def test_file_is_read_once_for_all_lines_in_doubt(
    fs: FaultyFilesystem, clock: FakeClock, there: float
) -> None:
    """
    Of a backlog in doubt, many chunks long, no part of the file is looked through twice.
    """
    count = 3_000
    one = [_file("one", FallbackSettings(type="file"))]
    fs.fail("open", errno.EIO, times=None, path=f"{ROOT}/one.log")
    run = _run(fs.process(1), clock, one)
    for seq in range(count):
        _log(run, 20, seq)
        if seq % 100 == 99:
            run.services["one"].pump()
    _close(run)
    fs.heal()
    held = [f"{ROOT}/state/model/held/{n}" for n in fs.listdir(f"{ROOT}/state/model/held")]
    lines = [
        line + b"\n" for path in held for line in fs.read(path).splitlines() if b'"seq":' in line
    ]
    before = b"".join(lines[: int(len(lines) * there)])
    fs.put(f"{ROOT}/one.log", before)
    system = _Reading(fs.process(2), f"{ROOT}/one.log")
    heir = _run(system, clock, one)
    heir.services["one"].adopt()
    _drain(heir, clock)
    content = fs.read(f"{ROOT}/one.log")

    assert count == len(lines) == heir.services["one"].writer.replayed
    assert [1] * count == [content.count(b'"seq":%d,' % seq) for seq in range(count)]
    # It may be asked twice how a file ends that was opened anew.
    assert system.bytes_read <= len(content) + 10

    _close(heir)
