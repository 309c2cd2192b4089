from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import load
from benchmarks.peers.adapter import read_json, read_text
from benchmarks.runner import judge
from benchmarks.verify import STRIDE, verify

pytestmark = pytest.mark.unit


def _line(seq: int) -> bytes:
    fields = b'"user":"alice","path":"/api","status":200,"ms":12.5'
    return b'{"level":"info","message":"m","seq":%d,%b}\n' % (seq, fields)


def _refusal(path: Path, lines: list[bytes], counts: list[int], *, may_drop: bool = False) -> str:
    path.write_bytes(b"".join(lines))
    return verify([str(path)], read_json, counts).refusal(may_drop=may_drop)


def test_every_record_once_passes(tmp_path: Path) -> None:
    """
    A file that has each record of each producer once, in any order, is not refused.
    """
    lines = [_line(n) for n in (2, 0, 1, STRIDE + 1, STRIDE)]

    assert _refusal(tmp_path / "f", lines, [3, 2]) == ""


def test_missing_record_is_refused(tmp_path: Path) -> None:
    """
    One record that is not in the file refuses the figure.
    """
    assert _refusal(tmp_path / "f", [_line(0), _line(2)], [3]) == "of 3 records 1 missing"


def test_missing_last_record_is_refused(tmp_path: Path) -> None:
    """
    What is missing at the end, where no gap shows it, is missing all the same.
    """
    assert _refusal(tmp_path / "f", [_line(0), _line(1)], [3]) == "of 3 records 1 missing"


def test_duplicated_record_is_refused(tmp_path: Path) -> None:
    """
    A record that is in the file twice refuses the figure.
    """
    lines = [_line(0), _line(1), _line(1)]

    assert _refusal(tmp_path / "f", lines, [2]) == "of 2 records 1 duplicated"


@pytest.mark.parametrize(
    "torn",
    [_line(1)[:-20] + b"\n", _line(1)[:-1], b"\n", _line(1).replace(b'"status":200,', b"")],
    ids=["cut", "no newline", "empty", "a field less"],
)
def test_torn_line_is_refused(tmp_path: Path, torn: bytes) -> None:
    """
    A line that is cut, or lacks a field, is no record, and its record is missing.
    """
    refusal = _refusal(tmp_path / "f", [_line(0), torn], [2])

    assert refusal == "of 2 records 1 missing, 1 torn"


def test_last_line_without_its_end_is_torn(tmp_path: Path) -> None:
    """
    Text that was cut within its last number can be read, yet it is no whole line.
    """
    path = tmp_path / "f"
    path.write_bytes(b"INFO m seq=0 user=a path=/ status=200 ms=12.5"[:-1])

    assert 1 == verify([str(path)], read_text, [1]).torn


def test_record_of_nobody_is_refused(tmp_path: Path) -> None:
    """
    A number beyond what its producer made, or of no producer, refuses the figure.
    """
    lines = [_line(0), _line(1), _line(STRIDE)]

    assert _refusal(tmp_path / "f", lines, [1]) == "of 1 records 2 of nobody"


def test_dropped_records_pass_where_they_may_be_dropped(tmp_path: Path) -> None:
    """
    Where dropping is no fault a missing record passes, a duplicated one does not.
    """
    path = tmp_path / "f"

    assert _refusal(path, [_line(0)], [2], may_drop=True) == ""
    assert _refusal(path, [_line(0)] * 2, [2], may_drop=True) != ""


def test_file_that_is_not_there_has_nothing_in_it(tmp_path: Path) -> None:
    """
    A library that never made its file has lost everything, and the harness goes on.
    """
    verdict = verify([str(tmp_path / "none")], read_json, [2])

    assert (verdict.missing, verdict.size) == (2, 0)


def test_figure_counts_only_for_a_verified_file(tmp_path: Path) -> None:
    """
    A program's values are dropped with a refused file and kept with a whole one.
    """
    said = {"values": {"rate": 1.0}, "path": "f", "counts": [2]}
    (tmp_path / "f").write_bytes(_line(0))
    refused = judge(said, "floor", str(tmp_path))
    (tmp_path / "f").write_bytes(_line(0) + _line(1))
    counted = judge(said, "floor", str(tmp_path))

    assert ({}, "of 2 records 1 missing") == (refused.values, refused.refused)
    assert ({"rate": 1.0}, "") == (counted.values, counted.refused)


def test_each_copy_is_verified(tmp_path: Path) -> None:
    """
    With several destinations a record that one of the files lacks refuses the figure.
    """
    said = {"values": {"rate": 1.0}, "path": "f", "copies": ["g"], "counts": [2]}
    (tmp_path / "f").write_bytes(_line(0) + _line(1))
    (tmp_path / "g").write_bytes(_line(0))

    assert "of 2 records 1 missing" == judge(said, "floor", str(tmp_path)).refused


def test_cut_records_are_refused(tmp_path: Path) -> None:
    """
    A file with less in it than was logged is refused, though each line can be read.
    """
    said = {"values": {"rate": 1.0}, "path": "f", "counts": [1], "least": 1_000_000}
    (tmp_path / "f").write_bytes(_line(0))

    assert judge(said, "floor", str(tmp_path)).refused.startswith("1,000,000 bytes were logged")


@pytest.mark.parametrize("said", [{"error": "broke"}, {"unsupported": "has no queue"}])
def test_program_that_measured_nothing_has_no_values(tmp_path: Path, said: dict[str, str]) -> None:
    """
    What a program could not do is told apart from what went wrong, and neither counts.
    """
    outcome = judge(said, "floor", str(tmp_path))

    assert ({}, said.get("error", ""), said.get("unsupported", "")) == (
        outcome.values,
        outcome.refused,
        outcome.unsupported,
    )


def test_control_records_are_passed_over() -> None:
    """
    A control record of hydra's is no record of the program; one that only looks so is.
    """
    adapter = load("hydra")
    quoting = _line(3).replace(b'"user":"alice"', b'"user":"\\"logger\\":\\"hydra.ledger\\""')
    own = b'{"level":"info","logger":"hydra.ledger","message":"totals"}'

    assert adapter.parse(own) is None
    assert adapter.parse(quoting.replace(b'{"level', b'{"logger":"bench","level')) == (3, "info")
