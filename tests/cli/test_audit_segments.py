"""
Journal and held segments read along with a log.
"""

from __future__ import annotations

import os

import pytest

from .logfiles import (
    RUN,
    clean,
    drops,
    journal_ack,
    journal_header,
    journal_record,
    records,
    stream_of,
    write,
    write_held,
    write_journal,
)

pytestmark = pytest.mark.integration


class TestSegments:
    def test_guaranteed_record_in_the_journal(self, tmp_path, audit):
        """
        A guaranteed number that waits in a journal is held, not missing, and proves the end.
        """
        log = write(tmp_path / "app.log", records("1g", [1, 3]))
        journal = write_journal(
            tmp_path / ".hydra", [journal_header(), *(journal_record("1g", n) for n in (2, 3, 4))]
        )

        status, report = audit(log, journal)

        assert (0, 0, 2, "unclean", None) == (
            status,
            report["missing"],
            report["held"],
            report["verdict"],
            stream_of(report, "1g")["unknown_after"],
        )

    def test_directory_of_segments(self, tmp_path, audit):
        """
        A directory stands for the segments in and below it, and for no logs.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        write(tmp_path / "other.log", [b"text\n"])
        write_journal(tmp_path / ".hydra", [journal_header(), journal_record("1g", 2)])

        report = audit(log, tmp_path)[1]

        assert ["log", "journal"] == [each["kind"] for each in report["files"]]
        assert 1 == report["held"]

    def test_acknowledged_and_deleted(self, tmp_path, audit):
        """
        What a journal says is in the file and is not there is missing, at the end too.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        info = os.stat(log)
        journal = write_journal(
            tmp_path,
            [
                journal_header(),
                journal_record("1g", 1),
                journal_record("1g", 2),
                journal_ack(f"{RUN}.1g:1-2", position=f"{info.st_dev}:{info.st_ino}:400"),
            ],
        )

        assert (1, 1) == (audit(log, journal)[0], audit(log, journal)[1]["missing_guaranteed"])

    def test_acknowledged_by_something_else(self, tmp_path, audit):
        """
        What was acknowledged without a file position went elsewhere and is declared diverted.
        """
        log = write(tmp_path / "app.log", [*records("1g", [1]), drops(1, [])])
        journal = write_journal(
            tmp_path,
            [
                journal_header(),
                journal_record("1g", 1),
                journal_record("1g", 2),
                journal_ack(f"{RUN}.1g:2"),
            ],
        )

        report = audit(log, journal)[1]

        assert (0, 1) == (report["missing"], report["declared_diverted"])

    def test_damaged_frames(self, tmp_path, audit):
        """
        A damaged frame is skipped, counted and costs its neighbours nothing.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        bad = journal_record("1g", 2).replace(b"order", b"ordxr")
        journal = write_journal(
            tmp_path,
            [
                journal_header(),
                bad,
                b"\nJ1 garbage",
                journal_record("1g", 3),
                journal_record("1g", 4)[:60],
                journal_record("1g", 5),
                b"\nJ1 H 00000000 99999 cut off",
            ],
        )

        status, report = audit(log, journal)

        assert (0, 2) == (status, report["held"])
        assert [[2, 2], [4, 4]] == stream_of(report, "1g")["unknown_ranges"]
        assert any("4 damaged journal frames" in note for note in report["notes"])

    def test_unreadable_header(self, tmp_path, audit):
        """
        A segment whose header says nothing is read all the same.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        frames = [journal_header().replace(b"J1 H", b"J1 X"), journal_record("1g", 2)]
        journal = write_journal(tmp_path, frames)

        assert 1 == audit(log, journal)[1]["held"]

    def test_odd_acknowledgements(self, tmp_path, audit):
        """
        Acknowledgements that make no sense acknowledge nothing.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        journal = write_journal(
            tmp_path,
            [
                journal_header(),
                journal_record("1g", 2),
                journal_ack(f"{RUN}.1g:9-2,zz:1,{RUN}.1g:x,{RUN}.1g"),
                journal_ack(f"{RUN}.1g:2", destination="no/name"),
            ],
        )

        assert 1 == audit(log, journal)[1]["held"]

    def test_console_beside_the_file(self, tmp_path, audit):
        """
        Records that only the console still wants are not held for the file.
        """
        log = write(tmp_path / "app.log", [*records("1g", [1, 2]), drops(1, [])])
        both = ("app", "console")
        journal = write_journal(
            tmp_path,
            [
                journal_header(destinations=both),
                journal_record("1g", 3, destinations=("console",)),
                journal_record("1g", 2, destinations=both),
            ],
        )

        assert 0 == audit(log, journal)[1]["held"]

    def test_held_segment(self, tmp_path, audit):
        """
        Held lines stand for records that the file does not have yet; the close record too.
        """
        lines = clean(5, 1)
        log = write(tmp_path / "app.log", [*lines[:3]])
        held = write_held(tmp_path, lines[2:])

        status, report = audit(log, held)

        assert (0, 0, 3, 3, "complete") == (
            status,
            report["missing"],
            report["records"],
            report["held"],
            report["verdict"],
        )

    def test_held_segment_replayed(self, tmp_path, audit):
        """
        Held lines that are acknowledged must be in the file.
        """
        lines = clean(5, 1)
        held = write_held(tmp_path, [lines[3], lines[4]])
        size = os.path.getsize(held) - len(lines[4])
        with open(held, "ab") as file:
            file.write(b'{"hydra":"ack","offset":%d}\n{"hydra":"ack","offset":"x"}\n' % size)
        log = write(tmp_path / "app.log", [*lines[:3], *lines[5:]])

        report = audit(log, held)[1]

        assert ([[4, 4]], 1) == (stream_of(report, "1r")["missing_ranges"], report["held"])

    def test_replayed_and_deleted_near_the_end(self, tmp_path, audit):
        """
        A number that was replayed into the file is missing there even near a killed run's end.
        """
        held = write_held(tmp_path, records("1r", [2]))
        with open(held, "ab") as file:
            file.write(b'{"hydra":"ack","offset":%d}\n' % os.path.getsize(held))
        log = write(tmp_path / "app.log", records("1r", [1, 3, 5]))

        stream = stream_of(audit(log, held)[1], "1r")

        assert ([[2, 2]], [[4, 4]]) == (stream["missing_ranges"], stream["unknown_ranges"])

    def test_run_whose_file_is_not_here(self, tmp_path, audit):
        """
        What a journal says went to some other file is no loss of this one; to this one, it is.
        """
        log = write(tmp_path / "app.log", clean(2, 1))
        info = os.stat(log)
        other = "zzzzzzzzzzz1"
        missing = []
        for inode in (info.st_ino + 1, info.st_ino):
            journal = write_journal(
                tmp_path / str(inode),
                [
                    journal_header(run=other),
                    journal_record("1g", 1, run=other),
                    journal_ack(f"{other}.1g:1", position=f"{info.st_dev}:{inode}:9"),
                ],
                run=other,
            )
            missing.append(audit(log, journal)[1]["missing"])

        assert [0, 1] == missing

    def test_held_segment_by_inode(self, tmp_path, audit):
        """
        A held segment that names the file by inode belongs to it.
        """
        one = write(tmp_path / "one.log", records("1r", [1, 2]))
        two = write(tmp_path / "two.log", records("1r", [1, 2, 3]))
        info = os.stat(one)
        held = write_held(
            tmp_path,
            records("1r", [3]),
            scan={"dev": info.st_dev, "ino": info.st_ino, "offset": 0},
        )

        report = audit(one, two, held)[1]

        assert [1, 0] == [each["held"] for each in report["details"]]

    def test_held_segment_of_another_destination(self, tmp_path, audit):
        """
        A held segment that belongs to none of the files is left out and said.
        """
        log = write(tmp_path / "app.log", clean(2, 1))
        held = write_held(tmp_path, records("1r", [9]), destination="audit")

        report = audit(log, held)[1]

        assert (0, "complete") == (report["held"], report["verdict"])
        assert any("audit" in note for note in report["notes"])

    def test_held_segment_without_header(self, tmp_path, audit):
        """
        A held segment whose header is torn belongs to the only destination there is.
        """
        log = write(tmp_path / "app.log", records("1r", [1]))
        held = write(tmp_path / "x.held", [b'{"hydra":"he\n', *records("1r", [2])])

        report = audit(log, held)[1]

        assert 1 == report["held"]
        assert any("header of the held segment" in note for note in report["notes"])

    def test_several_destinations_and_no_name(self, tmp_path, audit):
        """
        When it cannot be told which destination a file belongs to, the report says so.
        """
        log = write(tmp_path / "app.log", records("1g", [1]))
        both = ("app", "backup")
        journal = write_journal(
            tmp_path,
            [journal_header(destinations=both), journal_record("1g", 2, destinations=both)],
        )

        guessed = audit(log, journal)[1]
        told = audit("--destination", "app", log, journal)[1]

        assert any("--destination" in note for note in guessed["notes"])
        assert ([], "app") == (told["notes"], told["details"][0]["destination"])

    def test_run_that_never_reached_the_file(self, tmp_path, audit):
        """
        A run of which only the journal knows is reported with what it left.
        """
        log = write(tmp_path / "app.log", clean(2, 1))
        journal = write_journal(
            tmp_path,
            [journal_header(run="zzzzzzzzzzz1"), journal_record("1g", 1, run="zzzzzzzzzzz1")],
            run="zzzzzzzzzzz1",
        )

        report = audit(log, journal)[1]

        assert (2, "unclean", 1, 0) == (
            report["runs"],
            report["verdict"],
            report["held"],
            report["missing"],
        )
