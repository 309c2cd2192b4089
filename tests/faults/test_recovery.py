"""
A start that takes over what a dead process left, and dies itself on the way.
"""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from fallbacks.journal import frames
from fallbacks.position import Position
from fallbacks.system import SYSTEM, PosixSystem
from fallbacks.tiers._scan import scan_file
from hydra.core.ids import identify
from tests.faults._start import be_started
from tests.faults.programs import World

pytestmark = pytest.mark.faults

ERRORS = 6
MESSAGES = [f"record {n}" for n in range(ERRORS)]

# Calls that change what the next start will find. Dying at another one is like
# dying at the next of these.
CHANGES = (
    "allocate", "fchmod", "fdatasync", "link", "lock", "makedirs", "map", "open", "rename",
    "sync_directory", "truncate", "unlink", "write",
)  # fmt: skip


class Mortal(PosixSystem):
    """The real system until its *n*-th change, where the process is killed before or after it."""

    def __init__(self, n, *, after):
        self.left = n
        self.after = after

    def count(self, call, *arguments):
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*arguments)
        finally:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _mortal(name):
    def call(self, *arguments):
        return self.count(getattr(SYSTEM, name), *arguments)

    return call


for _name in CHANGES:
    setattr(Mortal, _name, _mortal(_name))


def _start_until_killed(world, n, *, after):
    """Be a start that is killed at its *n*-th change; return whether it got that far."""
    # The work is done without threads, so that a fork of this process is harmless.
    pid = os.fork()
    if not pid:
        try:
            be_started(world, Mortal(n, after=after))
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.fixture(scope="module")
def estate(tmp_path_factory):
    """What a process leaves that was killed with some ERRORs delivered and some not."""
    world = World(tmp_path_factory.mktemp("estate"))
    # The first is in the file and acknowledged; the second is in the file only.
    source = f"""
    from hydra.engine import ENGINE
    log.error("record 0").wait(5)
    run = ENGINE.run
    service = run.services["app"]
    service.chain.ticket.acquire()
    receipts = [log.error(f"record {{n}}") for n in range(1, {ERRORS})]
    line = receipts[0]._entry.line
    descriptor = os.open({str(world.path)!r}, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line + receipts[1]._entry.line[:40])
    os._exit(1)
    """
    ended = world.run(source)
    assert (1, "") == (ended.status, ended.stderr)
    return world


def _heir(estate, directory):
    """Copy *estate*, so that one more start may die of it."""
    world = World(directory)
    if directory.exists():
        shutil.rmtree(directory)
    shutil.copytree(estate.directory, directory)
    # The journal knows the file by its inode, which a copy has not.
    return world


def _check(world):
    world.recover()

    assert MESSAGES == sorted(world.messages())
    assert [] == world.twice()
    assert [] == world.left()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_change_of_a_recovery(estate, tmp_path, after):
    """
    Wherever a recovery dies, the next one has every ERROR in the file, each once.
    """
    deaths = 0
    while True:
        world = _heir(estate, tmp_path / "w")
        if not _start_until_killed(world, deaths + 1, after=after):
            break
        deaths += 1
        _check(world)

    # Making, filling and showing the held file, forcing it to the disk, removing
    # the journal, writing to the log, acknowledging, removing the held file.
    assert 15 < deaths
    assert MESSAGES == sorted(world.messages())


@pytest.mark.parametrize("second", [1, 2, 3, 5, 8, 11, 14])
def test_killed_twice_in_recoveries(estate, tmp_path, second):
    """
    A recovery of what a dead recovery left may die as well.
    """
    first = 0
    while True:
        first += 1
        world = _heir(estate, tmp_path / "w")
        if not _start_until_killed(world, first, after=True):
            break
        _start_until_killed(world, second, after=first % 2 == 0)
        _check(world)


def test_dead_between_import_and_removal(estate, tmp_path):
    """
    Imported into a held file, and the journal not yet removed: each record comes once.
    """
    world = _heir(estate, tmp_path / "w")
    n = 1
    while True:
        if not _start_until_killed(_heir(estate, tmp_path / "w"), n, after=False):
            pytest.fail("the recovery never has both a held file and a journal")
        names = " ".join(world.left())
        if ".held" in names and ".j" in names and "." + "shop" not in names:
            break
        n += 1

    _check(world)


def test_many_random_kills_with_a_backlog(tmp_path):
    """
    Killed in the middle of taking over a thousand records, again and again.
    """
    world = World(tmp_path)
    world.run("""
    for n in range(1000): log.error(f"record {n}", text="x" * (n % 300))
    os._exit(1)
    """)
    have = set(world.messages())
    n = 3
    while _start_until_killed(world, n, after=bool(n % 2)):
        n += 1
        assert have <= set(world.messages())
    world.recover()

    assert 1000 == len(set(world.messages()))
    assert [] == world.twice()
    assert [] == world.directories()


def test_replay_looks_behind_the_start_of_the_dead_run_only(tmp_path):
    """
    A process killed before its first acknowledgement does not cost its heir the whole log.
    """
    world = World(tmp_path)
    world.path.write_bytes(b'{"old":"line"}\n' * 1000)
    size = world.path.stat().st_size
    world.run("log.error('one'); os._exit(1)")
    seen = []

    class Watched(PosixSystem):
        def pread(self, fd, n, offset):
            if os.readlink(f"/proc/self/fd/{fd}") == str(world.path):
                seen.append(offset)
            return super().pread(fd, n, offset)

    be_started(world, Watched())

    # One byte before it, to see whether the last line is whole.
    assert size - 1 <= min(seen)
    assert ["one"] == world.messages()[-1:]


def test_long_log_is_searched_without_splitting_it(tmp_path):
    """
    Lines of other runs cost no call each; a line of the wanted run is found between them.
    """
    path = tmp_path / "app.log"
    other = b'{"message":"x","id":"aaaaaaaaaaaa.1g-%d"}\n'
    mine = b'{"message":"y","id":"bbbbbbbbbbbb.1g-7"}\n'
    crowd = b"".join(other % n for n in range(60_000))
    path.write_bytes(crowd + mine + crowd)
    wanted = {b"bbbbbbbbbbbb.1g-%d" % n for n in range(5, 9)}
    calls = []

    def identify_counted(line):
        calls.append(line)
        return identify(line)

    found = scan_file(SYSTEM, str(path), wanted, None, identify_counted)

    assert {b"bbbbbbbbbbbb.1g-7"} == found
    assert 30_000 > len(calls)


def _partly_written(frame):
    """Yield *frame* as a kill may leave it: any run of 16 bytes of it not yet written."""
    step = 16
    for start in range(0, len(frame), step):
        for stop in range(start + step, len(frame) + step, step):
            hole = frame[start:stop]
            yield frame[:start] + bytes(len(hole)) + frame[stop:]


def test_frame_that_was_copied_back_to_front(tmp_path):
    """
    A kill in the middle of a copy leaves holes anywhere in the last frame: torn, not damaged.
    """
    line = json.dumps({"message": "m" * 80, "id": "aaaaaaaaaaaa.1g-1"}).encode() + b"\n"
    whole = frames.encode_record(b"app", line)
    for last in _partly_written(whole):
        scan = frames.parse(whole + last + bytes(100))

        assert 1 == len(list(scan))
        assert 0 == scan.bad, last
        assert last.strip(b"\0\n") == b"" or 1 == scan.torn, last


def test_wrong_bytes_are_damage(tmp_path):
    """
    A byte that changed is no torn frame: the segment is kept for somebody to look at.
    """
    whole = frames.encode_record(b"app", b'{"message":"m","id":"aaaaaaaaaaaa.1g-1"}\n')
    scan = frames.parse(whole + whole.replace(b'"m"', b'"n"') + bytes(100))

    assert 1 == len(list(scan))
    assert (0, 1) == (scan.torn, scan.bad)


def test_place_is_an_acknowledgement_of_nothing():
    """
    Readers of the format know the frame that says where a destination's file ended.
    """
    frame = frames.encode_place("app", Position(1, 2, 3))
    (found,) = frames.parse(frame)

    assert frames.Acknowledgement("app", Position(1, 2, 3), ()) == frames.decode_ack(found.payload)


def test_clock_that_jumps(tmp_path):
    """
    A wall clock set back or forth between death and start changes nothing.
    """
    world = World(tmp_path)
    for n, jump in enumerate((0, -86_400 * 3650 * 10**9, 86_400 * 3650 * 10**9)):
        source = f"import time; real = time.time_ns; time.time_ns = lambda: real() + {jump}\n"
        source += f"{world.start}log.error('record {n}'); os._exit(1)"
        ended = world.run(source, start=False)

        assert (1, "") == (ended.status, ended.stderr)
    world.recover()

    assert MESSAGES[:3] == sorted(world.messages())
    assert {"2016", "2026", "2036"} == {each["timestamp"][:4] for each in world.records()}
    assert [] == world.twice()
