"""
The held store: nothing that was taken is lost, whatever fails or dies on the way.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fallbacks.held import HeldStore
from fallbacks.held._format import Line, decode_ack, decode_header, number_in_name, split_lines
from fallbacks.outcomes import Delivered, Outcome, Partial, Permanent, Retryable
from fallbacks.position import Position
from fallbacks.testing.faulty_filesystem import FaultyFilesystem, Killed

if TYPE_CHECKING:
    from fallbacks.system import System

pytestmark = pytest.mark.unit

PREFIX = "/state/shop.app"
GOLDEN = Path(__file__).parent.parent / "golden"


def line(n: int, run: str = "runa", size: int = 0) -> bytes:
    """Return a canonical line."""
    stamp = f"2026-11-21T01:44:00.{n:06d}Z"
    return (
        f'{{"timestamp":"{stamp}","level":"error","message":"{"x" * size}","id":"{run}.1g-{n}"}}\n'
    ).encode()


def identify(data: bytes) -> bytes | None:
    """Return the id of a whole line."""
    at = data.rfind(b',"id":"')
    if at < 0 or not data.endswith(b'"}\n') or not data.startswith(b'{"timestamp":'):
        return None
    return data[at + 7 : -3]


def store(
    system: System, run: str = "runa", *, quota: int = 1 << 20, segment_bytes: int = 1 << 16
) -> HeldStore:
    """Return a store on *system*."""
    return HeldStore(
        PREFIX,
        app="shop",
        destination="app",
        run=run,
        quota=quota,
        segment_bytes=segment_bytes,
        identify=identify,
        weigh=lambda _: 1,
        system=system,
    )


def taken(outcome: Outcome, lines: list[bytes]) -> list[bytes]:
    """Return the lines that *outcome* says were taken."""
    if isinstance(outcome, Delivered):
        return lines
    return [lines[i] for i in outcome.indices] if isinstance(outcome, Partial) else []


def drain(held: HeldStore, limit: int = 3, *, acknowledge: bool = True) -> list[bytes]:
    """Replay everything and return it."""
    found: list[bytes] = []
    while (chunk := held.lines(limit, 1 << 20)) is not None:
        found += chunk.lines
        if not acknowledge:
            break
        held.acknowledge(chunk)
    return found


IMPORTED = [line(n, "dead") for n in range(1, 4)]


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return a healthy file system."""
    return FaultyFilesystem()


def test_lines_come_back_in_order_and_leave_no_file(fs: FaultyFilesystem) -> None:
    """A healed store gives every line once, in order, and no file stays behind."""
    held = store(fs, segment_bytes=400)
    lines = [line(n) for n in range(1, 21)]
    for at in range(0, 20, 2):
        held.write(lines[at : at + 2])
    before = held.held

    assert (20, lines, 0, [], 0) == (before, drain(held), held.held, fs.files(), fs.descriptors())


def test_acknowledged_lines_of_a_file_are_held_no_more(fs: FaultyFilesystem) -> None:
    """What counts as held goes down with each chunk, not only with its file."""
    held = store(fs)
    held.write([line(n) for n in range(1, 11)])
    counts = []
    while (chunk := held.lines(4, 1 << 20)) is not None:
        held.acknowledge(chunk)
        counts.append(held.held)

    assert [6, 2, 0] == counts


def test_unanswered_chunk_is_offered_again_as_suspect(fs: FaultyFilesystem) -> None:
    """The second offer of the same lines says that they may be there already."""
    held = store(fs)
    held.write([line(1)])
    first, second = held.lines(10, 1000), held.lines(10, 1000)

    assert first is not None
    assert second is not None
    assert (False, True, first.lines) == (first.suspect, second.suspect, second.lines)


def test_id_is_held_once(fs: FaultyFilesystem) -> None:
    """A line that is held already counts as taken and is not written again."""
    held = store(fs)
    held.write([line(1)])
    outcome = held.write([line(1), line(2), line(2)])

    assert (Delivered(), 2, [line(1), line(2)]) == (outcome, held.held, drain(held))


def test_line_without_id_is_refused_for_good(fs: FaultyFilesystem) -> None:
    """What could not be told from a torn line is never taken."""
    held = store(fs)
    mixed = held.write([b"alien\n", line(1)])

    assert isinstance(held.write([b"alien\n"]), Permanent)
    assert isinstance(mixed, Partial)
    assert ([1], True) == (list(mixed.indices), isinstance(mixed.rest, Permanent))


def test_quota_takes_what_fits(fs: FaultyFilesystem) -> None:
    """At the quota whole lines that fit are taken, the rest is retryable."""
    held = store(fs, quota=len(line(1)) * 4)
    lines = [line(n) for n in range(1, 9)]
    outcome = held.write(lines)
    again = held.write(lines[5:])

    assert isinstance(outcome, Partial)
    assert isinstance(again, Retryable)
    assert lines[:3] == drain(held) == taken(outcome, lines)


def test_short_write_counts_whole_lines_and_ends_the_torn_one(fs: FaultyFilesystem) -> None:
    """After a full disk the next write starts on a line of its own."""
    held = store(fs)
    held.write([line(1)])
    fs.set_quota(fs.used + len(line(2)) + 10)
    outcome = held.write([line(2), line(3), line(4)])
    fs.set_quota(None)
    held.write([line(3), line(4)])

    assert isinstance(outcome, Partial)
    assert [0] == list(outcome.indices)
    assert [line(n) for n in (1, 2, 3, 4)] == drain(held)


def test_living_store_is_left_alone_and_dead_one_adopted(fs: FaultyFilesystem) -> None:
    """Only the lock decides: lines of the living stay theirs."""
    owner = fs.process(200)
    old = store(owner, "runb")
    old.write([line(1, "runb"), line(2, "runb")])
    new = store(fs)
    new.write([line(1)])
    while_alive = new.adopt()
    fs.kill(200)
    adopted = new.adopt()
    chunk = new.lines(10, 10_000)

    assert chunk is not None
    assert (0, 2, True, 3) == (while_alive, adopted, chunk.suspect, new.held)
    assert [line(1, "runb"), line(2, "runb"), line(1)] == drain(new)


def test_acknowledged_part_is_not_adopted_again(fs: FaultyFilesystem) -> None:
    """An acknowledgement line counts after the death of the process that wrote it."""
    owner = fs.process(200)
    old = store(owner, "runb")
    old.write([line(n, "runb") for n in (1, 2, 3)])
    chunk = old.lines(2, 10_000)
    assert chunk is not None
    old.acknowledge(chunk)
    fs.kill(200)
    new = store(fs)

    assert (1, [line(3, "runb")]) == (new.adopt(), drain(new))


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        (b'{"hydra":"held","version":2,"app":"shop","destination":"app","run":"r"}\n', 1),
        (b'{"hydra":"held","version":1,"app":"other","destination":"app","run":"r"}\n', 0),
        (b'{"hydra":"held","version":1,"app":"shop","destination":"audit","run":"r"}\n', 0),
    ],
)
def test_segment_of_others_is_left_alone(fs: FaultyFilesystem, header: bytes, refused: int) -> None:
    """A newer version, another app and another destination are not touched."""
    fs.makedirs("/state")
    fs.put(f"{PREFIX}.r-1.held", header + line(1))
    held = store(fs)

    assert (0, refused) == (held.adopt(), held.statistics().refused)
    assert header + line(1) == fs.read(f"{PREFIX}.r-1.held")
    assert 0 == fs.descriptors()


def test_planted_things_are_refused(fs: FaultyFilesystem) -> None:
    """Links, FIFOs, directories and files of another user are counted, never read."""
    fs.makedirs("/state")
    fs.put(f"{PREFIX}.a-1.held", line(1), uid=0)
    fs.symlink("/etc/passwd", f"{PREFIX}.b-1.held")
    fs.mkfifo(f"{PREFIX}.c-1.held")
    fs.makedirs(f"{PREFIX}.d-1.held")
    held = store(fs)
    held.adopt()
    fs.chmod("/state", 0o777)
    fs.put(f"{PREFIX}.e-1.held", line(1))
    refused = held.statistics().refused
    held.adopt()

    assert (4, 9, 0) == (refused, held.statistics().refused, held.held)


def test_import_is_idempotent(fs: FaultyFilesystem) -> None:
    """The same recovered lines are stored once, even after they were acknowledged in part."""
    held = store(fs)
    lines = [line(n, "dead") for n in (1, 2, 3)]
    first = held.import_lines("dead", lines, Position(1, 2, 3))
    chunk = held.lines(1, 10_000)
    assert chunk is not None
    held.acknowledge(chunk)
    again = held.import_lines("dead", lines, None)
    more = held.import_lines("dead", [*lines, line(4, "dead")], None)

    assert (3, 0, 1, True) == (first, again, more, chunk.suspect)
    assert (Position(1, 2, 3), "dead") == (chunk.scan, chunk.run)
    assert [*lines[1:], line(4, "dead")] == drain(held)


def test_file_that_went_before_the_lock_is_not_adopted() -> None:
    """Between opening and locking its owner may finish the file; its lines are delivered then."""

    class Racing(FaultyFilesystem):
        def lock(self, fd: int) -> bool:
            for path in self.files():
                self.unlink(path)
            return super().lock(fd)

    fs = Racing()
    store(fs.process(200), "runb").write([line(1, "runb")])
    fs.kill(200)

    assert (0, 0) == (store(fs).adopt(), fs.open_descriptors)


def test_close_keeps_files_and_count(fs: FaultyFilesystem) -> None:
    """After close the lines are on the disk for the next store, and still counted."""
    held = store(fs)
    held.write([line(1)])
    held.close()
    held.close()
    after = held.held
    adopted = store(fs, "runb").adopt()

    assert (1, 1) == (after, adopted)


def test_abandon_touches_nothing_on_the_disk(fs: FaultyFilesystem) -> None:
    """A forked child closes what it inherited and changes no file."""
    held = store(fs)
    held.write([line(1)])
    before = {path: fs.read(path) for path in fs.files()}
    held.abandon()

    assert (before, 0) == ({path: fs.read(path) for path in fs.files()}, fs.descriptors())


def test_golden_segment_is_read_for_ever(fs: FaultyFilesystem) -> None:
    """The segment kept since version 1 still gives its lines back."""
    fs.makedirs("/state")
    fs.put(f"{PREFIX}.k3f9x2ab71qz-1.held", (GOLDEN / "held-v1.held").read_bytes())
    held = store(fs)
    adopted = held.adopt()
    chunk = held.lines(10, 10_000)

    assert chunk is not None
    assert (2, 1, "k3f9x2ab71qz") == (adopted, held.statistics().torn, chunk.run)
    assert Position(2049, 131, 4096) == chunk.scan
    assert [line(n, "k3f9x2ab71qz") for n in (2, 3)] == list(chunk.lines)


def test_failed_write_leaves_no_empty_file(fs: FaultyFilesystem) -> None:
    """A file that took nothing is removed at once, and the next write begins another one."""
    held = store(fs)
    fs.fail("write", errno.EIO, when=2)
    outcome = held.write([line(1)])
    left = (fs.files(), fs.descriptors(), held.statistics().segments)
    held.write([line(2)])

    assert isinstance(outcome, Retryable)
    assert ([], 0, 0) == left
    assert [line(2)] == drain(held)


def test_failed_write_keeps_a_file_with_lines(fs: FaultyFilesystem) -> None:
    """An error after earlier lines costs none of them."""
    held = store(fs)
    held.write([line(1)])
    fs.fail("write", errno.EIO)
    held.write([line(2)])
    held.write([line(3)])

    assert b"\n\n" not in fs.read(fs.files()[0])
    assert (2, [line(1), line(3)]) == (held.held, drain(held))


@pytest.mark.parametrize("operation", ["fdatasync", "link", "unlink", "sync_directory", "fchmod"])
def test_failed_import_leaves_nothing(fs: FaultyFilesystem, operation: str) -> None:
    """An import that raises has stored nothing, also when its file had its name already."""
    held = store(fs)
    fs.fail(operation, errno.EIO, times=1)
    if operation == "link":
        # Where links fail a file is renamed; make that fail as well.
        fs.fail("rename", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        held.import_lines("dead", IMPORTED, None)
    left = (fs.files(), fs.descriptors(), held.held)
    again = held.import_lines("dead", IMPORTED, None)

    assert (([], 0, 0), 3, IMPORTED) == (left, again, drain(held))


def test_finished_file_is_removed_when_it_is_adopted(fs: FaultyFilesystem) -> None:
    """A file of the dead that holds nothing goes at once."""
    owner = fs.process(200)
    old = store(owner, "runb")
    old.write([line(1, "runb")])
    chunk = old.lines(1, 1000)
    assert chunk is not None
    fs.fail("unlink", errno.EIO)
    old.acknowledge(chunk)
    left = len(fs.files())
    fs.kill(200)

    assert (1, 0, []) == (left, store(fs).adopt(), fs.files())


def test_acknowledgement_behind_a_torn_line_counts(fs: FaultyFilesystem) -> None:
    """In a file that ended torn, an acknowledgement gets a line of its own."""
    process = fs.process(200)
    old = store(process, "runb")
    old.write([line(1, "runb"), line(2, "runb")])
    process.kill_at(1, torn=20)
    with pytest.raises(Killed):
        old.write([line(3, "runb")])
    heir = fs.process(300)
    held = store(heir, "runc")
    held.adopt()
    chunk = held.lines(1, 10_000)
    assert chunk is not None
    held.acknowledge(chunk)
    fs.kill(300)
    last = store(fs)

    assert (1, [line(2, "runb")]) == (last.adopt(), drain(last))


@pytest.mark.parametrize("operation", ["fdatasync", "sync_directory"])
def test_power_cut_brings_nothing_back_that_was_delivered(operation: str) -> None:
    """Acknowledgement and removal are on the disk; either of them is enough."""
    for seed in range(30):
        fs = FaultyFilesystem(seed=seed)
        held = store(fs.process(200))
        held.import_lines("dead", IMPORTED, None)
        fs.fail(operation, errno.EIO)
        drain(held)
        fs.power_cut()

        assert 0 == store(fs.process(300), "runb").adopt(), seed


def test_import_into_a_directory_that_cannot_be_read_raises(fs: FaultyFilesystem) -> None:
    """Without knowing what was imported before, nothing is imported."""
    held = store(fs)
    fs.makedirs("/state")
    fs.fail("listdir", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        held.import_lines("dead", IMPORTED, None)

    assert 0 == held.held


def test_import_counts_what_is_no_line(fs: FaultyFilesystem) -> None:
    """A recovered line without an id is counted as torn; the others are taken."""
    held = store(fs)

    assert (1, 1) == (held.import_lines("dead", [b"alien\n", line(1, "dead")], None), held.held)
    assert 1 == held.statistics().torn


def test_import_takes_over_what_its_like_left(fs: FaultyFilesystem) -> None:
    """Lines of an import whose process died are not stored twice, but taken over and counted."""
    store(fs.process(200), "runb").import_lines("dead", IMPORTED[:2], None)
    fs.kill(200)
    held = store(fs)
    count = held.import_lines("dead", IMPORTED, None)

    assert (3, 3) == (count, held.held)
    assert IMPORTED == sorted(drain(held))
    assert [] == fs.files()


def test_import_leaves_to_the_living_what_they_imported(fs: FaultyFilesystem) -> None:
    """What a living process has imported is its to deliver."""
    other = store(fs.process(200), "runb")
    other.import_lines("dead", IMPORTED, None)
    held = store(fs)

    assert (0, 0, 3) == (held.import_lines("dead", IMPORTED, None), held.held, other.held)


def test_import_file_that_goes_meanwhile_is_no_error() -> None:
    """Between listing and opening its owner may finish the file."""

    class Racing(FaultyFilesystem):
        def listdir(self, path: str) -> list[str]:
            names = super().listdir(path)
            for name in self.files():
                self.unlink(name)
            return names

    fs = Racing()
    store(fs.process(200), "runb").import_lines("dead", IMPORTED, None)
    fs.kill(200)
    held = store(fs)

    assert (3, IMPORTED) == (held.import_lines("dead", IMPORTED, None), drain(held))


@pytest.mark.parametrize("when", [1, 4, 12, 14])
def test_file_that_cannot_be_read_is_not_half_adopted(
    fs: FaultyFilesystem, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """After an adoption that failed anywhere the ids are free: the same lines can be taken."""
    monkeypatch.setattr("fallbacks.held._format.WINDOW", 64)
    lines = [line(n, "runb") for n in range(1, 4)]
    store(fs.process(200), "runb").write(lines)
    fs.kill(200)
    held = store(fs)
    fs.fail("pread", errno.EIO, when=when)
    adopted = held.adopt()
    after = (adopted, held.held, fs.descriptors(), held.statistics().failures)
    outcome = held.write(lines)

    assert (0, 0, 0, 1) == after
    assert (Delivered(), 3, lines) == (outcome, held.held, drain(held))


def test_directory_that_cannot_be_listed_is_counted(fs: FaultyFilesystem) -> None:
    """An adoption that could not look changes nothing, what was left behind included."""
    held = store(fs)
    held.write([line(1)])
    held.close()
    fs.fail("listdir", errno.EIO)

    assert (0, 1, 1) == (held.adopt(), held.held, held.statistics().failures)


def test_store_adopts_its_own_files_after_a_close(fs: FaultyFilesystem) -> None:
    """What it left behind is counted once when it comes back."""
    held = store(fs)
    held.write([line(1)])
    held.close()

    assert (1, 1, [line(1)]) == (held.adopt(), held.held, drain(held))


def test_store_of_the_same_process_takes_over_and_says_so(fs: FaultyFilesystem) -> None:
    """Who left a file is told its path, and holds its lines no more, only once."""
    old, new = store(fs), store(fs, "runb")
    old.write([line(1), line(2)])
    old.close()
    new.on_taken = old.disown
    left = (old.left, old.held, old.given)
    adopted = new.adopt()
    old.disown("/state/shop.app.runa-1.held")

    assert ((True, 2, 0), 2) == (left, adopted)
    assert (False, 0, 2) == (old.left, old.held, old.given)


def test_unfinished_file_goes_at_the_next_start(fs: FaultyFilesystem) -> None:
    """A hidden file of the dead is removed, one of the living stays; a failure is counted."""
    fs.makedirs("/state")
    for name in ("a", "b"):
        fs.put(f"/state/.shop.app.{name}-1.held", line(1))
    alive = fs.process(200)
    alive.lock(alive.open("/state/.shop.app.b-1.held", os.O_RDWR))
    held = store(fs)
    fs.fail("unlink", errno.EIO)
    held.adopt()
    kept = len(fs.files())
    held.adopt()

    assert (2, ["/state/.shop.app.b-1.held"], 1) == (kept, fs.files(), held.statistics().failures)


def test_name_that_is_taken_is_passed_over(fs: FaultyFilesystem) -> None:
    """A file in the way is left alone and another name is used."""
    fs.makedirs("/state")
    fs.put(f"{PREFIX}.runa-1.held", b"not mine")
    held = store(fs)
    held.write([line(1)])

    assert [f"{PREFIX}.runa-1.2.held", f"{PREFIX}.runa-1.held"] == fs.files()
    assert (b"not mine", [line(1)]) == (fs.read(f"{PREFIX}.runa-1.held"), drain(held))


def test_no_free_name_is_retryable(fs: FaultyFilesystem) -> None:
    """When every name is taken nothing is written, and nothing is lost."""
    held = store(fs)
    fs.fail("open", errno.EEXIST, times=None)
    outcome = held.write([line(1)])

    assert isinstance(outcome, Retryable)
    assert "no free name" in str(outcome.error)


def test_lines_that_went_behind_our_back_are_counted(fs: FaultyFilesystem) -> None:
    """A file that somebody cut gives what is left, and the rest is counted as torn."""
    held = store(fs)
    held.write([line(1), line(2), line(3)])
    path = fs.files()[0]
    fd = fs.open(path, os.O_RDWR)
    fs.truncate(fd, fs.read(path).index(line(2)) + 5)
    fs.close(fd)

    assert [line(1)] == drain(held)
    assert (0, 2, []) == (held.held, held.statistics().torn, fs.files())
    assert isinstance(held.write([line(2)]), Delivered)
    assert [line(2)] == drain(held)


def test_late_acknowledgement_changes_nothing(fs: FaultyFilesystem) -> None:
    """A chunk that was acknowledged already, or whose file is gone, is not acknowledged again."""
    held = store(fs)
    held.write([line(1), line(2)])
    first = held.lines(1, 1000)
    assert first is not None
    held.acknowledge(first)
    size = held.statistics().bytes
    held.acknowledge(first)
    after = held.statistics().bytes
    drain(held)
    held.acknowledge(first)

    assert (size, 0, []) == (after, held.held, fs.files())


def test_old_acknowledgement_spares_what_came_anew(fs: FaultyFilesystem) -> None:
    """A chunk from before a line was given up does not settle its second copy elsewhere."""
    held = store(fs, segment_bytes=1)
    held.write([line(1)])
    held.write([line(2)])
    chunk = held.lines(1, 1000)
    assert chunk is not None
    mixed = replace(chunk, lines=[line(1), line(2), b"alien\n"])
    held.acknowledge(mixed)

    assert (1, [line(2)]) == (held.held, drain(held))


def test_lines_without_weight_wait_too(fs: FaultyFilesystem) -> None:
    """Control records count nothing, yet they are there to be given back."""
    held = HeldStore(
        PREFIX,
        app="shop",
        destination="app",
        run="runa",
        identify=identify,
        weigh=lambda _: 0,
        system=fs,
    )
    empty = held.waiting
    held.write([line(1)])
    full = (held.held, held.waiting)

    assert (False, (0, True)) == (empty, full)
    assert ([line(1)], False) == (drain(held), held.waiting)


def test_chunk_ends_at_its_size_and_its_number(fs: FaultyFilesystem) -> None:
    """Neither more lines nor more bytes than asked for, but always one line."""
    held = store(fs)
    lines = [line(n) for n in range(1, 6)]
    held.write(lines)
    size = len(lines[0])
    asked = [(1, 1 << 20), (2, 1 << 20), (9, 1), (9, 2 * size), (9, 3 * size - 1), (0, 0)]
    counts = [len(c.lines) if (c := held.lines(*each)) else 0 for each in asked]

    assert [1, 2, 1, 2, 2, 1] == counts


def test_reader_does_not_wait_for_a_write_that_hangs(
    fs: FaultyFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a write keeps the store there is nothing to be had; later there is."""
    monkeypatch.setattr("fallbacks.held._store._LOCK_PATIENCE", 0.001)
    held = store(fs)
    held.write([line(1)])
    held._lock.acquire()
    during = held.lines(1, 1000)
    held._lock.release()

    assert (None, [line(1)]) == (during, drain(held))


def test_repeated_line_in_adopted_files_comes_once(fs: FaultyFilesystem) -> None:
    """Of two copies in two files of the dead one is replayed, and both files go."""
    for pid, run in ((200, "runb"), (300, "runc")):
        store(fs.process(pid), run).write([line(1, "x"), line(2, run)])
        fs.kill(pid)
    held = store(fs)

    assert 3 == held.adopt()
    assert [line(1, "x"), line(2, "runb"), line(2, "runc")] == drain(held)
    assert [] == fs.files()


def test_adopted_files_come_in_the_order_of_their_runs(fs: FaultyFilesystem) -> None:
    """The run with the oldest line first, its files by number, not by name."""
    late = store(fs.process(200), "aaa")
    late.write([line(500, "aaa")])
    early = store(fs.process(300), "zzz", segment_bytes=1)
    lines = [line(n, "zzz") for n in range(1, 12)]
    for each in lines:
        early.write([each])
    fs.kill(200)
    fs.kill(300)
    held = store(fs)
    held.adopt()

    assert [*lines, line(500, "aaa")] == drain(held)


def test_lines_are_cut_anywhere_by_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows do not matter; a line beyond the longest is torn, and the next one is whole."""
    monkeypatch.setattr("fallbacks.held._format.LONGEST", 8)
    data = b"one\n\n" + b"x" * 20 + b"\ntwo\nrest"
    for window in range(1, 12):
        monkeypatch.setattr("fallbacks.held._format.WINDOW", window)
        found = [each.data for each in split_lines(lambda a, b: data[a:b], 0, len(data))]

        assert [b"one\n", b"\n", b"", b"two\n", b""] == found, window


def test_very_long_end_is_one_torn_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that ends in a line beyond the longest has one torn line there."""
    monkeypatch.setattr("fallbacks.held._format.LONGEST", 8)
    monkeypatch.setattr("fallbacks.held._format.WINDOW", 10)

    assert [Line(b"", 0, 30)] == list(split_lines(lambda a, b: b"x" * (b - a), 0, 30))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"hydra":',
        b'{"hydra":"ack","offset":3}\n',
        b'{"hydra":' + b"[" * 100_000,
        b'{"hydra":"held\xff"}',
    ],
)
def test_odd_header_is_none(text: bytes) -> None:
    """What is no header does not raise."""
    assert decode_header(text) is None


@pytest.mark.parametrize("scan", [b"7", b"[]", b"{}", b'{"dev":1,"ino":"x","offset":3}'])
def test_odd_scan_is_no_position(scan: bytes) -> None:
    """A position that cannot be understood means that the whole file is looked through."""
    header = decode_header(b'{"hydra":"held","version":"1","scan":%b}' % scan)

    assert header is not None
    assert (None, 0) == (header.scan, header.version)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b'{"hydra":"ack","offset":7}\n', 7),
        (b'{"hydra":"ack","offset":11}\n', 0),
        (b'{"hydra":"ack","offset":-1}\n', 0),
        (b'{"hydra":"ack","offset":"7"}\n', 0),
        (b'{"hydra":"held","offset":7}\n', 0),
    ],
)
def test_acknowledgement_speaks_of_what_was_before_it(text: bytes, offset: int) -> None:
    """An offset beyond the line itself acknowledges nothing."""
    assert offset == decode_ack(Line(text, 10, 10 + len(text)))


@pytest.mark.parametrize(
    ("name", "number"), [("a-7.held", 7), ("a-adopted.held", 0), ("a-\u00b2.held", 0)]
)
def test_number_of_a_file_is_read_from_its_name(name: str, number: int) -> None:
    """A name without a plain number has the number 0."""
    assert number == number_in_name(name)


# The fault loops: a scenario reports what was promised; a restart must find it.


class Life:
    """One life of a process: what it was told is safe, and what it gave away."""

    def __init__(self) -> None:
        self.safe: list[bytes] = []
        self.delivered: list[bytes] = []

    def run(self, system: System, run: str) -> None:
        held = store(system, run, segment_bytes=300)
        held.adopt()
        for n in range(1, 5):
            lines = [line(2 * n, run), line(2 * n + 1, run)]
            self.safe += taken(held.write(lines), lines)
        try:
            held.import_lines("dead", IMPORTED, None)
            self.safe += IMPORTED
        except OSError:
            pass
        self.replay(held, 3)
        held.close()

    def replay(self, held: HeldStore, chunks: int) -> None:
        for _ in range(chunks):
            try:
                chunk = held.lines(3, 1000)
            except OSError:
                break
            if chunk is None:
                break
            self.delivered += chunk.lines
            held.acknowledge(chunk)


def check(fs: FaultyFilesystem, life: Life) -> None:
    """Start once more on a healthy disk; nothing that was taken is missing."""
    fs.kill(200)
    fs.kill(300)
    fs.heal()
    fs.set_quota(None)
    held = store(fs, "runz")
    held.adopt()
    rest = drain(held)

    assert set() == set(life.safe) - set(life.delivered) - set(rest)
    assert len(rest) == len(set(rest))
    held.close()
    assert ([], 0) == (fs.files(), fs.descriptors())


def operations_of_a_life() -> int:
    """Return how many operations a healthy life takes."""
    fs = FaultyFilesystem()
    process = fs.process(200)
    Life().run(process, "runa")
    return process.done


LIFE = operations_of_a_life()


@pytest.mark.parametrize("times", [1, None])
def test_every_operation_fails(times: int | None) -> None:
    """Whatever fails, once or for ever: what was taken is delivered or still there."""
    for n in range(1, LIFE + 1):
        fs = FaultyFilesystem()
        fs.fail("*", errno.EIO, when=n, times=times)
        life = Life()
        life.run(fs.process(200), "runa")
        check(fs, life)


@pytest.mark.parametrize("torn", [0, 7, 150])
def test_killed_at_every_operation_twice(torn: int) -> None:
    """A process killed anywhere, and its successor too: nothing taken is lost."""
    for n in range(1, LIFE + 1):
        for m in (1, 2, 3, 5, 8, 13, 21, 34):
            fs = FaultyFilesystem()
            life = Life()
            for pid, run, at in ((200, "runa", n), (300, "runb", m)):
                process = fs.process(pid)
                process.kill_at(at, torn=torn)
                try:
                    life.run(process, run)
                except Killed:
                    pass
            check(fs, life)


def test_disk_full_at_every_byte() -> None:
    """A disk that fills up anywhere costs no line that was taken."""
    for quota in range(0, 1500, 7):
        fs = FaultyFilesystem(quota=quota)
        life = Life()
        life.run(fs.process(200), "runa")
        check(fs, life)


def test_power_cut_keeps_an_import() -> None:
    """What `import_lines` returned for survives a power cut, whatever else goes."""
    for seed in range(50):
        fs = FaultyFilesystem(seed=seed)
        held = store(fs.process(200))
        held.write([line(1)])
        held.import_lines("dead", IMPORTED, None)
        fs.power_cut()
        new = store(fs.process(300), "runb")
        new.adopt()

        assert set(IMPORTED) <= set(drain(new))


@given(st.binary(max_size=400), st.integers(0, 600), st.integers(0, 200))
@settings(max_examples=150, deadline=None)
def test_mutated_segment_is_read_without_error(junk: bytes, at: int, cut: int) -> None:
    """No bytes can stop a start; whole lines before the damage come back."""
    fs = FaultyFilesystem()
    owner = fs.process(200)
    old = store(owner, "runb")
    lines = [line(n, "runb") for n in range(1, 6)]
    old.write(lines)
    fs.kill(200)
    path = fs.files()[0]
    data = fs.read(path)
    fs.put(path, data[:at] + junk + data[at + cut :])
    held = store(fs)
    held.adopt()
    found = drain(held)
    whole = data[:at].count(b"\n")

    if whole:
        assert lines[: whole - 1] == [x for x in found if x in lines][: whole - 1]
    assert 0 == held.held


def test_store_works_on_real_files(tmp_path: Path) -> None:
    """On a real disk files are private, and go when they are done."""
    held = HeldStore(
        str(tmp_path / "deep" / "shop.app"),
        app="shop",
        destination="app",
        run="runa",
        identify=identify,
        weigh=lambda _: 1,
    )
    held.write([line(1)])
    made = next((tmp_path / "deep").iterdir())
    modes = (made.stat().st_mode & 0o777, made.parent.stat().st_mode & 0o777)

    assert ((0o600, 0o700), [line(1)], []) == (modes, drain(held), os.listdir(made.parent))
