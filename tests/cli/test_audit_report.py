"""
The report for people.
"""

from __future__ import annotations

import os

import pytest

from .logfiles import (
    clean,
    drops,
    line,
    records,
    write,
    write_held,
)

pytestmark = pytest.mark.integration


class TestTextReport:
    def test_complete(self, tmp_path, run_cli):
        """
        The last line is the verdict.
        """
        log = write(tmp_path / "app.log", clean(1233, 1))

        result = run_cli("audit", log)

        assert "verdict complete: 1,234 records, missing 0" == result.output.splitlines()[-1]

    def test_everything_wrong(self, tmp_path, run_cli):
        """
        Each finding is one line under its run.
        """
        dead = "zzzzzzzzzzz1"
        lines = [
            b'{"a":1}\n',
            *records("1r", [*range(1, 20), 25, 25, *range(30, 100), 102], run=dead),
            *records("1g", [1, 3], run=dead),
            drops(1, [("1r", 26, 29, 4, "queue_full")], run=dead),
            drops(2, [("1r", 101, 101, 1, "tier:stderr")], run=dead, event="diverted"),
            *clean(3, 1),
            line("1r", 4),
            line("1r", 5)[:40],
        ]
        log = write(tmp_path / "app.log", lines)
        held = write_held(tmp_path, records("1g", [4], run=dead))

        result = run_cli("audit", log, held)

        assert 1 == result.exit_code
        assert [
            f"app: {log} with 1 segment",
            "  run           verdict     records  missing  dropped  diverted  held  duplicates",
            "  k3f9x2ab71qz  complete          5        0        0         0     0           0",
            "      1r: 1 logged after the close",
            "  zzzzzzzzzzz1  incomplete       93        5        4         1     1           1",
            "      1g: held for replay 4",
            "      1g: unknown 2 (in a call when the process died, or lost since)",
            "      1g: unknown after 4; give the journal directory to prove it",
            "      1r: missing 20-24",
            "      1r: 1 declared diverted (tier:stderr)",
            "      1r: 4 declared dropped (queue_full)",
            "      1r: unknown 100 (in memory when the process died, or lost since)",
            "      1r: unknown after 102",
            "",
            f"note: {log}: 1 damaged line",
            f"note: {log}: a damaged line follows the last close record",
            f"note: {log}: left out 1 JSON line without a record id",
            (
                "verdict incomplete: 98 records, missing 5, declared dropped 4, "
                "declared diverted 1, held 1, duplicates 1, torn 1, unclean runs 1"
            ),
        ] == result.output.splitlines()

    def test_many_runs(self, tmp_path, run_cli):
        """
        Complete runs beyond the first forty are summed up, others never.
        """
        lines = [each for n in range(50) for each in clean(1, 0, run=f"run{n:09d}")]
        lines += records("1r", [1], run="zzzzzzzzzzzz")
        log = write(tmp_path / "app.log", lines)

        output = run_cli("audit", log).output

        assert "and 10 more complete runs" in output
        assert "zzzzzzzzzzzz  unclean" in output

    def test_name_that_acts_on_a_terminal(self, tmp_path, run_cli):
        """
        A file name is shown without its control characters.
        """
        log = write(tmp_path / "app\x1b[2J.log", clean())

        assert "\x1b" not in run_cli("audit", log).output

    def test_progress(self, tmp_path, run_cli, monkeypatch):
        """
        Large input shows its progress when standard error is a terminal.
        """
        monkeypatch.setattr("hydra.cli.audit._command.PROGRESS_FROM", 1)
        monkeypatch.setattr("hydra.cli.audit._sources._CHUNK", 100)
        bars = []

        class Bar:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def update(self, steps):
                bars.append(steps)

        monkeypatch.setattr("click.progressbar", lambda **_: Bar())
        monkeypatch.setattr("hydra.cli.audit._command._is_terminal", lambda: True)
        log = write(tmp_path / "app.log", clean(50, 1))

        run_cli("audit", log)

        assert os.path.getsize(log) == sum(bars)
