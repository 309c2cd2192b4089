"""
Several files, rotated and compressed ones, and input that cannot be used.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import pytest

from .logfiles import (
    clean,
    close,
    journal_header,
    line,
    records,
    write,
    write_held,
)

pytestmark = pytest.mark.integration


class TestSeveralFiles:
    def test_rotated_and_compressed(self, tmp_path, audit):
        """
        Rotated siblings, however compressed, are read as one log in any order.
        """
        lines = clean(40, 4)
        packed = [
            ("app.log.4.xz", lzma.compress(b"".join(lines[:10]))),
            ("app.log.3.bz2", bz2.compress(b"".join(lines[10:20]))),
            ("app.log.2.gz", gzip.compress(b"".join(lines[20:30]))),
            ("app.log.1", b"".join(lines[30:40])),
            ("app.log", b"".join(lines[40:])),
        ]
        for name, data in packed:
            (tmp_path / name).write_bytes(data)

        status, report = audit(*(tmp_path / name for name, _ in packed))

        assert (0, 44, 0, 0) == (
            status,
            report["records"],
            report["missing"],
            report["duplicates"],
        )

    def test_rotated_file_not_given(self, tmp_path, audit):
        """
        Siblings count when they are given and only then.
        """
        lines = clean(40, 4)
        write(tmp_path / "app.log.1", lines[:10])
        log = write(tmp_path / "app.log", lines[10:])

        assert 10 == audit(log)[1]["missing"]

    def test_line_in_two_siblings(self, tmp_path, audit):
        """
        A line that two siblings have is a duplicate.
        """
        lines = clean(4, 1)
        one = write(tmp_path / "app.log.1", lines[:3])
        two = write(tmp_path / "app.log", lines[2:])

        assert 1 == audit(one, two)[1]["duplicates"]

    def test_siblings_by_content(self, tmp_path, audit):
        """
        Files that share a run and no record are parts of one log, whatever their names.
        """
        lines = clean(4, 1)
        one = write(tmp_path / "first", lines[:2])
        two = write(tmp_path / "second", lines[2:])

        assert "complete" == audit(one, two)[1]["verdict"]

    def test_same_file_twice(self, tmp_path, audit):
        """
        A file that is given twice is read once.
        """
        log = write(tmp_path / "app.log", clean(4, 1))

        assert 0 == audit(log, log)[1]["duplicates"]

    def test_two_destinations(self, tmp_path, audit):
        """
        Each destination is judged by its own control stream; its copy is no duplicate.
        """
        one = write(tmp_path / "app.log", clean(4, 1))
        second = [*records("1r", [1, 2, 4]), *records("1g", [1])]
        two = write(
            tmp_path / "audit.log",
            [*second, close(1, {"1r": 4, "1g": 1, "5c": 1}, stream="5c", destination="audit")],
        )

        status, report = audit(one, two)

        assert (1, 1, 0, ["complete", "incomplete"]) == (
            status,
            report["missing"],
            report["duplicates"],
            [each["verdict"] for each in report["details"]],
        )

    def test_two_nameless_destinations(self, tmp_path, audit):
        """
        Two logs of killed runs that share records are two destinations.
        """
        one = write(tmp_path / "a.log", records("1r", range(1, 5)))
        two = write(tmp_path / "b.log", records("1r", range(1, 4)))

        report = audit(one, two)[1]

        assert (0, 7, 2) == (report["duplicates"], report["records"], len(report["details"]))

    def test_two_destinations_in_one_file_join_others(self, tmp_path, audit):
        """
        A file that two destinations write ties the files of both together.
        """
        one = write(tmp_path / "a.log", clean(1, 1, run="aaaaaaaaaaaa"))
        two = write(tmp_path / "b.log", clean(1, 1, run="bbbbbbbbbbbb", destination="b"))
        both = write(
            tmp_path / "c.log",
            [
                *clean(1, 1, run="cccccccccccc"),
                close(1, {"9c": 1}, run="cccccccccccc", stream="9c", destination="b"),
            ],
        )

        report = audit(one, two, both)[1]

        assert {"app,b"} == {each["destination"] for each in report["details"]}

    def test_two_processes_in_one_file(self, tmp_path, audit):
        """
        Two runs in one file are judged one by one.
        """
        first, second = clean(3, 1, run="aaaaaaaaaaaa"), clean(3, 1, run="bbbbbbbbbbbb")
        lines = [each for pair in zip(first, second, strict=True) for each in pair]
        del lines[2]
        log = write(tmp_path / "app.log", lines)

        report = audit(log)[1]

        assert (2, ["incomplete", "complete"]) == (
            report["runs"],
            [each["verdict"] for each in report["details"]],
        )

    def test_empty_sibling(self, tmp_path, audit):
        """
        A file that was just rotated and is still empty disturbs nothing.
        """
        one = write(tmp_path / "app.log.1", clean(4, 1))
        two = write(tmp_path / "app.log", [])

        assert "complete" == audit(one, two)[1]["verdict"]

    def test_compressed_file_cut_short(self, tmp_path, audit):
        """
        What can be unpacked of a damaged archive is read, and the rest is missing.
        """
        lines = [line("1r", n, note=os.urandom(200).hex()) for n in range(1, 2001)]
        for name, packed in (
            ("a.gz", gzip.compress(b"".join(lines))),
            ("b.bz2", bz2.compress(b"".join(lines))),
            ("c.xz", lzma.compress(b"".join(lines))),
        ):
            (tmp_path / name).write_bytes(packed[: len(packed) * 9 // 10])
            report = audit(tmp_path / name)[1]

            assert ("unclean", True) == (report["verdict"], report["torn"] >= 1), name
            assert any("compressed data" in note for note in report["notes"])


class TestUnusableInput:
    def refused(self, result, *words):
        assert result.exit_code == 2
        for word in words:
            assert word in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_no_such_file(self, tmp_path, run_cli):
        """
        A file that is not there is exit status 2.
        """
        self.refused(run_cli("audit", tmp_path / "none"), "No such file")

    def test_text_format(self, tmp_path, run_cli):
        """
        A log in text format is refused with the reason.
        """
        log = write(tmp_path / "app.log", [b"01:44 INFO shop: order placed\n"] * 20_000)

        self.refused(run_cli("audit", log), "no JSON records", "format json")

    def test_other_json(self, tmp_path, run_cli):
        """
        JSON lines without ids are refused with the reason.
        """
        log = write(tmp_path / "app.log", [b'{"msg":"hi"}\n'] * 3)

        self.refused(run_cli("audit", log), "without record ids")

    def test_no_record(self, tmp_path, run_cli):
        """
        An empty log proves nothing.
        """
        self.refused(run_cli("audit", write(tmp_path / "app.log", [])), "no record")

    def test_number_of_lines_without_a_record(self, tmp_path, run_cli):
        """
        A huge file of another kind is given up on early.
        """
        log = write(tmp_path / "app.log", [b"x\n"] * 10_000 + clean())

        self.refused(run_cli("audit", log), "no JSON records")

    def test_only_segments(self, tmp_path, run_cli):
        """
        Segments are read along with a log, not instead of one.
        """
        held = write_held(tmp_path, records("1r", [1]))

        self.refused(run_cli("audit", held), "no log file given")

    def test_not_a_regular_file(self, tmp_path, run_cli):
        """
        A pipe would be waited for without end; it is refused.
        """
        os.mkfifo(tmp_path / "pipe")

        self.refused(run_cli("audit", tmp_path / "pipe"), "not a regular file")

    def test_unreadable(self, tmp_path, run_cli, monkeypatch):
        """
        A file that cannot be opened is refused with the system's words.
        """
        log = write(tmp_path / "app.log", clean())

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("hydra.cli.audit._sources.open", refuse, raising=False)

        self.refused(run_cli("audit", log), "Permission denied")

    def test_unreadable_directory(self, tmp_path, run_cli, monkeypatch):
        """
        A directory that cannot be listed is refused; what it holds would be missed.
        """
        log = write(tmp_path / "app.log", clean())

        def refuse(path):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", refuse)

        self.refused(run_cli("audit", log, tmp_path), "Permission denied")

    def test_zstd(self, tmp_path, run_cli):
        """
        A compression that Python cannot read is named.
        """
        log = write(tmp_path / "app.log.zst", [b"\x28\xb5\x2f\xfd rest"])

        self.refused(run_cli("audit", log), "zstd")

    def test_compressed_garbage(self, tmp_path, run_cli):
        """
        A file that only begins like an archive is refused.
        """
        log = write(tmp_path / "app.log.gz", [b"\x1f\x8bgarbage that is no gzip at all"])

        self.refused(run_cli("audit", log), "compressed data")

    def test_compressed_journal(self, tmp_path, run_cli):
        """
        Journal segments are mapped into memory and so cannot be compressed.
        """
        log = write(tmp_path / "app.log", clean())
        packed = write(tmp_path / "x.j.gz", [gzip.compress(journal_header())])

        self.refused(run_cli("audit", log, packed), "compressed journal")

    def test_destination_that_is_no_name(self, tmp_path, run_cli):
        """
        --destination takes what a destination can be called.
        """
        log = write(tmp_path / "app.log", clean())

        assert 2 == run_cli("audit", "--destination", "a b", log).exit_code
