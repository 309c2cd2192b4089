from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Partial, Retryable
from fallbacks.system import SYSTEM, PosixSystem
from fallbacks.tiers import FileTier, _append
from fallbacks.tiers._append import WANTED, append_known

pytestmark = pytest.mark.unit

compiled = pytest.mark.skipif(_append.NATIVE is None, reason="fallbacks._native was not built")


@pytest.fixture(name="opened")
def _opened(log):
    """A file with one line, open for appending: descriptor, path, key and size."""
    log.write_bytes(b"one\n")
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    facts = os.fstat(fd)
    yield fd, str(log), (facts.st_dev, facts.st_ino), 4
    os.close(fd)


@compiled
def test_file_as_it_was_left(log, opened):
    """The file that is open, stands at the path and has the size that is known is appended to."""
    taken = append_known(SYSTEM, *opened, [b"two\n"], WANTED)

    assert (4, 4) == taken
    assert b"one\ntwo\n" == log.read_bytes()


@compiled
@pytest.mark.parametrize(
    "sizes",
    [[], [0, 0], [1, 65_534, 1, 1], [65_535, 65_536, 65_537, 3], [200_000, 7], [120] * 3_000],
)
def test_lines_of_all_sizes(log, opened, sizes):
    """Lines are gathered, and those that are longer than the place for it go by themselves."""
    lines = [b"%d" % (n % 10) * (size - 1) + b"\n" if size else b"" for n, size in enumerate(sizes)]

    taken = append_known(SYSTEM, *opened, lines, WANTED)

    assert (sum(sizes), sum(sizes)) == taken
    assert b"one\n" + b"".join(lines) == log.read_bytes()


@compiled
@pytest.mark.parametrize("line", [bytearray(b"two\n"), "two\n", None])
def test_lines_that_are_something_else(log, opened, line):
    """Nothing is written: whoever joins them finds out what can be done with them."""
    assert append_known(SYSTEM, *opened, [b"two\n", line], WANTED) is None
    assert b"one\n" == log.read_bytes()


@compiled
def test_lines_that_are_no_sequence(opened):
    """An error of the caller's is raised, not taken for a file that has changed."""
    with pytest.raises(TypeError):
        append_known(SYSTEM, *opened, 7, WANTED)


def test_rendered_lines_that_are_no_bytes(log):
    """What cannot be joined is raised to whoever rendered it, before and after an append."""
    tier = FileTier(log, render=lambda line: line.decode())
    for _ in range(2):
        with pytest.raises(TypeError):
            tier.write(Batch([b"one\n"]))
    tier.close()


def test_several_processes_write_whole_lines(log):
    """However long the batches of each, no line has another one within it."""
    program = (
        "import sys; from fallbacks import Batch; from fallbacks.tiers import FileTier\n"
        "tier = FileTier(sys.argv[1])\n"
        "line = (sys.argv[2] * 299 + '\\n').encode()\n"
        "for _ in range(30): tier.write(Batch([line] * 2_000))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(log), letter]) for letter in "ab"
    ]

    assert [0, 0] == [process.wait(60) for process in processes]
    found = Counter(log.read_bytes().splitlines())
    # An empty line stands where one saw the other in the middle of a line.
    found.pop(b"", None)
    assert {b"a" * 299: 60_000, b"b" * 299: 60_000} == found


CHANGES = {
    "replaced": lambda log: (log.rename(log.with_name("old")), log.write_bytes(b"one\n")),
    "renamed": lambda log: log.rename(log.with_name("old")),
    "longer": lambda log: os.truncate(log, 5),
    "emptied": lambda log: os.truncate(log, 0),
}


@compiled
@pytest.mark.parametrize("change", CHANGES)
def test_file_that_has_changed(log, opened, change):
    """Nothing is written where the path leads elsewhere, or somebody else has changed the file."""
    CHANGES[change](log)
    before = os.fstat(opened[0]).st_size

    assert append_known(SYSTEM, *opened, [b"two\n"], WANTED) is None
    assert before == os.fstat(opened[0]).st_size


@compiled
def test_descriptor_of_another_file(log, opened, tmp_path):
    """Nothing is written where the descriptor's number has become another file's."""
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    os.dup2(other, opened[0])
    os.close(other)

    assert append_known(SYSTEM, *opened, [b"two\n"], WANTED) is None
    assert b"" == (tmp_path / "other").read_bytes()
    assert b"one\n" == log.read_bytes()


@compiled
def test_descriptor_that_is_closed(log, opened):
    """A descriptor that leads nowhere is no error here: whoever looks next finds out."""
    _, *rest = opened

    assert append_known(SYSTEM, 1_000_000, *rest, [b"two\n"], WANTED) is None


@compiled
@pytest.mark.parametrize("wanted", [b"\0", bytearray(1), b""])
def test_nobody_waits_any_more(log, opened, wanted):
    """Nothing is written for somebody who has given up."""
    assert append_known(SYSTEM, *opened, [b"two\n"], wanted) is None
    assert b"one\n" == log.read_bytes()


def test_other_system(log, opened):
    """A system that is not the real one sees every call: nothing goes past it."""
    assert append_known(PosixSystem(), *opened, [b"two\n"], WANTED) is None
    assert b"one\n" == log.read_bytes()


@compiled
def test_tier_takes_the_short_way(log, monkeypatch):
    """From its second batch on, a file tier looks and appends in one step."""
    native, answers = _append.NATIVE, []

    def append_known(*arguments):
        answers.append(native.append_known(*arguments))
        return answers[-1]

    monkeypatch.setattr(_append, "NATIVE", SimpleNamespace(append_known=append_known))
    tier = FileTier(log)
    outcomes = [tier.write(Batch([b"%d\n" % i])) for i in range(3)]
    with log.open("ab") as file:
        file.write(b"torn")
    outcomes.append(tier.write(Batch([b"3\n"])))
    outcomes.append(tier.write(Batch([b"4\n"])))
    tier.close()

    assert [DELIVERED] * 5 == outcomes
    assert [(2, 2), (2, 2), None, (2, 2)] == answers
    assert b"0\n1\n2\ntorn\n3\n4\n" == log.read_bytes()


def test_disk_that_fills_up_in_the_middle(log):
    """What the short way got into the file counts, and the rest meets the error itself."""
    tier = FileTier(log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    first = tier.write(Batch([b"one\n"]))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        cut = tier.write(Batch([b"two\n", b"three\n", b"four\n"]))
        full = tier.write(Batch([b"three\n"]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = tier.write(Batch([b"three\n"]))
    tier.close()

    assert DELIVERED is first
    assert isinstance(cut, Partial)
    assert [0] == list(cut.indices)
    assert isinstance(full, Retryable)
    assert DELIVERED is again
    assert b"one\ntwo\nth\nthree\n" == log.read_bytes()
