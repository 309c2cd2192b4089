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
from fallbacks.journal._names import SegmentName, parse_name, safe_name
from fallbacks.journal.frames import LONGEST, FrameKind, encode_frame, encode_record
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


@dataclass
class Wanted:
    tag: bytes
    line: bytes


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


class Interrupting(FaultyFilesystem):
    """Does something of the test's in the middle of a call."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.between()
        return super().write(fd, data)

    def lock(self, fd: int) -> bool:
        self.between()
        return super().lock(fd)

    def allocate(self, fd: int, size: int) -> None:
        # Written to and not mapped, so that each append is a call.
        raise OSError(errno.EOPNOTSUPP, "no")

    def between(self) -> None:
        """Do nothing, until a test puts something else here."""


def test_segment_with_a_record_under_way_is_not_given_up() -> None:
    """From before the first byte of a record on, its segment is not to be had."""
    fs = Interrupting()
    journal = journal_on(fs, size=4_000)
    segment = put(journal, 1)
    journal.settle(segment, key(1))
    found: list[bool] = []
    fs.between = lambda: found.append(segment.claim())
    put(journal, 2)
    fs.between = lambda: None
    journal.settle(segment, key(2))

    assert ([False], True) == (found, segment.claim())


def test_segment_made_while_the_journal_closes() -> None:
    """Who closes has not seen it: whoever makes it takes it away again."""
    fs = Interrupting()
    journal = journal_on(fs)
    fs.between = lambda: journal.close(clean=True)
    with pytest.raises(OSError, match="closed"):
        put(journal, 1)

    assert ([], 0) == (fs.files(), fs.descriptors())


def test_position_is_known_after_its_acknowledgements(fs: FaultyFilesystem) -> None:
    """A note for which there is no room vouches for nothing."""
    journal = journal_on(fs, quota=700)
    segment = put(journal, 1)
    while segment.position() < 560:
        segment.append_note(b"\n" * 20)
    with pytest.raises(JournalFull):
        journal.acknowledge("app", Position(1, 2, 3), [key(1)])

    assert {} == journal._rotation.positions


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


# What happens between two system calls, and when one of them fails.


def test_record_of_the_last_moment_is_adopted() -> None:
    """What the owner wrote between our open and our lock, and then died, is found."""

    class Racing(FaultyFilesystem):
        def lock(self, fd: int) -> bool:
            if journal.statistics().live == 1:
                put(journal, 2)
                self.kill(200)
            return super().lock(fd)

    fs = Racing()
    fs.fail("map", errno.ENODEV, times=None)
    journal = journal_on(fs.process(200))
    put(journal, 1)

    assert {"app": [line(key(1)), line(key(2))]} == pending(fs)


def acknowledged_later(fs: FaultyFilesystem) -> Journal:
    """Return a journal whose first segment is acknowledged in the second."""
    journal = journal_on(fs.process(200), size=400)
    first = put(journal, 1)
    while put(journal, 2) is first:
        pass
    journal.acknowledge("app", None, [key(1), key(2)])
    return journal


def test_failed_removal_keeps_the_acknowledgements(fs: FaultyFilesystem) -> None:
    """When the oldest file cannot be removed the younger ones stay, and nothing comes again."""
    journal = acknowledged_later(fs)
    fs.fail("unlink", errno.EIO, path="*.runa.1.j")
    journal.close(clean=True)
    left = len(fs.files())

    assert (2, {}, 1) == (left, pending(fs), journal.statistics().failures)


@pytest.mark.parametrize("operation", ["unlink", "sync_directory"])
def test_failed_finish_does_not_bring_records_again(fs: FaultyFilesystem, operation: str) -> None:
    """What could not be removed after it was taken is marked as taken."""
    acknowledged_later(fs)
    journal = journal_on(fs.process(300))
    put(journal, 3)
    fs.kill(200)
    fs.kill(300)
    fs.fail(operation, errno.EIO)
    failures = []
    for recovered in adopt(DIRECTORY, app="shop", destinations=["app"], system=fs):
        recovered.finish()
        failures.append(recovered.failures)

    assert [1] == failures
    assert ({}, 0) == (pending(fs), fs.descriptors())


def test_errors_of_a_finish_are_counted(fs: FaultyFilesystem) -> None:
    """Neither removing nor marking nor closing raises; each failure counts."""
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))
    for operation in ("unlink", "write", "fdatasync", "close"):
        fs.fail(operation, errno.EIO)
    recovered.finish()
    recovered.finish()

    assert (4, 0) == (recovered.failures, fs.descriptors())
    assert {"app": [line(key(1))]} == pending(fs)


def test_finish_after_release_does_nothing(fs: FaultyFilesystem) -> None:
    """What was given back is no longer ours to remove."""
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))
    recovered.release()
    recovered.finish()

    assert {"app": [line(key(1))]} == pending(fs)


@pytest.mark.parametrize("operation", ["open", "fstat", "lstat", "pread"])
def test_segment_that_cannot_be_read_is_left_and_counted(
    fs: FaultyFilesystem, operation: str
) -> None:
    """An error is not an answer: the run stays as it is for the next start."""
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    fs.fail(operation, errno.EIO)
    refusals = Refusals()
    found = list(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs, refusals=refusals))

    assert ([], Refusals(unreadable=1), 0) == (found, refusals, fs.descriptors())
    assert {"app": [line(key(1))]} == pending(fs)


def test_segment_that_went_before_the_open_is_nothing_to_count() -> None:
    """Between listing and opening its owner may close cleanly."""

    class Racing(FaultyFilesystem):
        def listdir(self, path: str) -> list[str]:
            names = super().listdir(path)
            for name in self.files():
                self.unlink(name)
            return names

    fs = Racing()
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    refusals = Refusals()
    found = list(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs, refusals=refusals))

    assert ([], Refusals()) == (found, refusals)


def test_other_app_of_the_same_file_name_is_left_alone(fs: FaultyFilesystem) -> None:
    """Where two names differ only in odd characters, the header decides."""
    owner = fs.process(200)
    journal = Journal(DIRECTORY, app="sh p", run="runa", destinations=["app"], system=owner)
    put(journal, 1)
    fs.kill(200)
    refusals = Refusals()
    found = list(adopt(DIRECTORY, app="sh_p", destinations=["app"], system=fs, refusals=refusals))
    own = list(adopt(DIRECTORY, app="sh p", destinations=["app"], system=fs))

    assert ([], Refusals(), 1) == (found, refusals, len(own))
    own[0].release()


def test_unfinished_file_is_not_touched_where_others_can_write(fs: FaultyFilesystem) -> None:
    """In a directory that strangers can write to nothing is removed, and nothing counted for it."""
    fs.makedirs(DIRECTORY, 0o777)
    fs.chmod(DIRECTORY, 0o777)
    fs.put(f"{DIRECTORY}/.shop.00000001.7.1.runx.1.j", b"half")
    refusals = Refusals()
    found = list(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs, refusals=refusals))

    assert ([], Refusals(), 1) == (found, refusals, len(fs.files()))


def test_unfinished_file_that_cannot_be_removed_stops_nothing(fs: FaultyFilesystem) -> None:
    """It is of no use and does no harm; the segments are adopted all the same."""
    put(journal_on(fs.process(200)), 1)
    fs.kill(200)
    fs.put(f"{DIRECTORY}/.shop.00000001.7.1.runx.1.j", b"half")
    fs.fail("unlink", errno.EIO)

    assert ({"app": [line(key(1))]}, 2) == (pending(fs), len(fs.files()))


def test_inspect_leaves_out_what_it_cannot_open(fs: FaultyFilesystem) -> None:
    """A file that cannot be read does not keep the others from being listed."""
    put(journal_on(fs.process(200)), 1)
    fs.put(f"{DIRECTORY}/other.00000001.7.1.runx.1.j", b"")
    fs.fail("open", errno.EIO, path="*/other*")

    assert ["shop"] == [facts.app for facts in inspect(DIRECTORY, system=fs)]


def test_inspect_finds_acknowledgements_in_any_segment_of_the_run(fs: FaultyFilesystem) -> None:
    """What a later segment acknowledges is not pending in an earlier one."""
    acknowledged_later(fs)

    assert [{}, {}] == [facts.unacknowledged for facts in inspect(DIRECTORY, system=fs)]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (FrameKind.RECORD, b"no destination"),
        (FrameKind.RECORD, b'app {"message":"without id"}'),
        (FrameKind.RECORD, b'app {"m":"","id":"no number"}'),
        (FrameKind.RECORD, b'app {"m":"","id":"a b-1"}'),
        (FrameKind.ACKNOWLEDGEMENT, b"app - nonsense"),
    ],
)
def test_odd_frame_is_bad_and_costs_no_other(
    fs: FaultyFilesystem, kind: FrameKind, payload: bytes
) -> None:
    """A whole frame whose payload makes no sense is counted and passed over."""
    segment = put(journal_on(fs.process(200)), 1)
    segment.append_note(encode_frame(kind, payload))
    put_after = b"runa.1g-2"
    segment.append(put_after, encode_record(b"app", line(put_after)), Entry(b"app", None))
    fs.kill(200)
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))

    assert ({"app": [line(key(1)), line(key(2))]}, 1) == (recovered.pending, recovered.bad)
    recovered.release()


@pytest.mark.parametrize(
    "name",
    [
        "shop.b.1.2.run.3",
        ".shop.b.1.2.run.3.j",
        "shop.b.1.run.3.j",
        "shop.b..2.run.3.j",
        "shop.b.x.2.run.3.j",
        "shop.b.1.2.run.-3.j",
        "shop.b.1.2.run.\u0663.j",
        f"shop.b.1.2.run.{'9' * 30}.j",
    ],
)
def test_odd_name_is_none(name: str) -> None:
    """What is not named like a segment is none."""
    assert parse_name(name) is None


def test_name_comes_back() -> None:
    """An application may have dots in its name."""
    name = SegmentName("my.shop", "b", 1, "2", "run", 3)

    assert "my.shop.b.1.2.run.3.j" == str(name)
    assert name == parse_name(str(name))


@pytest.mark.parametrize(("app", "name"), [("shop", "shop"), ("a/b c", "a_b_c"), ("..", "_")])
def test_app_is_made_safe_for_file_names(app: str, name: str) -> None:
    """No application's name leaves the directory or hides its files."""
    assert name == safe_name(app)


def test_record_that_is_too_long_is_refused(fs: FaultyFilesystem) -> None:
    """What no reader would accept is not written."""
    journal = journal_on(fs, quota=1 << 30)
    with pytest.raises(OSError, match="too long"):
        journal.append(key(1), b"app", b"x" * LONGEST + b"\n", Entry(b"app", None))

    assert (0, []) == (journal.statistics().live, fs.files())


def test_writer_gives_up_when_no_segment_stays_open(
    fs: FaultyFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that every new segment refuses is an error, not an endless loop."""

    def full(segment: Segment, frame: bytes) -> None:
        raise SegmentFull

    monkeypatch.setattr(Segment, "_put", full)
    journal = journal_on(fs)
    with pytest.raises(BlockingIOError, match="stayed open"):
        put(journal, 1)

    assert 0 == journal.statistics().live


def test_name_that_is_taken_is_passed_over(fs: FaultyFilesystem) -> None:
    """A file in the way is left alone and the next number is used."""
    fs.makedirs(DIRECTORY)
    fs.put(f"{DIRECTORY}/shop.00000001.100.1.runa.1.j", b"not mine")
    put(journal_on(fs), 1)

    assert [b"not mine", True] == [
        fs.read(f"{DIRECTORY}/shop.00000001.100.1.runa.1.j"),
        f"{DIRECTORY}/shop.00000001.100.1.runa.2.j" in fs.files(),
    ]


def test_directory_that_is_removed_is_made_again(fs: FaultyFilesystem) -> None:
    """Somebody who cleans up does not end the journal; somebody who never stops does."""
    fs.fail("open", errno.ENOENT)
    put(journal_on(fs), 1)
    fs.fail("open", errno.ENOENT, times=None)
    with pytest.raises(FileNotFoundError):
        put(journal_on(fs), 2)

    assert 1 == len(fs.files())


def test_spare_that_cannot_be_made_is_counted(fs: FaultyFilesystem) -> None:
    """Without a spare the next append makes its segment itself."""
    journal = journal_on(fs)
    put(journal, 1)
    fs.fail("open", errno.EIO)

    assert (False, True, 1) == (
        journal.make_spare(),
        journal.make_spare(),
        journal.statistics().failures,
    )


def test_spare_that_is_too_small_is_passed_over(fs: FaultyFilesystem) -> None:
    """A long record gets a segment of its own although a spare is ready."""
    journal = journal_on(fs)
    put(journal, 1)
    journal.make_spare()
    long = b'{"timestamp":"%b","id":"runa.1g-2"}\n' % (b"x" * 5000)
    segment = journal.append(key(2), b"app", long, Entry(b"app", long))

    assert (3, 3) == (segment.number, journal.statistics().segments)


def test_segment_is_synced_once(fs: FaultyFilesystem) -> None:
    """What has not grown since is not synced again."""
    journal = journal_on(fs)
    put(journal, 1)

    assert (True, True, 1) == (journal.sync(), journal.sync(), fs.calls["fdatasync"])


def test_segment_that_cannot_say_its_size_is_given_up(fs: FaultyFilesystem) -> None:
    """Whatever fails on the way to the disk, the entries are written elsewhere."""
    fs.fail("map", errno.ENODEV, times=None)
    journal = journal_on(fs)
    segment = put(journal, 1)
    fs.fail("fstat", errno.EIO)
    answers = [journal.sync(), journal.sync()]

    assert ([False, True], True, 1) == (answers, segment.poisoned, journal.statistics().poisoned)


def test_segment_is_closed_once(fs: FaultyFilesystem) -> None:
    """Closing again touches nobody else's descriptor."""
    segment = put(journal_on(fs), 1)
    segment.close()
    fd = fs.open("/mine", os.O_RDWR | os.O_CREAT)
    segment.close()

    assert 0 == fs.fstat(fd).st_size


def test_names_are_synced_until_it_works(fs: FaultyFilesystem) -> None:
    """A file is only safe with its name, so a failure is reported and tried again."""
    journal = journal_on(fs)
    put(journal, 1)
    fs.fail("sync_directory", errno.EIO)

    assert [False, True, True] == [journal.sync() for _ in range(3)]
    assert (2, 1) == (fs.calls["sync_directory"], journal.statistics().failures)


def test_rescue_that_fails_is_tried_again(fs: FaultyFilesystem) -> None:
    """While there is no room for what a poisoned segment holds, it is not reported as safe."""
    journal = journal_on(fs, quota=600)
    put(journal, 1)
    fs.fail("fdatasync", errno.EIO)
    answers = [journal.sync(), journal.sync()]
    journal._rotation._quota = 1 << 20
    answers.append(journal.sync())

    assert ([False, False, True], 1) == (answers, journal.statistics().live)


def test_entry_that_nobody_has_any_more_is_counted(fs: FaultyFilesystem) -> None:
    """Where neither memory nor disk has a record, the others are rescued all the same."""
    journal = journal_on(fs)
    segment = put(journal, 1, forget=True)
    put(journal, 2)
    fd = fs.open(segment.path, os.O_RDWR)
    data = fs.read(segment.path)
    fs.write(fd, data.replace(b"runa.1g-1", b"runa.1g-x"))
    fs.close(fd)
    fs.fail("fdatasync", errno.EIO)
    journal.sync()
    fetched = journal.fetch(segment, [key(2)])

    assert ([key(1)], {key(2): line(key(2))}) == (list(segment.live), fetched)
    assert 2 == journal.statistics().failures


def test_record_settled_while_it_is_moved_is_not_kept(fs: FaultyFilesystem) -> None:
    """A move that loses the race against `settle` leaves no entry behind."""

    class Settling:
        line = line(key(1))

        def __init__(self) -> None:
            self.settled = False

        @property
        def tag(self) -> bytes:
            # Once, before the record has its new place: a second one would find it there.
            if not self.settled:
                self.settled = True
                journal.settle(segment, key(1))
            return b"app"

    journal = journal_on(fs)
    segment = journal.append(key(1), b"app", line(key(1)), Settling())
    fs.fail("fdatasync", errno.EIO)
    journal.sync()

    assert 0 == journal.statistics().live


def test_record_that_is_moved_stays_acknowledged(fs: FaultyFilesystem) -> None:
    """The segment that says who has it goes; those who want it still are named in the new one."""
    entry = Wanted(b"app,audit", line(key(1)))
    journal = journal_on(fs)
    journal.append(key(1), entry.tag, entry.line, entry)
    entry.tag = b"audit"
    journal.acknowledge("app", None, [key(1)])
    fs.fail("fdatasync", errno.EIO)
    journal.sync()
    removed = journal.housekeep()
    journal.close(clean=False)

    assert (1, {"audit": [line(key(1))]}) == (removed, pending(fs))


def test_record_that_is_acknowledged_while_it_is_moved(fs: FaultyFilesystem) -> None:
    """A note that comes between the look at a record and its new place is made again."""

    class Acknowledged:
        line = line(key(1))

        def __init__(self) -> None:
            self.tags = [b"app,audit", b"audit"]

        @property
        def tag(self) -> bytes:
            if len(self.tags) == 1:
                return self.tags[0]
            journal.acknowledge("app", None, [key(1)])
            # The segment that has the note is full.
            journal._rotation.next(journal._rotation.current)
            return self.tags.pop(0)

    journal = journal_on(fs)
    journal.append(key(1), b"app,audit", line(key(1)), Acknowledged())
    fs.fail("fdatasync", errno.EIO)
    journal.sync()
    removed = journal.housekeep()
    journal.close(clean=False)

    assert (2, {"audit": [line(key(1))]}) == (removed, pending(fs))


def test_record_that_nobody_wants_any_more_is_not_moved(fs: FaultyFilesystem) -> None:
    """Acknowledged everywhere, and not settled yet: there is nothing left to save."""
    entry = Wanted(b"app", line(key(1)))
    journal = journal_on(fs)
    journal.append(key(1), entry.tag, entry.line, entry)
    put(journal, 2)
    entry.tag = b""
    fs.fail("fdatasync", errno.EIO)
    journal.sync()
    journal.housekeep()
    journal.close(clean=False)

    found = next(iter(adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)))
    found.release()

    assert (0, {"app": [line(key(2))]}) == (found.bad, found.pending)


def test_forgotten_records_are_moved_with_one_look(fs: FaultyFilesystem) -> None:
    """The file is read once for all entries whose lines are only there."""
    journal = journal_on(fs, size=4000)
    for n in range(1, 6):
        put(journal, n, forget=True)
    fs.fail("fdatasync", errno.EIO)
    journal.sync()
    reads = fs.calls["map_read"]
    journal.close(clean=False)

    assert [line(key(n)) for n in range(1, 6)] == pending(fs)["app"]
    assert reads <= 2


def test_files_under_a_writer_are_not_removed(fs: FaultyFilesystem) -> None:
    """Housekeeping stops at a segment that a note is just being written to."""
    journal = journal_on(fs)
    first = put(journal, 1)
    journal.settle(first, key(1))
    other = first
    while other is first:
        other = put(journal, 2)
        journal.settle(other, key(2))
    first.busy[0] = None
    during = journal.housekeep()
    del first.busy[0]

    assert (0, 1) == (during, journal.housekeep())


def test_file_that_cannot_be_removed_stays_and_is_tried_again(fs: FaultyFilesystem) -> None:
    """Nothing younger goes before it."""
    journal = journal_on(fs)
    for n in range(1, 12):
        journal.settle(put(journal, n), key(n))
    before = len(fs.files())
    fs.fail("unlink", errno.EIO)
    first = journal.housekeep()
    kept = len(fs.files())

    assert (0, before) == (first, kept)
    assert before - 1 == journal.housekeep()


def test_entries_too_large_to_move_keep_their_segment(fs: FaultyFilesystem) -> None:
    """Moving much costs more than keeping the file."""
    journal = journal_on(fs, size=400)
    put(journal, 0)
    for n in range(1, 12):
        journal.settle(put(journal, n), key(n))

    assert 0 == journal.housekeep()


def test_abandon_touches_nothing_on_the_disk(fs: FaultyFilesystem) -> None:
    """It closes what was inherited and changes no file."""
    journal = journal_on(fs)
    put(journal, 1)
    before = {path: fs.read(path) for path in fs.files()}
    journal.abandon()

    assert (before, 0) == ({path: fs.read(path) for path in fs.files()}, fs.descriptors())


def test_each_segment_says_where_to_look(fs: FaultyFilesystem) -> None:
    """The positions stand at the beginning of every segment, since the older ones go."""
    journal = Journal(
        DIRECTORY,
        app="shop",
        run="runa",
        destinations=["app", "audit"],
        segment_bytes=500,
        positions={"audit": Position(1, 2, 3)},
        system=fs.process(200),
    )
    journal.settle(put(journal, 1), key(1))
    journal.acknowledge("app", Position(5, 6, 70), [key(1)])
    for n in range(2, 12):
        journal.settle(put(journal, n), key(n))
    put(journal, 12, b"app,audit")
    journal.housekeep()
    fs.kill(200)
    recovered = next(iter(adopt(DIRECTORY, app="shop", destinations=["app", "audit"], system=fs)))

    assert {"app": Position(5, 6, 70), "audit": Position(1, 2, 3)} == recovered.scan
    recovered.release()


@pytest.mark.parametrize("operation", ["allocate", "lock", "write", "link", "fchmod"])
def test_segment_that_cannot_be_made_leaves_nothing(fs: FaultyFilesystem, operation: str) -> None:
    """The error is raised, and neither file nor descriptor nor mapping stays."""
    fs.fail(operation, errno.EIO)
    if operation == "link":
        fs.fail("rename", errno.EIO)
    if operation == "allocate":
        fs.fail("write", errno.ENOSPC)
    if operation == "write":
        fs.fail("allocate", errno.ENOSPC)
    journal = journal_on(fs)
    with pytest.raises(OSError):
        put(journal, 1)

    assert ([], 0, 0) == (fs.files(), fs.descriptors(), journal.statistics().live)
