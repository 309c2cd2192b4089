from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.dead_letters import (
    DeadLetters,
    Letter,
    Taken,
    decode,
    encode,
    paths,
    prefix_of,
    read,
)
from fallbacks.system import SYSTEM
from fallbacks.testing import FakeClock, FaultyFilesystem, Killed

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent.parent / "golden"
PREFIX = "/state/app"
PATH = f"{PREFIX}.dead"


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return an empty file system."""
    return FaultyFilesystem()


def box(system: FaultyFilesystem, **options: int) -> DeadLetters:
    """Return the dead letters of one destination."""
    return DeadLetters(
        PREFIX, app="shop", destination="app", system=system, clock=FakeClock(), **options
    )


def entry(n: int, size: int = 0) -> tuple[bytes, str, str, str]:
    """Return what is kept of line *n*."""
    return b'{"n":%d,"x":"%b"}\n' % (n, b"x" * size), f"run.1r-{n}", "collector", "too odd"


def lines(fs: FaultyFilesystem, path: str = PATH) -> list[bytes]:
    """Return the lines in the file at *path*."""
    return [letter.line for letter in read(fs, path).letters]


def test_letter_is_kept(fs: FaultyFilesystem) -> None:
    """
    It says what was refused, by whom, why and when; the file is private.
    """
    letters = box(fs)

    assert 2 == letters.keep([entry(1), entry(2)])
    assert 2 == letters.kept
    assert 0o600 == fs.lstat(PATH).st_mode & 0o777
    first, _ = read(fs, PATH).letters
    assert Letter(entry(1)[0], "run.1r-1", "collector", "too odd", first.time, "shop", "app") == (
        first
    )


@given(st.binary(), st.text())
def test_line_comes_back_byte_for_byte(line: bytes, reason: str) -> None:
    """
    Whatever bytes a line has, and whatever the tier says, the letter is one line and gives it back.
    """
    data = encode(Letter(line, "id", "tier", reason, 1, "shop", "app"))
    found = decode(data)

    assert 1 == data.count(b"\n")
    assert isinstance(found, Letter)
    assert (line, reason[:500]) == (found.line, found.reason)


def test_line_that_is_kept_twice_counts_once(fs: FaultyFilesystem) -> None:
    """
    After a kill between keeping and acknowledging, the line comes again.
    """
    box(fs).keep([entry(1)])
    later = DeadLetters(
        PREFIX, app="shop", destination="app", system=fs, clock=FakeClock(wall_ns=1)
    )
    later.keep([entry(1), entry(2)])

    assert [entry(1)[0], entry(2)[0]] == lines(fs)


def test_quota(fs: FaultyFilesystem) -> None:
    """
    What does not fit is not taken, and said so; what fits in front of it is.
    """
    letters = box(fs, quota=600)

    assert 1 == letters.keep([entry(1), entry(2, 1000), entry(3)])
    assert [entry(1)[0]] == lines(fs)
    assert letters.last_error is not None
    assert (errno.EDQUOT, 1) == (letters.last_error.errno, letters.failures)


@pytest.mark.parametrize("operation", ["open", "write", "fstat", "lstat", "listdir"])
def test_call_that_fails(fs: FaultyFilesystem, operation: str) -> None:
    """
    Nothing is raised and nothing claimed; later it works again.
    """
    letters = box(fs)
    letters.keep([entry(1)])
    fs.fail(operation, errno.EIO)

    assert 0 == letters.keep([entry(2)])

    fs.heal()

    assert 1 == letters.keep([entry(3)])
    assert {entry(1)[0], entry(3)[0]} <= set(lines(fs))
    assert 0 == fs.descriptors()


def test_disk_that_fills_up_in_the_middle(fs: FaultyFilesystem) -> None:
    """
    Only letters that are there whole count; the torn one is skipped, the next one is whole.
    """
    letters = box(fs)
    size = len(
        encode(Letter(entry(1)[0], "run.1r-1", "collector", "too odd", 10**18, "shop", "app"))
    )
    fs.set_quota(fs.used + size + size // 2)

    assert 1 == letters.keep([entry(1), entry(2)])

    fs.set_quota(None)
    letters.keep([entry(3)])
    contents = read(fs, PATH)

    assert [entry(1)[0], entry(3)[0]] == [letter.line for letter in contents.letters]
    assert 1 == contents.torn


def test_disk_that_is_full_before_the_last_byte(fs: FaultyFilesystem) -> None:
    """
    Behind a torn letter, too, one counts only with the last of its bytes.
    """
    letters = box(fs)
    letters.keep([entry(1)])
    size = fs.lstat(PATH).st_size
    fs.set_quota(fs.used + 10)
    letters.keep([entry(2)])
    # The newline that ends the torn letter takes a byte, and one is lacking.
    fs.set_quota(fs.used + size)

    assert (0, 1) == (letters.keep([entry(3)]), letters.kept)


def test_killed_at_any_call(fs: FaultyFilesystem) -> None:
    """
    Wherever a process dies, earlier letters stay and the next process adds its own.
    """
    for n in range(1, 30):
        fs = FaultyFilesystem()
        box(fs).keep([entry(1)])
        dying = fs.process(7)
        dying.kill_at(n, torn=20)
        try:
            box(dying).keep([entry(2)])  # type: ignore[arg-type]
        except Killed:
            pass
        else:
            break
        box(fs).keep([entry(3)])

        assert {entry(1)[0], entry(3)[0]} <= set(lines(fs)) <= {entry(k)[0] for k in (1, 2, 3)}
    assert n > 5


@pytest.mark.parametrize("plant", ["symlink", "mkfifo"])
def test_path_that_somebody_else_planted(fs: FaultyFilesystem, plant: str) -> None:
    """
    Links and FIFOs are refused.
    """
    fs.makedirs("/state")
    fs.put("/etc", b"")
    if plant == "symlink":
        fs.symlink("/etc", PATH)
    else:
        fs.mkfifo(PATH)

    assert 0 == box(fs).keep([entry(1)])
    assert b"" == fs.read("/etc")


def test_file_of_another_user(fs: FaultyFilesystem) -> None:
    """
    It is neither written to nor read.
    """
    fs.makedirs("/state")
    fs.put(PATH, b"", uid=0)

    assert 0 == box(fs).keep([entry(1)])
    with pytest.raises(PermissionError):
        read(fs, PATH)


def test_taken_away(fs: FaultyFilesystem) -> None:
    """
    Letters in hand are out of the way of new ones, and go when they are finished.
    """
    letters = box(fs)
    letters.keep([entry(1)])
    taken = Taken(fs, PATH)
    letters.keep([entry(2)])

    assert [entry(1)[0]] == [letter.line for letter in taken.contents.letters]
    assert [entry(2)[0]] == lines(fs)

    taken.finish()
    taken.release()

    assert [PATH] == fs.files("/state")
    assert 0 == fs.descriptors()


def test_taken_and_given_back(fs: FaultyFilesystem) -> None:
    """
    What an interrupted replay had in hand is found by the next one; meanwhile nobody else has it.
    """
    box(fs).keep([entry(1)])
    taken = Taken(fs, PATH)
    with pytest.raises(BlockingIOError):
        Taken(fs.process(2), taken.path)
    taken.release()
    [path] = paths(fs, PREFIX)

    assert path == taken.path
    assert [entry(1)[0]] == [letter.line for letter in Taken(fs, path).contents.letters]


def test_letter_that_comes_while_its_file_is_taken(fs: FaultyFilesystem) -> None:
    """
    Whoever finds its file renamed behind its back writes the letter again: none is lost.
    """
    box(fs).keep([entry(1)])
    inner, done = fs.process(2), []

    def write(fd: int, data: bytes | memoryview) -> int:
        if not done:
            done.append(Taken(fs, PATH))
        return type(inner).write(inner, fd, data)

    inner.write = write  # type: ignore[method-assign]
    assert 1 == box(inner).keep([entry(2)])  # type: ignore[arg-type]

    assert [entry(1)[0]] == [letter.line for letter in done[0].contents.letters]
    assert [entry(2)[0]] == lines(fs)
    done[0].release()


def test_torn_letters_are_not_removed(fs: FaultyFilesystem) -> None:
    """
    What cannot be read is kept under another name when the rest has gone.
    """
    box(fs).keep([entry(1)])
    fs.put(PATH, fs.read(PATH) + b'{"hydra":"dead","ver')
    Taken(fs, PATH).finish()
    [path] = fs.files("/state")

    assert (".bad", None) == (path[-4:], prefix_of(path))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"hydra":"dead","version":1}',
        encode(Letter(b"x", "i", "t", "r", 1)).replace(b'"x"', b'"\\ud800"'),
        encode(Letter(b"x", "i", "t", "r", 1)).replace(b'"time":1', b'"time":"1"'),
    ],
)
def test_what_is_no_letter(data: bytes) -> None:
    """
    No bytes make reading raise.
    """
    assert None is decode(data)


def test_newer_version(fs: FaultyFilesystem) -> None:
    """
    A letter of a later version is counted, not guessed at.
    """
    fs.makedirs("/state")
    fs.put(PATH, encode(Letter(b"x", "i", "t", "r", 1)).replace(b'"version":1', b'"version":2'))

    assert ((), 1) == ((contents := read(fs, PATH)).letters, contents.newer)


def test_golden_file_is_read_for_ever() -> None:
    """
    The letters kept since version 1 still give their lines back.
    """
    contents = read(SYSTEM, str(GOLDEN / "dead-v1.dead"))

    assert (1, 0) == (contents.torn, contents.newer)
    assert [
        Letter(
            '{"message":"grüße","id":"k3f9x2ab71qz.1g-2"}\n'.encode(),
            "k3f9x2ab71qz.1g-2",
            "collector",
            "not of the schema",
            1_795_225_440_000_000_002,
            "shop",
            "app",
        ),
        Letter(b"\xff\x00raw\n", "", "collector", "", 1_795_225_440_000_000_003, "shop", "app"),
    ] == list(contents.letters)
