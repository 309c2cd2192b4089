from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallbacks.position import Position
from fallbacks.system import SYSTEM, PosixSystem
from fallbacks.tiers import _scan
from fallbacks.tiers._scan import scan_file

pytestmark = pytest.mark.integration


def identify(line: bytes) -> bytes | None:
    """Return the text of a complete line as its id."""
    assert line.endswith(b"\n")
    return line[:-1] or None


def position_of(path, offset):
    """Return a position in the file that is at *path* now."""
    facts = os.stat(path)
    return Position(facts.st_dev, facts.st_ino, offset)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60).map(lambda b: bytes(b"a\nbc"[x % 4] for x in b)), st.integers(4, 9))
def test_blocks_of_any_size_give_the_complete_lines(tmp_path, data, block):
    """
    Where a block ends has no influence on what is found.
    """
    path = tmp_path / "f"
    path.write_bytes(data)
    expected = {line for line in data.split(b"\n")[:-1] if 0 < len(line) <= block}
    seen = set()

    def note(line):
        seen.add(line[:-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_scan, "BLOCK", block)
        # Two ids without a common beginning: no block is passed over for want of it.
        scan_file(SYSTEM, str(path), {b"never", b"once"}, None, note)

    assert expected <= seen
    assert seen <= set(data.split(b"\n")[:-1])


def test_torn_last_line_is_not_found(log):
    """
    A line counts when its newline is there.
    """
    log.write_bytes(b"one\n\ntwo")
    found = scan_file(SYSTEM, str(log), {b"one", b"two"}, None, identify)

    assert {b"one"} == found


def test_line_longer_than_a_block_is_passed_over(log):
    """
    A monster of a line costs no memory and hides nothing behind it.
    """
    log.write_bytes(b"x" * (3 << 20) + b"\none\n")
    seen = []

    def note(line):
        seen.append(len(line))
        return line[:-1]

    found = scan_file(SYSTEM, str(log), {b"one"}, None, note)

    assert {b"one"} == found
    assert [4] == seen


def test_missing_file_has_no_lines(tmp_path):
    """
    No file, no directory, or a file where the directory was: nothing is found.
    """
    (tmp_path / "file").write_bytes(b"")
    since = Position(1, 1, 0)
    places = [tmp_path / "none", tmp_path / "no" / "such", tmp_path / "file" / "below"]
    found = [
        scan_file(SYSTEM, str(p), {b"one"}, s, identify) for p in places for s in (None, since)
    ]

    assert [set()] * 6 == found


def test_file_that_cannot_be_read_is_an_error(log):
    """
    Not being able to look is no reason to say that nothing is there.
    """
    log.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        scan_file(SYSTEM, str(log), {b"one"}, None, identify)


def test_reading_ends_when_all_is_found(log):
    """
    The rest of the file is not read.
    """
    log.write_bytes(b"one\ntwo\n")
    seen = []

    def note(line):
        seen.append(line)
        return line[:-1]

    scan_file(SYSTEM, str(log), {b"one"}, None, note)
    scan_file(SYSTEM, str(log), set(), None, note)

    assert [b"one\n"] == seen


def test_same_file_is_read_from_the_position(log):
    """
    What stands before the position is not looked at.
    """
    log.write_bytes(b"one\ntwo\n")
    found = scan_file(SYSTEM, str(log), {b"one", b"two"}, position_of(log, 4), identify)

    assert {b"two"} == found


def test_file_cut_since_is_read_whole(log):
    """
    After copytruncate the position means nothing any more.
    """
    log.write_bytes(b"one\n")
    found = scan_file(SYSTEM, str(log), {b"one"}, position_of(log, 99), identify)

    assert {b"one"} == found


def test_file_moved_away_is_found_by_its_inode(log):
    """
    The moved file is read from the position, the new one whole, others not at all.
    """
    log.write_bytes(b"old\none\n")
    since = position_of(log, 4)
    log.rename(f"{log}.1")
    log.write_bytes(b"two\n")
    (log.parent / "app.log.0.held").write_bytes(b"three\n")
    (log.parent / "another").write_bytes(b"three\n")
    found = scan_file(SYSTEM, str(log), {b"old", b"one", b"two", b"three"}, since, identify)

    assert {b"one", b"two"} == found


def test_relative_path_has_siblings_too(log, monkeypatch):
    """
    A path without a directory is looked for in the current one.
    """
    log.write_bytes(b"one\n")
    since = position_of(log, 0)
    log.rename(f"{log}.1")
    monkeypatch.chdir(log.parent)
    found = scan_file(SYSTEM, "app.log", {b"one"}, since, identify)

    assert {b"one"} == found


def test_file_gone_for_good_is_no_error(log):
    """
    Without the file of the position the one at the path is read whole.
    """
    log.write_bytes(b"one\n")
    found = scan_file(SYSTEM, str(log), {b"one"}, Position(1, 1, 2), identify)

    assert {b"one"} == found


def test_sibling_that_goes_meanwhile_is_passed_over(log):
    """
    Somebody cleans up while the names are looked through.
    """

    class Cleaned(PosixSystem):
        __slots__ = ()

        def listdir(self, path):
            return ["app.log.gone", *super().listdir(path)]

    log.write_bytes(b"one\n")
    since = position_of(log, 0)
    log.rename(f"{log}.1")
    found = scan_file(Cleaned(), str(log), {b"one"}, since, identify)

    assert {b"one"} == found
