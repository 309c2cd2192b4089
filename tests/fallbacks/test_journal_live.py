"""
The live journal: segments come, move and go; nothing unsettled goes with them.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from fallbacks.journal import Journal, JournalFull, Refusals, adopt, inspect
from fallbacks.journal.frames import FrameKind, encode_frame
from fallbacks.journal.segment import Segment, SegmentFull
from fallbacks.position import Position
from fallbacks.system import SYSTEM
from fallbacks.testing.faulty_filesystem import FaultyFilesystem, FaultyProcess

pytestmark = pytest.mark.unit

DIRECTORY = "/state/journal"


@dataclass(frozen=True)
class Entry:
    tag: bytes
    line: bytes | None


def line(key: bytes) -> bytes:
    """Return a canonical line."""
    return b'{"timestamp":"t","message":"%b","id":"%b"}\n' % (b"x" * 60, key)


def key(n: int) -> bytes:
    """Return an id."""
    return b"runa.1g-%d" % n


def journal_on(system: FaultyProcess, *, quota: int = 1 << 20, size: int = 600) -> Journal:
    """Return a journal with small segments."""
    return Journal(
        DIRECTORY,
        app="shop",
        run="runa",
        destinations=["app", "audit"],
        quota=quota,
        segment_bytes=size,
        system=system,
    )


def put(journal: Journal, n: int, tag: bytes = b"app", *, forget: bool = False) -> Segment:
    """Append a record."""
    entry = Entry(tag, None if forget else line(key(n)))
    return journal.append(key(n), tag, line(key(n)), entry)


def pending(fs: FaultyFilesystem, *names: str) -> dict[str, list[bytes]]:
    """Return what a start would find, and leave it."""
    found: dict[str, list[bytes]] = {}
    wanted = names or ("app", "audit")
    for recovered in adopt(DIRECTORY, app="shop", destinations=wanted, system=fs):
        for name, lines in recovered.pending.items():
            found.setdefault(name, []).extend(lines)
        recovered.release()
    return found


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return a healthy file system."""
    return FaultyFilesystem()


def test_nothing_is_created_before_the_first_record(fs: FaultyFilesystem) -> None:
    """A run without errors leaves no trace."""
    journal = journal_on(fs)
    journal.acknowledge("app", None, [key(1)])
    journal.housekeep()
    spare, synced = journal.make_spare(), journal.sync()
    journal.close(clean=True)

    assert (False, True, 0) == (spare, synced, fs.operations)


def test_clean_close_leaves_no_file(fs: FaultyFilesystem) -> None:
    """After a clean close the directory is empty and no descriptor is open."""
    journal = journal_on(fs)
    for n in range(20):
        put(journal, n)
    journal.make_spare()
    journal.close(clean=True)
    journal.close(clean=True)

    assert ([], 0) == (fs.files(), fs.descriptors())
    with pytest.raises(OSError, match="closed"):
        put(journal, 21)


def test_file_is_private_and_named_after_its_owner(fs: FaultyFilesystem) -> None:
    """Name and mode are as published."""
    put(journal_on(fs), 1)

    assert ["/state/journal/shop.00000001.100.1.runa.1.j"] == fs.files()
    assert (0o600, 0o700) == (
        fs.stat(fs.files()[0]).st_mode & 0o777,
        fs.stat(DIRECTORY).st_mode & 0o777,
    )


def test_spare_is_swapped_in_without_creating(fs: FaultyFilesystem) -> None:
    """With a spare at hand a full segment costs the caller no system call."""
    journal = journal_on(fs)
    first = put(journal, 1)
    made = journal.make_spare()
    again = journal.make_spare()
    opened = fs.calls["open"]
    while put(journal, 2) is first:
        pass

    assert (True, True, opened) == (made, again, fs.calls["open"])


def test_quota_refuses_and_comes_back(fs: FaultyFilesystem) -> None:
    """At the quota append refuses; after settling and housekeeping there is room."""
    journal = journal_on(fs, quota=1800)
    taken: list[tuple[Segment, int]] = []
    with pytest.raises(JournalFull, match="quota"):
        for n in range(100):
            segment = put(journal, n)
            taken.append((segment, n))
    spare = journal.make_spare()
    for segment, n in taken:
        journal.settle(segment, key(n))
        journal.settle(segment, key(n))
    removed = journal.housekeep()
    put(journal, 100)

    assert (False, 2) == (spare, removed)
    assert 1 == journal.statistics().live


def test_record_larger_than_a_segment_gets_its_own(fs: FaultyFilesystem) -> None:
    """A long record is kept in a segment of its size."""
    journal = journal_on(fs)
    long = b'{"timestamp":"%b","id":"runa.1g-1"}\n' % (b"x" * 5000)
    journal.append(key(1), b"app", long, Entry(b"app", long))
    fs_view = fs.process(300)
    fs.kill(100)

    assert [long] == [
        data
        for recovered in adopt(DIRECTORY, app="shop", destinations=["app"], system=fs_view)
        for data in recovered.pending["app"]
    ]


def test_stuck_record_does_not_keep_newer_segments(fs: FaultyFilesystem) -> None:
    """A few old entries are moved, so that their segment and those behind it go."""
    journal = journal_on(fs)
    stuck = put(journal, 0, forget=True)
    for n in range(1, 30):
        journal.settle(put(journal, n), key(n))
    removed = journal.housekeep() + journal.housekeep()
    fetched = journal.fetch(stuck, [key(0), key(99)])
    left = journal.statistics().segments
    journal.settle(stuck, key(0))

    assert ({key(0): line(key(0))}, 1, 0) == (fetched, left, journal.statistics().live)
    assert removed > 2


def test_failed_sync_poisons_and_rescues(fs: FaultyFilesystem) -> None:
    """After a failed fdatasync live entries are written again; the file is not synced twice."""
    journal = journal_on(fs)
    segment = put(journal, 1)
    old = fs.files()[0]
    journal.settle(put(journal, 2), key(2))
    fs.fail("fdatasync", errno.EIO, path="*.runa.1.j", times=None)
    first, second = journal.sync(), journal.sync()
    journal.housekeep()
    facts = journal.statistics()
    journal.settle(segment, key(1))

    assert (False, True, False) == (first, second, old in fs.files())
    assert (1, 1, 0) == (facts.poisoned, facts.live, journal.statistics().live)
    assert 2 == fs.calls["fdatasync"]


def test_released_segment_sends_the_writer_on(fs: FaultyFilesystem) -> None:
    """A thread that comes late to a released segment writes to another one."""
    journal = journal_on(fs)
    segment = put(journal, 1)
    claimed_live = segment.claim()
    journal.settle(segment, key(1))
    claimed = segment.claim()
    other = put(journal, 2)
    with pytest.raises(SegmentFull):
        segment.append_note(b"x")

    assert (False, True, True) == (claimed_live, claimed, other is not segment)


def test_segment_is_not_released_under_a_note(fs: FaultyFilesystem) -> None:
    """While an acknowledgement is being written its segment stays."""
    journal = journal_on(fs)
    segment = put(journal, 1)
    journal.settle(segment, key(1))
    segment.busy[0] = None
    during = segment.claim()
    del segment.busy[0]

    assert (False, True) == (during, segment.claim())


def test_segment_that_went_before_the_lock_is_not_adopted() -> None:
    """Between opening and locking its owner may close cleanly; nothing is pending then."""

    class Racing(FaultyFilesystem):
        def lock(self, fd: int) -> bool:
            for path in self.files():
                self.unlink(path)
            return super().lock(fd)

    fs = Racing()
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)

    assert ({}, 0) == (pending(fs), fs.open_descriptors)


def test_record_written_twice_is_pending_once(fs: FaultyFilesystem) -> None:
    """A repeated record is given once to each destination of either copy."""
    journal = journal_on(fs.process(200))
    put(journal, 1, b"app")
    put(journal, 1, b"audit")
    fs.kill(200)

    assert {"app": [line(key(1))], "audit": [line(key(1))]} == pending(fs)


def test_plain_writes_where_nothing_can_be_mapped(fs: FaultyFilesystem) -> None:
    """Without reserved space records are written; they are found all the same."""
    fs.fail("map", errno.ENODEV, times=None)
    journal = journal_on(fs)
    first = put(journal, 1)
    for n in range(2, 8):
        put(journal, n)
    fetched = journal.fetch(first, [key(1)])
    journal.sync()
    journal.close(clean=False)

    assert [line(key(n)) for n in range(1, 8)] == pending(fs)["app"]
    assert {key(1): line(key(1))} == fetched


def test_directory_that_others_can_write_to_is_refused(fs: FaultyFilesystem) -> None:
    """Neither written to nor adopted from."""
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    fs.chmod(DIRECTORY, 0o777)
    refusals = Refusals()
    found = list(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs, refusals=refusals))

    assert ([], 1) == (found, refusals.foreign)
    with pytest.raises(PermissionError, match="others can write"):
        put(journal_on(fs), 1)


def test_destination_that_is_not_wanted_now_keeps_its_records(fs: FaultyFilesystem) -> None:
    """What was taken is marked; the rest waits for a start that knows its destination."""
    owner = fs.process(200)
    put(journal_on(owner), 1, b"app,audit")
    fs.kill(200)
    for recovered in adopt(DIRECTORY, app="shop", destinations=["app"], system=fs):
        recovered.finish()

    assert ({}, {"audit": [line(key(1))]}) == (pending(fs, "app"), pending(fs))
    for recovered in adopt(DIRECTORY, app="shop", destinations=["audit"], system=fs):
        recovered.finish()
    assert ([], 0) == (fs.files(), len(fs._files))


def test_acknowledged_position_is_the_scan_hint(fs: FaultyFilesystem) -> None:
    """The last position of a destination says where replay has to look."""
    journal = journal_on(fs.process(200))
    put(journal, 1)
    put(journal, 2)
    journal.acknowledge("app", Position(5, 6, 70), [key(1)])
    fs.kill(200)
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))

    assert {"app": Position(5, 6, 70)} == recovered.scan
    assert {"app": [line(key(2))]} == recovered.pending


@pytest.mark.parametrize("what", ["alive", "user", "version", "link", "app"])
def test_segment_of_others_is_left_alone(fs: FaultyFilesystem, what: str) -> None:
    """The living, other users, newer versions, links and other apps are not touched."""
    put(journal_on(fs.process(200)), 1)
    path = fs.files()[0]
    data = fs.read(path)
    if what != "alive":
        fs.kill(200)
    if what == "user":
        fs.put(path, data, uid=0)
    elif what == "version":
        fs.put(path, encode_frame(FrameKind.HEADER, b'{"version":2}') + data)
    elif what == "link":
        fs.put("/state/elsewhere", data)
        fs.unlink(path)
        fs.symlink("/state/elsewhere", path)
    elif what == "app":
        fs.put(path, data.replace(b'"app":"shop"', b'"app":"sh p"'))
    refusals = Refusals()
    wanted = {"app": "other"}.get(what, "shop")
    found = list(adopt(DIRECTORY, app=wanted, destinations=["app"], system=fs, refusals=refusals))
    counted = {
        "alive": Refusals(locked=1),
        "user": Refusals(foreign=1),
        "version": Refusals(newer=1),
        "link": Refusals(foreign=1),
        "app": Refusals(),
    }

    assert ([], counted[what]) == (found, refusals)
    assert [path] == [name for name in fs.files() if name.endswith(".j")]


def test_damaged_segment_is_put_aside(fs: FaultyFilesystem) -> None:
    """Where frames failed their CRC the file is kept as .bad once its records are safe."""
    journal = journal_on(fs.process(200))
    for n in (1, 2, 3):
        put(journal, n)
    fs.kill(200)
    path = fs.files()[0]
    data = bytearray(fs.read(path))
    data[data.index(b"runa.1g-2") - 20] ^= 1
    fs.put(path, bytes(data))
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))
    recovered.finish()

    assert ([line(key(1)), line(key(3))], 1) == (recovered.pending["app"], recovered.bad)
    assert [path + ".bad"] == fs.files()


def test_inspect_tells_without_adopting(fs: FaultyFilesystem) -> None:
    """The command line sees every segment and changes none."""
    journal = journal_on(fs.process(200))
    put(journal, 1, b"app,audit")
    put(journal, 2)
    journal.acknowledge("app", None, [key(1)])
    fs.put(f"{DIRECTORY}/other.00000001.7.1.runx.1.j", b"damaged")
    fs.put(f"{DIRECTORY}/note.txt", b"")
    fs.mkfifo(f"{DIRECTORY}/fifo.00000001.7.1.runx.1.j")
    facts = inspect(DIRECTORY, system=fs)

    assert [("other", 0, {}, False, 0), ("shop", 2, {"app": 1, "audit": 1}, True, 1)] == [
        (f.app, f.records, f.unacknowledged, f.locked, f.version) for f in facts
    ]
    assert ([], 0) == (inspect("/nowhere", system=fs), len(fs._files))


def test_unfinished_file_is_removed(fs: FaultyFilesystem) -> None:
    """A file that died before it got its name goes at the next start."""
    owner = fs.process(200)
    put(journal_on(owner), 1)
    fs.put(f"{DIRECTORY}/.shop.00000001.7.1.runx.1.j", b"half")
    pending(fs)

    assert 1 == len(fs.files())


def test_destination_name_is_checked() -> None:
    """A name that would break a frame is refused at once."""
    with pytest.raises(ValueError, match="destination"):
        Journal("/x", app="a", run="r", destinations=["a b"], system=SYSTEM)


def test_threads_append_at_once_to_real_files(tmp_path: Path) -> None:
    """Four threads and many small segments: every record is found afterwards."""
    journal = Journal(
        str(tmp_path / "j"), app="shop", run="runa", destinations=["app"], segment_bytes=4096
    )

    def work(stream: int) -> None:
        for n in range(500):
            name = b"runa.%dg-%d" % (stream, n)
            journal.append(name, b"app", line(name), Entry(b"app", line(name)))

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    synced = journal.sync()
    journal.close(clean=False)
    recovered = next(iter(adopt(str(tmp_path / "j"), app="shop", destinations=["app"])))
    recovered.finish()

    assert (True, 2000, 0, 0) == (
        synced,
        len(recovered.pending["app"]),
        recovered.torn,
        recovered.bad,
    )
    assert [] == os.listdir(tmp_path / "j")


def test_forked_child_frees_the_lock_and_touches_nothing(tmp_path: Path) -> None:
    """After `abandon` in a child that outlives its parent, the segment can be adopted."""
    directory = str(tmp_path / "j")
    ready, go = os.pipe(), os.pipe()
    middle = os.fork()
    if middle == 0:
        journal = Journal(directory, app="shop", run="runa", destinations=["app"])
        journal.append(key(1), b"app", line(key(1)), Entry(b"app", line(key(1))))
        if os.fork() == 0:
            journal.abandon()
            os.write(ready[1], b"x")
            os.close(go[1])
            os.read(go[0], 1)
        os._exit(0)
    os.waitpid(middle, 0)
    os.read(ready[0], 1)
    found: list[bytes] = []
    for recovered in adopt(directory, app="shop", destinations=["app"]):
        found += recovered.pending["app"]
        recovered.finish()
    for fd in (*ready, *go):
        os.close(fd)

    assert [line(key(1))] == found
