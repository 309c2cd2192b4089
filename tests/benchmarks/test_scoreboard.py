from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from benchmarks.scoreboard import __main__ as command
from benchmarks.scoreboard import page, supervise
from benchmarks.scoreboard.board import Acknowledged, Board, Slot
from benchmarks.scoreboard.faults import FAULTS, is_error, named
from benchmarks.scoreboard.supervise import Case, row

pytestmark = pytest.mark.integration


def _row(library: str, fault: str, style: str = "plain") -> dict[str, Any]:
    return row(Case(library, style, named(fault)), sys.executable)


def _counts(said: dict[str, Any]) -> tuple[int, ...]:
    return tuple(
        said[key] for key in ("error_kept", "error_acknowledged", "info_kept", "info_acknowledged")
    )


def test_page_is_made_from_the_numbers_beside_it() -> None:
    """
    The page that is published is the one that its JSON makes: nothing was typed in.
    """
    summary = json.loads(page.DATA.read_text(encoding="utf-8"))

    assert page.page(summary) == page.PAGE.read_text(encoding="utf-8")


def test_numbers_are_of_one_whole_run() -> None:
    """
    What is published has every fault, and for each of them every library.
    """
    summary = json.loads(page.DATA.read_text(encoding="utf-8"))
    names = [name for name in peers.TABLE if name != peers.BASELINE]

    assert [fault.name for fault in FAULTS] == list(summary["faults"])
    assert names == list(summary["libraries"])
    for fault in summary["faults"].values():
        shown = {label.removesuffix(" awaited") for label in fault["rows"]}
        assert set(names) == shown


@pytest.mark.parametrize("style", ["plain", "awaited"])
@pytest.mark.parametrize("fault", ["sigkill", "os-exit", "full"])
def test_no_acknowledged_error_of_hydra_is_lost(fault: str, style: str) -> None:
    """
    What was acknowledged at ERROR is in the file after the next start, whatever happened.
    """
    said = _row("hydra", fault, style)

    assert (200, 200) == _counts(said)[:2]


def test_loss_shows() -> None:
    """
    A program that loses everything to a full disk has it in its row, and that it said so.
    """
    said = _row("stdlib", "full")

    assert ((0, 200, 0, 3_800), 4_000) == (_counts(said), said["said"])


def test_queue_that_dies_with_its_process_shows() -> None:
    """
    Records that are in a queue of the standard library's when the process ends are lost.
    """
    kept, acknowledged, *_ = _counts(_row("stdlib queue", "os-exit"))

    assert (200, True) == (acknowledged, kept < 200)


def test_program_that_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A caller that never returns is counted as long as it was watched, and its row says killed.
    """
    monkeypatch.setattr(supervise, "BOUND", 2.0)
    said = _row("stdlib", "hangs")

    assert (None, True) == (said["ended_s"], said["worst_ms"] > 1_000)
    assert said["error_acknowledged"] < 200


def test_one_error_in_a_flood() -> None:
    """
    A flood has one ERROR, in its middle.
    """
    flood = named("flood")

    assert [10_000] == [seq for seq in range(flood.records) if is_error(flood, seq)]
    assert (1, 1, 20_000, 20_000) == _counts(_row("hydra", "flood"))


def test_library_without_the_means_says_so() -> None:
    """
    What a program cannot do is the text of its row.
    """
    assert {"unsupported": "a child cannot go on with the event loop of its parent"} == _row(
        "hydra", "fork", "awaited"
    )


def test_library_that_is_not_there_fails() -> None:
    """
    A program that never got to its first call has its last words in the row.
    """
    assert "No module named 'logbook'" in _row("logbook", "sigkill")["failed"]


def test_board_outlives_its_process(tmp_path: Path) -> None:
    """
    What is put on the board is there for whoever maps the file next.
    """
    path = str(tmp_path / "board")
    with Board(path, 3) as board:
        board.put(Slot.WORST, 5)
        board.acknowledge(0, Acknowledged.INFO)
        board.acknowledge(2, Acknowledged.ERROR)
    with Board(path) as board:
        assert (5, {0}, {2}) == (
            board.get(Slot.WORST),
            board.acknowledged(Acknowledged.INFO),
            board.acknowledged(Acknowledged.ERROR),
        )


def test_lines_that_count(tmp_path: Path) -> None:
    """
    A record counts once, a torn line not at all; a drop that hydra declared is told.
    """
    whole = '{"level":"info","seq":%d,"user":"a","path":"/","status":200,"ms":1.5}\n'
    drops = '{"logger":"hydra.ledger","event":"drops","count":7}\n'
    path = tmp_path / "app.jsonl"
    path.write_text(f"{whole % 1}{whole % 2}{whole % 1}{drops}{(whole % 3)[:-2]}", encoding="utf-8")

    assert ({1, 2}, 1, 1, 7) == supervise._lines(peers.load("hydra"), [str(path), "/nowhere"])


def test_losses_that_are_told_on_standard_error() -> None:
    """
    Each traceback with the heading of `logging` tells of one record.
    """
    assert 2 == supervise.told(
        "--- Logging error ---\nTraceback\nOSError\n--- Logging error in Loguru Handler #1 ---\n"
    )


def test_libraries_that_are_absent_keep_their_rows() -> None:
    """
    A peer that cannot be installed is a row in each table, and the page says why.
    """
    libraries = {"hydra": {"plain": True}, "logbook": {"absent": "no matching distribution"}}
    rows = command.rows(named("sigkill"), libraries, {})

    assert {"unsupported": "not installed"} == rows["logbook"]


@pytest.mark.parametrize(
    "arguments", [["--only", "nobody"], ["--workers", "0"], ["--publish", "--only", "hydra"]]
)
def test_command_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    A name that is none, no workers, and a part of a run for the page are refused.
    """
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)

    assert 2 == ended.value.code
