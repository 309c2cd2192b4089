"""
Verdicts on runs that were closed and runs that were not.
"""

from __future__ import annotations

import pytest

from .logfiles import (
    clean,
    close,
    drops,
    line,
    pick,
    records,
    stream_of,
    write,
)

pytestmark = pytest.mark.integration


class TestClosedRuns:
    def test_everything_there(self, tmp_path, audit):
        """
        A closed log with every number is complete, and control records are no records.
        """
        log = write(tmp_path / "app.log", clean(10, 2))

        status, report = audit(log)

        assert status == 0
        assert {
            "records": 12,
            "runs": 1,
            "streams": 3,
            "duplicates": 0,
            "torn": 0,
            "missing": 0,
            "missing_guaranteed": 0,
            "declared_dropped": 0,
            "declared_diverted": 0,
            "unclean_runs": 0,
            "verdict": "complete",
        } == pick(
            report,
            "records",
            "runs",
            "streams",
            "duplicates",
            "torn",
            "missing",
            "missing_guaranteed",
            "declared_dropped",
            "declared_diverted",
            "unclean_runs",
            "verdict",
        )

    @pytest.mark.parametrize("index", [0, 5, 9], ids=["first", "middle", "last"])
    def test_line_deleted(self, tmp_path, audit, index):
        """
        One deleted line is one missing number, wherever it stood.
        """
        lines = clean(10, 2)
        del lines[index]
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (1, 1, 0, "incomplete") == (
            status,
            report["missing"],
            report["missing_guaranteed"],
            report["verdict"],
        )
        assert [[index + 1, index + 1]] == stream_of(report, "1r")["missing_ranges"]

    def test_last_error_deleted(self, tmp_path, audit):
        """
        The totals prove the end of the guaranteed stream too.
        """
        lines = clean(3, 2)
        del lines[4]
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (1, 1, 1) == (status, report["missing"], report["missing_guaranteed"])

    def test_control_record_deleted(self, tmp_path, audit):
        """
        A deleted declaration leaves a hole in the control stream and excuses nothing.
        """
        lines = [
            *records("1r", [1, 2, 5]),
            close(2, {"1r": 5, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (1, 3, 0) == (status, report["missing"], report["declared_dropped"])

    def test_close_record_deleted(self, tmp_path, audit):
        """
        Without its close record a run is unclean and its end unknown.
        """
        log = write(tmp_path / "app.log", clean(10, 2)[:-1])

        status, report = audit(log)

        assert (0, "unclean", 1, 0) == (
            status,
            report["verdict"],
            report["unclean_runs"],
            report["missing"],
        )
        assert 10 == stream_of(report, "1r")["unknown_after"]

    def test_stream_wholly_absent(self, tmp_path, audit):
        """
        A stream that only the totals know is missing altogether.
        """
        log = write(
            tmp_path / "app.log", [*records("1r", [1]), close(1, {"1r": 1, "2r": 7, "4c": 1})]
        )

        status, report = audit(log)

        assert (1, 7) == (status, report["missing"])

    def test_records_after_the_close(self, tmp_path, audit):
        """
        Numbers beyond the totals were logged after the close and are fine.
        """
        log = write(tmp_path / "app.log", [*clean(3, 1), line("1r", 4), line("1g", 2)])

        status, report = audit(log)

        assert (0, "complete", 1) == (
            status,
            report["verdict"],
            stream_of(report, "1r")["after_close"],
        )

    def test_hole_after_the_close(self, tmp_path, audit):
        """
        A hole among the numbers beyond the totals is still a hole.
        """
        log = write(tmp_path / "app.log", [*clean(3, 1), line("1r", 4), line("1r", 6)])

        assert (1, 1) == (audit(log)[0], audit(log)[1]["missing"])

    def test_last_close_counts(self, tmp_path, audit):
        """
        Of two close records of one control stream the last one has the totals.
        """
        lines = [
            *records("1r", [1, 2]),
            close(1, {"1r": 2, "4c": 1}),
            *records("1r", [3]),
            close(2, {"1r": 4, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        assert [[4, 4]] == stream_of(audit(log)[1], "1r")["missing_ranges"]

    def test_configured_again_and_killed(self, tmp_path, audit):
        """
        A route that no close record knows makes the run unclean, whatever was closed before.
        """
        lines = [*clean(3, 1), *records("7r", [1, 2])]
        log = write(tmp_path / "app.log", lines)

        assert "unclean" == audit(log)[1]["verdict"]

    def test_second_control_stream_without_close(self, tmp_path, audit):
        """
        Every control stream of a run needs a close record of its own.
        """
        lines = [*clean(3, 1), drops(1, [("1r", 4, 5, 2, "queue_full")], stream="9c")]
        log = write(tmp_path / "app.log", lines)

        assert "unclean" == audit(log)[1]["verdict"]


class TestUncleanRuns:
    def test_hole_far_from_the_end(self, tmp_path, audit):
        """
        A hole that is older than the tail is missing in a killed run too.
        """
        log = write(tmp_path / "app.log", records("1r", [n for n in range(1, 101) if n != 36]))

        assert (1, 1) == (audit(log)[0], audit(log)[1]["missing"])

    def test_hole_near_the_end(self, tmp_path, audit):
        """
        A hole among the last 64 numbers of a killed run's ordinary stream is unknown.
        """
        log = write(tmp_path / "app.log", records("1r", [n for n in range(1, 101) if n != 37]))

        status, report = audit(log)

        assert (0, 0, [[37, 37]]) == (
            status,
            report["missing"],
            stream_of(report, "1r")["unknown_ranges"],
        )

    def test_hole_of_the_last_seconds(self, tmp_path, audit):
        """
        Holes in front of records of a killed run's last two seconds are unknown: drops of
        that time may have died undeclared. Older ones are missing.
        """
        at = "2026-11-21T01:44:{:02d}.123456Z".format
        lines = [
            *records("1r", range(1, 1_000), timestamp=at(5)),
            *records("1r", range(1_100, 2_000), timestamp=at(5)),
            *records("1r", range(2_100, 3_000), timestamp=at(8)),
            *records("1r", range(3_100, 4_000), timestamp=at(9)),
        ]

        status, report = audit(write(tmp_path / "app.log", lines))
        stream = stream_of(report, "1r")

        assert 1 == status
        assert [[1_000, 1_099]] == stream["missing_ranges"]
        assert [[2_000, 2_099], [3_000, 3_099]] == stream["unknown_ranges"]

    def test_guaranteed_hole_near_the_end(self, tmp_path, audit):
        """
        A hole among the last 16 guaranteed numbers of a killed run may be a call that was cut off.
        """
        log = write(tmp_path / "app.log", records("1g", [n for n in range(1, 41) if n != 25]))

        status, report = audit(log)

        assert (0, 0, [[25, 25]]) == (
            status,
            report["missing_guaranteed"],
            stream_of(report, "1g")["unknown_ranges"],
        )

    def test_guaranteed_hole_further_back(self, tmp_path, audit):
        """
        An older hole in the guaranteed stream is missing.
        """
        log = write(tmp_path / "app.log", records("1g", [n for n in range(1, 41) if n != 24]))

        assert (1, 1) == (audit(log)[0], audit(log)[1]["missing_guaranteed"])

    def test_declared_beyond_the_last_number(self, tmp_path, audit):
        """
        Drops behind the last number that was written count as declared.
        """
        log = write(
            tmp_path / "app.log",
            [*records("1r", [1, 2]), drops(1, [("1r", 3, 9, 7, "queue_full")])],
        )

        report = audit(log)[1]

        assert (7, 0, 9) == (
            report["declared_dropped"],
            report["missing"],
            stream_of(report, "1r")["unknown_after"],
        )

    def test_strict(self, tmp_path, run_cli):
        """
        --strict turns unclean into a failure.
        """
        log = write(tmp_path / "app.log", records("1r", [1, 2]))

        assert (0, 1) == (
            run_cli("audit", log).exit_code,
            run_cli("audit", "--strict", log).exit_code,
        )


class TestDeclarations:
    def test_exact_range(self, tmp_path, audit):
        """
        Numbers that a drops record names are declared, not missing.
        """
        lines = [
            *records("1r", [1, 2, 9]),
            drops(1, [("1r", 3, 8, 6, "queue_full")]),
            close(2, {"1r": 9, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (0, 0, 6, "complete") == (
            status,
            report["missing"],
            report["declared_dropped"],
            report["verdict"],
        )

    def test_coarse_range(self, tmp_path, audit):
        """
        A range excuses as many numbers as it counts, not as many as it spans.
        """
        lines = [
            *records("1r", [1, 5, 9]),
            drops(1, [("1r", 2, 8, 4, "queue_full")]),
            close(2, {"1r": 9, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        status, report = audit(log)

        assert (1, 2, 4) == (status, report["missing"], report["declared_dropped"])

    def test_declaration_twice(self, tmp_path, audit):
        """
        A duplicated drops record is a duplicate and excuses nothing more.
        """
        said = drops(1, [("1r", 2, 8, 3, "queue_full")])
        lines = [*records("1r", [1, 5, 9]), said, said, close(2, {"1r": 9, "4c": 2})]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (1, 3, 3) == (report["duplicates"], report["declared_dropped"], report["missing"])

    def test_diverted(self, tmp_path, audit):
        """
        Records that another tier delivered are declared too, under a count of their own.
        """
        lines = [
            *records("1r", [1, 4]),
            drops(1, [("1r", 2, 3, 2, "tier:stderr")], event="diverted"),
            close(2, {"1r": 4, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (0, 2, "complete") == (
            report["declared_dropped"],
            report["declared_diverted"],
            report["verdict"],
        )
        assert [{"event": "diverted", "reason": "tier:stderr", "count": 2}] == stream_of(
            report, "1r"
        )["declared"]

    def test_declared_and_there(self, tmp_path, audit):
        """
        A declaration of numbers that are there covers nothing.
        """
        lines = [
            *records("1r", [1, 2, 3]),
            drops(1, [("1r", 2, 2, 1, "queue_full")]),
            close(2, {"1r": 3, "4c": 2}),
        ]
        log = write(tmp_path / "app.log", lines)

        assert 0 == audit(log)[1]["declared_dropped"]
