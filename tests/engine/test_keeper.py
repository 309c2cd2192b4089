"""
The keeper of the journal, pumped by hand: what becomes of records, and of failures.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest

from fallbacks.journal import Journal, adopt
from fallbacks.system import PosixSystem
from hydra.engine import _keeper
from hydra.engine._keeper import Keeper
from hydra.queue import Entry, Fate, State

pytestmark = pytest.mark.integration

RUN = "aaaaaaaaaaaa"


class Failing(PosixSystem):
    """The real system, but for the calls in `broken`."""

    def __init__(self):
        self.broken = {}

    def _try(self, name):
        if name in self.broken:
            raise OSError(self.broken[name], os.strerror(self.broken[name]))

    def fdatasync(self, fd):
        self._try("fdatasync")
        super().fdatasync(fd)

    def open(self, path, flags, mode=0o600):
        self._try("open")
        return super().open(path, flags, mode)


def _entry_of(n, text="m"):
    key = f"{RUN}.1g-{n}"
    line = b'{"level":"error","message":"%b","id":"%b"}\n' % (text.encode(), key.encode())
    return Entry(line, key.encode(), "1g", n, "error", 1, b"app")


@pytest.fixture
def system():
    """Return a system that works until it is told otherwise."""
    return Failing()


@pytest.fixture
def keeper(tmp_path, system):
    """Return a keeper that is pumped by hand; its journal is closed at the end."""
    journal = Journal(
        str(tmp_path / "journal"),
        app="shop",
        run=RUN,
        destinations=["app"],
        quota=512 * 1024,
        segment_bytes=128 * 1024,
        system=system,
    )
    made = Keeper(journal, interval=1.0, threaded=False)
    yield made
    system.broken.clear()
    journal.close(clean=False)


def _left(tmp_path):
    """What a next start would find."""
    found = []
    for recovered in adopt(str(tmp_path / "journal"), app="shop", destinations=["app"]):
        found += recovered.pending.get("app", [])
        recovered.release()
    return found


def test_no_journal():
    """
    Without a journal everything here does nothing, and nothing fails.
    """
    keeper = Keeper(None, interval=1.0, threaded=False)
    entry = _entry_of(1)
    keeper.append(entry)
    keeper.acknowledge("app", None, [entry])
    keeper.settled(entry)
    keeper.fetch([entry])
    keeper.tend()
    keeper.close()

    assert entry.segment is None
    assert (0, 0) == (keeper.failed, keeper.degraded)


def test_record_is_in_the_kernel_when_append_returns(keeper, tmp_path):
    """
    Nothing but `append` is needed for a record to outlive the process.
    """
    entry = _entry_of(1)
    keeper.append(entry)
    keeper.journal.close(clean=False)

    assert entry.segment is not None
    assert [entry.line] == _left(tmp_path)


def test_acknowledged_record_is_not_left(keeper, tmp_path):
    """
    A record that its destination has does not come again.
    """
    first, second = _entry_of(1), _entry_of(2)
    keeper.append(first)
    keeper.append(second)
    keeper.acknowledge("app", None, [first])
    keeper.settled(first)
    keeper.journal.close(clean=False)

    assert [second.line] == _left(tmp_path)


def test_close_keeps_what_nobody_has(keeper, tmp_path):
    """
    A record that was left to the journal stays for the next start, which may have it at once.
    """
    told = []
    keeper.on_left = lambda: told.append(_left(tmp_path))
    entry = _entry_of(1)
    keeper.append(entry)
    entry.settle("app", Fate(State.JOURNAL))
    keeper.settled(entry)
    keeper.close()

    assert [[entry.line]] == told


@pytest.mark.parametrize("state", [State.DELIVERED, State.JOURNAL])
def test_close_waits_for_a_call_that_is_under_way(keeper, tmp_path, state):
    """
    Nobody can take over a record whose call is under way; its end lets go of the files.
    """
    ended = threading.Event()
    entry = _entry_of(1)
    keeper.append(entry)
    keeper.close()
    during = _left(tmp_path)
    entry.settle("app", Fate(state))
    keeper.settled(entry)
    while not keeper.ended:
        ended.wait(0.001)

    assert [] == during
    assert ([entry.line] if state is State.JOURNAL else []) == _left(tmp_path)


def test_close_waits_for_no_call_that_the_journal_refused(keeper, tmp_path):
    """
    A record that was being written when the journal closed, and was not taken, keeps nothing.
    """
    journal = keeper.journal
    first = _entry_of(1)
    keeper.append(first)
    first.settle("app", Fate(State.DELIVERED))
    keeper.settled(first)
    kept = []

    def refuse(*_):
        keeper.close()
        kept.extend((tmp_path / "journal").iterdir())
        raise OSError(errno.ENOSPC, "full")

    journal.append = refuse
    keeper.append(_entry_of(2))
    while not keeper.ended:
        threading.Event().wait(0.001)

    assert kept
    assert [] == list((tmp_path / "journal").iterdir())


def test_close_removes_what_is_settled(keeper, tmp_path):
    """
    A clean close leaves no file.
    """
    entry = _entry_of(1)
    keeper.append(entry)
    keeper.acknowledge("app", None, [entry])
    keeper.settled(entry)
    keeper.close()

    assert [] == list((tmp_path / "journal").iterdir())


def test_forced_record_is_durable_after_the_next_round(keeper):
    """
    Whoever asks for the disk is told when it has answered.
    """
    entry, told = _entry_of(1), []
    keeper.append(entry)
    entry.notify(lambda: told.append(entry.durable))
    keeper.force(entry)
    keeper.tend()

    assert entry.durable
    assert [True] == told


def test_disk_that_refuses(keeper, system, tmp_path):
    """
    After a failed fdatasync nobody is told D; the record is written again and kept.
    """
    entry = _entry_of(1)
    keeper.append(entry)
    keeper.force(entry)
    system.broken["fdatasync"] = errno.EIO
    keeper.tend()

    assert not entry.durable
    system.broken.clear()
    keeper.force(entry)
    keeper.tend()

    assert entry.durable
    keeper.journal.close(clean=False)
    assert [entry.line] == _left(tmp_path)


def test_quota_that_is_used_up(keeper):
    """
    A record that the journal cannot take is counted and stays without a segment.
    """
    entries = [_entry_of(n, "x" * 30_000) for n in range(1, 30)]
    for entry in entries:
        keeper.append(entry)
    refused = [entry for entry in entries if entry.segment is None]

    assert 0 < len(refused) < 29
    assert len(refused) == keeper.failed
    assert entries[-len(refused) :] == refused


def test_room_is_made_when_records_are_settled(keeper):
    """
    Settled segments go, and the quota is free again.
    """
    entries = [_entry_of(n, "x" * 30_000) for n in range(1, 30)]
    for entry in entries:
        keeper.append(entry)
        keeper.acknowledge("app", None, [entry])
        keeper.settled(entry)
        keeper.tend()

    assert 0 == keeper.failed
    assert 2 >= keeper.journal.statistics().segments


def test_nothing_goes_before_the_destination_is_on_the_disk(keeper):
    """
    Segments whose records are settled stay until what was delivered is forced to the disk.
    """
    on_disk = False
    keeper._settle = lambda: on_disk
    for n in range(1, 30):
        entry = _entry_of(n, "x" * 10_000)
        keeper.append(entry)
        keeper.acknowledge("app", None, [entry])
        keeper.settled(entry)
    keeper.tend()
    before = keeper.journal.statistics().segments
    on_disk = True
    keeper.tend()

    assert before >= 3 > keeper.journal.statistics().segments


def test_acknowledgement_that_failed_is_made_up_for(keeper, tmp_path, monkeypatch):
    """
    What could not be noted is noted with the next acknowledgement, and counted.
    """
    entries = [_entry_of(1), _entry_of(2)]
    for entry in entries:
        keeper.append(entry)

    def full(*args):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(keeper.journal, "acknowledge", full)
        keeper.acknowledge("app", None, entries[:1])
    keeper.acknowledge("app", None, entries[1:])
    keeper.journal.close(clean=False)

    assert [] == _left(tmp_path)


def test_no_descriptor_to_be_had(keeper, system):
    """
    A journal that cannot make its file costs a counted K, never an exception.
    """
    system.broken["open"] = errno.EMFILE
    entry = _entry_of(1)
    keeper.append(entry)

    assert entry.segment is None
    assert 1 == keeper.failed


def test_line_that_only_the_journal_has(keeper):
    """
    An entry that gave its line away gets it back.
    """
    entry = _entry_of(1)
    keeper.append(entry)
    line, entry.line = entry.line, b""
    keeper.fetch([entry])

    assert line == entry.line


def test_stalled_page_cache_spares_the_event_loop(keeper, monkeypatch):
    """
    After two appends in a row that took long, calls on a loop stay away for five seconds.

    One alone may be a busy machine. Those that stay away are counted.
    """
    clock = [100.0]

    def now():
        # Every look at the clock costs more than an append may take.
        clock[0] += 0.3
        return clock[0]

    monkeypatch.setattr(_keeper, "monotonic", now)
    once, on_loop, off_loop, later = map(_entry_of, (2, 3, 4, 5))

    async def log(entry):
        keeper.append(entry)

    keeper.append(_entry_of(1))
    asyncio.run(log(once))
    asyncio.run(log(on_loop))
    degraded = keeper.degraded
    keeper.append(off_loop)
    monkeypatch.setattr(_keeper, "monotonic", lambda: clock[0] + 6.0)
    asyncio.run(log(later))

    assert once.segment is not None
    assert on_loop.segment is None
    assert 1 == degraded == keeper.degraded
    assert off_loop.segment is not None
    assert later.segment is not None


def test_nothing_is_taken_after_close(keeper):
    """
    A closed keeper leaves records to the callers.
    """
    keeper.append(_entry_of(1))
    keeper.close()
    late = _entry_of(2)
    keeper.append(late)

    assert late.segment is None
    assert not keeper.running
