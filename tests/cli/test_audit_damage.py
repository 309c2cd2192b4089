"""
Torn, doubled, foreign and hostile lines.
"""

from __future__ import annotations

import pytest

from fallbacks.batch import Batch
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from fallbacks.tiers import FileTier

from .logfiles import (
    RUN,
    clean,
    close,
    drops,
    line,
    records,
    stream_of,
    write,
)

pytestmark = pytest.mark.integration


class TestDamage:
    def test_duplicated_line(self, tmp_path, audit):
        """
        A line that is there twice is one record and one duplicate.
        """
        lines = clean(3, 1)
        lines.insert(2, lines[0])
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (1, 4, "complete") == (report["duplicates"], report["records"], report["verdict"])

    def test_torn_line(self, tmp_path, audit):
        """
        A torn line is counted, and its number is missing.
        """
        lines = clean(3, 1)
        lines[1] = lines[1][:40] + b"\n"
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (1, 1, 1) == (status, report["torn"], report["missing"])

    def test_torn_line_replayed(self, tmp_path, audit):
        """
        A torn line whose number is there elsewhere is counted, and nothing is missing.
        """
        lines = clean(3, 1)
        lines.insert(1, lines[1][:40] + b"\n")
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (0, 1, 0, "complete") == (
            status,
            report["torn"],
            report["missing"],
            report["verdict"],
        )

    @pytest.mark.parametrize("places", [(0,), (2, 2), (3, 5), (6,)])
    def test_empty_lines(self, tmp_path, audit, places):
        """
        Empty lines say nothing, wherever they are.
        """
        lines = clean(4, 1)
        for place in reversed(places):
            lines.insert(place, b"\n")

        status, report = audit(write(tmp_path / "app.log", lines))

        assert (0, 5, 0, "complete") == (
            status,
            report["records"],
            report["torn"],
            report["verdict"],
        )

    def test_two_writers_that_meet_behind_a_torn_line(self, tmp_path, audit):
        """
        Both begin a new line behind what a third left torn; the empty line between is harmless.
        """
        lines = clean(3, 1)

        class Meeting(FaultyFilesystem):
            met = False

            def write(self, fd, data):
                if not self.met:
                    self.met = True
                    other.write(Batch(lines[:2]))
                return super().write(fd, data)

        system = Meeting()
        system.put("/app.log", lines[0][:40])
        one, other = (FileTier("/app.log", system=system) for _ in range(2))
        one.write(Batch(lines[2:]))
        found = system.read("/app.log")

        status, report = audit(write(tmp_path / "app.log", [found]))

        assert b"\n\n" in found
        assert (0, 4, 1, "complete") == (
            status,
            report["records"],
            report["torn"],
            report["verdict"],
        )

    def test_torn_line_grown_together_with_the_next(self, tmp_path, audit):
        """
        A whole record behind a torn one on the same line is found.
        """
        lines = clean(3, 1)
        lines[0] = lines[0][:40]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (1, 1, [[1, 1]]) == (
            report["torn"],
            report["missing"],
            stream_of(report, "1r")["missing_ranges"],
        )

    def test_two_torn_lines_with_whole_ends(self, tmp_path, audit):
        """
        The start of one record and the end of another are no record.
        """
        lines = clean(3, 1)
        lines[0:2] = [lines[0][:30] + lines[1][50:]]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (1, 2) == (report["torn"], report["missing"])

    def test_newline_lost(self, tmp_path, audit):
        """
        Two whole records on one line are two records.
        """
        lines = clean(3, 1)
        lines[0] = lines[0][:-1]
        log = write(tmp_path / "app.log", lines)

        assert (0, "complete") == (audit(log)[1]["torn"], audit(log)[1]["verdict"])

    def test_torn_line_after_the_close(self, tmp_path, audit):
        """
        What a damaged line behind the last close record held cannot be known.
        """
        log = write(tmp_path / "app.log", [*clean(3, 1), line("1r", 1)[:50]])

        report = audit(log)[1]

        assert ("unclean", 1, 0) == (report["verdict"], report["torn"], report["unclean_runs"])

    def test_torn_line_before_another_close(self, tmp_path, audit):
        """
        A damaged line that a later close record follows is judged by that record's totals.
        """
        lines = [*clean(3, 1), line("1r", 1)[:50] + b"\n", *clean(3, 1, run="zzzzzzzzzzz1")]
        log = write(tmp_path / "app.log", lines)

        assert "complete" == audit(log)[1]["verdict"]

    def test_foreign_json(self, tmp_path, audit):
        """
        JSON lines of others are left out and said.
        """
        foreign = [
            b'{"a":1}\n',
            b'{"timestamp":"x","id":"7"}\n',
            b'{"timestamp":1,"id":"7"}\n',
            b"\n",
        ]
        log = write(tmp_path / "app.log", [*foreign, *clean(3, 1)])

        report = audit(log)[1]

        assert ("complete", 3, 0) == (
            report["verdict"],
            report["files"][0]["foreign"],
            report["torn"],
        )

    @pytest.mark.parametrize(
        "number", ["0", "01", "-1", "1_0", "\u0661", "9" * 19, "x", ""], ids=repr
    )
    def test_number_that_is_none(self, tmp_path, audit, number):
        """
        An id whose number is not in canonical form belongs to no record of ours.
        """
        odd = f'{{"timestamp":"t","id":"{RUN}.1r-{number}"}}\n'.encode()
        log = write(tmp_path / "app.log", [*clean(3, 1), odd])

        report = audit(log)[1]

        assert (4, 1) == (report["records"], report["files"][0]["foreign"])

    def test_hostile_nesting(self, tmp_path, audit):
        """
        A line nested deeper than the reader goes is damage, not a crash.
        """
        deep = b'{"timestamp":"t","x":' + b"[" * 100_000 + b"\n"
        log = write(tmp_path / "app.log", [deep, *clean(3, 1)])

        assert 1 == audit(log)[1]["torn"]

    def test_overlong_line(self, tmp_path, audit, monkeypatch):
        """
        A line that is longer than any record is one piece of damage.
        """
        monkeypatch.setattr("hydra.cli.audit._sources.MAX_LINE", 1000)
        log = write(tmp_path / "app.log", [b"x" * 3500 + b"\n", *clean(3, 1)])

        report = audit(log)[1]

        assert (1, "complete") == (report["torn"], report["verdict"])

    def test_unusable_control_records(self, tmp_path, audit):
        """
        A control record of the wrong shape declares nothing, and ranges out of range neither.
        """
        lines = [
            *records("1r", [1, 3]),
            line("4c", 1, event=7),
            drops(2, [("1r", 5, 2, 1, "x"), ("zz", 1, 1, 1, "x"), ("1r", 2, 2, 0, "x")]),
            line("4c", 3, event="start"),
            close(4, {"1r": 3, "4c": 4, "zz": 9}),
        ]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (1, 0) == (report["missing"], report["declared_dropped"])

    def test_reason_that_is_no_word(self, tmp_path, run_cli):
        """
        Text from a log never reaches the terminal when it could act on it.
        """
        lines = [
            *records("1r", [1]),
            drops(1, [("1r", 2, 2, 1, "\x1b[2J")]),
            close(2, {"1r": 2, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        assert "1 declared dropped (other)" in run_cli("audit", log).output
