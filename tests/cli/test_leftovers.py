"""
`hydra journal` and `hydra replay`: what dead processes left, listed, purged, delivered.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from fallbacks.journal.frames import FrameKind, encode_frame
from fallbacks.outcomes import Retryable
from hydra.cli import _replay, _sources

from .logfiles import (
    RUN,
    clean,
    frame,
    journal_ack,
    journal_header,
    journal_record,
    line,
    records,
    write,
    write_held,
    write_journal,
)

pytestmark = pytest.mark.integration

OTHER = "zzzzzzzzzzz1"


@pytest.fixture
def state(tmp_path):
    """Return a private directory with one journal and one held segment of dead processes."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    write_journal(
        directory,
        [
            journal_header(),
            *(journal_record("1g", n) for n in (1, 2, 3)),
            journal_ack(f"{RUN}.1g:1"),
        ],
    )
    write_held(directory, [*records("1r", [4, 5], run=OTHER), line("4c", 1, run=OTHER)], run=OTHER)
    return directory


@pytest.fixture
def lock(state):
    """Return a function that locks the segments with a suffix, as a living process does."""
    held = []

    def take(suffix):
        for path in state.glob("*" + suffix):
            held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)

    yield take
    for fd in held:
        os.close(fd)


def names(directory):
    """Return the suffixes of what is in *directory*."""
    return sorted(path.suffix for path in Path(directory).iterdir())


def ids(path):
    """Return the ids of the records in a log, in order."""
    return [json.loads(each)["id"] for each in Path(path).read_bytes().splitlines()]


class TestList:
    def test_as_json(self, state, run_cli):
        """
        Every segment is listed with what still waits in it.
        """
        result = run_cli("journal", "list", "--json", state)

        assert [
            ("held", OTHER, 2, {"app": 2}, False, None, "shop"),
            ("journal", RUN, 3, {"app": 2}, False, None, "shop"),
        ] == sorted(
            (s["kind"], s["run"], s["records"], s["waiting"], s["locked"], s["problem"], s["app"])
            for s in json.loads(result.stdout)
        )

    def test_for_people(self, state, run_cli, lock):
        """
        The text says whose a segment is and whether somebody uses it.
        """
        lock(".j")

        output = run_cli("journal", "list", state).output

        assert f"journal of shop, run {RUN}, process 7, in use" in output
        assert f"held of shop, run {OTHER}, left behind" in output
        assert "waiting: app 2" in output
        assert "2 segments" == output.splitlines()[-1]

    def test_acknowledged_lines_do_not_wait(self, tmp_path, run_cli):
        """
        What lies before the offset of an acknowledgement has been replayed.
        """
        path = write_held(tmp_path, records("1r", [1]))
        with open(path, "ab") as file:
            file.write(b'{"hydra":"ack","offset":%d}\n' % os.path.getsize(path))

        [segment] = json.loads(run_cli("journal", "list", "--json", tmp_path).stdout)

        assert (1, {}) == (segment["records"], segment["waiting"])

    def test_where_the_configuration_says(self, state, tmp_path, run_cli):
        """
        Without a directory the journal, the state directories and fallback files are looked at.
        """
        write_held(tmp_path / "spool", records("1r", [1]))
        write(tmp_path / "spool" / "other.aaaaaaaaaaaa-1.held", [b"x\n"])
        config = tmp_path / "hydra.json"
        config.write_text(
            json.dumps(
                {
                    "app": "shop",
                    "journal": {"dir": str(state)},
                    "destinations": [
                        {
                            "type": "file",
                            "path": str(tmp_path / "app.log"),
                            "fallback": [{"type": "file", "path": str(tmp_path / "spool/shop")}],
                        }
                    ],
                }
            )
        )
        env = {
            "HYDRA_STATE_DIR": str(tmp_path / "none"),
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": "",
        }

        output = run_cli("journal", "list", "--config", config, env=env).output

        assert "3 segments" == output.splitlines()[-1]

    def test_directory_that_is_not_there(self, tmp_path, run_cli):
        """
        A directory that cannot be read is exit status 2.
        """
        assert 2 == run_cli("journal", "list", tmp_path / "none").exit_code

    def test_wrong_configuration(self, tmp_path, run_cli):
        """
        A configuration that is wrong is exit status 2, with the problems.
        """
        result = run_cli("journal", "list", "--config", tmp_path / "none.toml")

        assert (2, True) == (result.exit_code, "none.toml" in result.stderr)

    def test_strange_files(self, state, run_cli):
        """
        Files with the suffix of segments that are none, newer ones and foreign ones are named.
        """
        write(state / "odd.j", [b"x"])
        newer = journal_header().replace(b'"version": 1', b'"version": 9')
        body = newer.split(b" ", 4)[-1].rstrip(b"\n")
        write_journal(state, [frame(b"H", body)], run=OTHER)

        output = run_cli("journal", "list", state).output

        assert "its name is not that of a journal segment" in output
        assert "format version 9 is newer" in output

    def test_segment_of_another_user(self, state, run_cli, monkeypatch):
        """
        A segment of another user is left alone.
        """
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

        result = run_cli("journal", "purge", "--yes", state)

        assert (1, [".held", ".j"]) == (result.exit_code, names(state))
        assert "belongs to user" in result.stderr


class TestPurge:
    def test_confirmed(self, state, run_cli):
        """
        After a yes everything is deleted.
        """
        result = run_cli("journal", "purge", state, input="y\n")

        assert (0, []) == (result.exit_code, names(state))
        assert "2 segments with 4 deliveries" in result.output

    def test_not_confirmed(self, state, run_cli):
        """
        Without a yes nothing is deleted.
        """
        result = run_cli("journal", "purge", state, input="n\n")

        assert (1, [".held", ".j"]) == (result.exit_code, names(state))

    def test_in_use(self, state, run_cli, lock):
        """
        What a living process has locked is not deleted.
        """
        lock(".j")

        result = run_cli("journal", "purge", "--yes", state)

        assert (1, [".j"]) == (result.exit_code, names(state))

    def test_adopted_while_asking(self, state, run_cli, lock, monkeypatch):
        """
        A segment that was locked after the listing is not deleted either.
        """
        monkeypatch.setattr("click.confirm", lambda *_, **__: lock(".j"))

        result = run_cli("journal", "purge", state)

        assert (1, [".j"]) == (result.exit_code, names(state))

    def test_gone_while_asking(self, state, run_cli, monkeypatch):
        """
        A segment that is gone by then is no crash.
        """

        def replayed(*_, **__):
            for path in state.iterdir():
                path.unlink()

        monkeypatch.setattr("click.confirm", replayed)

        assert 1 == run_cli("journal", "purge", state).exit_code

    def test_older_than(self, state, run_cli):
        """
        Only what was not written for the time span is deleted.
        """
        [held] = state.glob("*.held")
        os.utime(held, (0, 0))

        result = run_cli("journal", "purge", "--yes", "--older-than", "7d", state)

        assert (0, [".j"]) == (result.exit_code, names(state))

    def test_time_span_that_is_none(self, state, run_cli):
        """
        A time span has a unit.
        """
        assert 2 == run_cli("journal", "purge", "--older-than", "7", state).exit_code


class TestReplayTo:
    def test_everything_that_waits(self, state, tmp_path, run_cli):
        """
        What waits goes into the file, and the segments go.
        """
        target = tmp_path / "rescued.log"

        result = run_cli("replay", "--to", target, state)

        assert 0 == result.exit_code, result.output
        assert {
            f"{RUN}.1g-2",
            f"{RUN}.1g-3",
            f"{OTHER}.1r-4",
            f"{OTHER}.1r-5",
            f"{OTHER}.4c-1",
        } == set(ids(target))
        assert [] == names(state)

    def test_again_after_an_interruption(self, state, tmp_path, run_cli):
        """
        Lines that the file has already are not written again.
        """
        target = tmp_path / "app.log"
        write(target, [*records("1g", [1, 2]), *records("1r", [4], run=OTHER)])

        result = run_cli("replay", "--to", target, state)

        assert 6 == len(ids(target))
        assert 6 == len(set(ids(target)))
        assert "3 lines delivered" in result.output
        assert "2 were there already" in result.output

    def test_interrupted_before_the_segments_go(self, state, tmp_path, run_cli, monkeypatch):
        """
        When the process dies between writing and removing, the next replay repeats nothing.
        """
        target = tmp_path / "app.log"

        def die(path):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(_replay, "_sync", die)
            run_cli("replay", "--to", target, state)
        before = ids(target)

        assert [".held", ".j"] == names(state)
        assert 0 == run_cli("replay", "--to", target, state).exit_code
        assert before == ids(target)
        assert [] == names(state)

    def test_in_use(self, state, tmp_path, run_cli, lock):
        """
        Segments of living processes stay, and the status says so.
        """
        lock(".held")
        lock(".j")
        target = tmp_path / "app.log"

        result = run_cli("replay", "--to", target, state)

        assert (1, [".held", ".j"], False) == (result.exit_code, names(state), target.exists())

    def test_one_destination(self, state, tmp_path, run_cli):
        """
        With --destination the lines of others stay where they are.
        """
        target = tmp_path / "app.log"

        result = run_cli("replay", "--to", target, "--destination", "audit", state)

        assert (0, [".held", ".j"], False) == (result.exit_code, names(state), target.exists())

    def test_file_that_takes_nothing(self, state, tmp_path, run_cli, monkeypatch):
        """
        When the file cannot be written nothing is removed.
        """
        monkeypatch.setattr(
            _replay.FileTier, "write", lambda self, batch: Retryable(OSError(28, "No space left"))
        )

        result = run_cli("replay", "--to", tmp_path / "app.log", state)

        assert (1, [".held", ".j"]) == (result.exit_code, names(state))
        assert "No space left" in result.stderr

    def test_file_that_cannot_be_searched(self, state, tmp_path, run_cli):
        """
        A target that is no file is refused before anything is removed.
        """
        result = run_cli("replay", "--to", tmp_path, state)

        assert (1, [".held", ".j"]) == (result.exit_code, names(state))

    def test_small_chunks(self, state, tmp_path, run_cli, monkeypatch):
        """
        However much waits, it is delivered in chunks of bounded size, each line once.
        """
        monkeypatch.setattr(_replay, "CHUNK", 1)
        target = tmp_path / "app.log"

        run_cli("replay", "--to", target, state)

        assert 5 == len(set(ids(target)))

    def test_damaged_held_segment(self, tmp_path, run_cli):
        """
        A held segment with damage is kept under another name.
        """
        path = write_held(tmp_path / "s", [b'{"timestamp":"2026\n', *records("1r", [1])])

        run_cli("replay", "--to", tmp_path / "app.log", tmp_path / "s")

        assert (False, True) == (os.path.exists(path), os.path.exists(path + ".bad"))

    def test_held_segment_that_cannot_be_read(self, tmp_path, run_cli, monkeypatch):
        """
        A segment that gives an error is left alone and counted.
        """
        write_held(tmp_path / "s", records("1r", [1]))
        (tmp_path / "s" / "link.held").symlink_to("nowhere")

        def fail(path):
            raise OSError(5, "Input/output error", path)

        monkeypatch.setattr(_sources, "read_held_segment", fail)

        result = run_cli("replay", "--to", tmp_path / "app.log", tmp_path / "s")

        assert 1 == result.exit_code
        assert "2 segments left alone" in result.output

    def test_nothing_there(self, tmp_path, run_cli):
        """
        Nothing to replay is success.
        """
        assert 0 == run_cli("replay", "--to", tmp_path / "app.log", tmp_path).exit_code

    @pytest.mark.parametrize(
        "arguments", [[], ["--to", "a", "--config", "b"], ["--config", "b", "dir"]], ids=repr
    )
    def test_wrong_arguments(self, run_cli, arguments):
        """
        One of --to and --config, and directories with --to only.
        """
        assert 2 == run_cli("replay", *arguments).exit_code

    def test_directory_that_is_not_there(self, tmp_path, run_cli):
        """
        A directory that cannot be read would hide what waits in it.
        """
        assert 2 == run_cli("replay", "--to", tmp_path / "a.log", tmp_path / "none").exit_code

    def test_audit_after_replay(self, tmp_path, run_cli, audit):
        """
        Replay makes complete what a crash had cut in two.
        """
        lines = clean(5, 1)
        log = write(tmp_path / "app.log", lines[:3])
        write_held(tmp_path / "s", lines[3:])

        run_cli("replay", "--to", log, tmp_path / "s")

        assert "complete" == audit(log)[1]["verdict"]


class Engine:
    def __init__(self, state):
        self.state = state
        self.calls = []

    def configure(self, *, file):
        self.calls.append(("configure", file))

    def flush(self, timeout):
        self.calls.append(("flush", timeout))
        for path in self.state.glob("*.held"):
            path.unlink()

    def close(self, timeout):
        self.calls.append(("close", timeout))


class TestReplayByTheEngine:
    def test_configured_flushed_closed(self, state, tmp_path, run_cli, monkeypatch):
        """
        The engine adopts by itself; what still waits afterwards decides the status.
        """
        engine = Engine(state)
        monkeypatch.setattr(_replay, "_engine", lambda: engine)
        config = tmp_path / "hydra.json"
        config.write_text(json.dumps({"app": "shop", "journal": {"dir": str(state)}}))
        env = {
            "HYDRA_STATE_DIR": str(tmp_path / "none"),
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": "",
        }

        result = run_cli("replay", "--config", config, "--timeout", "3", env=env)

        assert [("configure", str(config)), ("flush", 3.0), ("close", 3.0)] == engine.calls
        assert (1, "2 deliveries made, 2 still wait\n") == (result.exit_code, result.output)

    def test_wrong_configuration(self, tmp_path, run_cli):
        """
        A configuration that is wrong is exit status 2.
        """
        assert 2 == run_cli("replay", "--config", tmp_path / "none.toml").exit_code


def test_frames_of_these_tests():
    """
    The frames that these tests write by hand are those of the journal.
    """
    payload = b"app " + line("1g", 1).rstrip(b"\n")

    assert encode_frame(FrameKind.RECORD, payload) == frame(b"R", payload)


class TestNothingFound:
    """Who misses something is told where it was looked for."""

    @pytest.fixture(autouse=True)
    def config(self, tmp_path, monkeypatch):
        """Make a configuration with one place that is there, and one that is not."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path / "state"))
        (tmp_path / "there").mkdir()
        (tmp_path / "hydra.toml").write_text(
            'app = "shop"\n[[destinations]]\nname = "app"\npath = "a.log"\n'
            'fallback = [{type = "file", path = "there/held"}]\n'
        )

    @pytest.mark.parametrize(
        "verb",
        [
            ("journal", "list"),
            ("journal", "purge"),
            ("replay",),
            ("replay", "--dead-letters"),
            ("replay", "--dead-letters", "--list"),
        ],
        ids=" ".join,
    )
    def test_by_configuration(self, run_cli, tmp_path, verb):
        """The places of the configuration are named, and those that are not there."""
        result = run_cli(*verb, "--config", "hydra.toml")
        looked, _, absent = result.stderr.partition("; not there: ")

        assert (0, True) == (result.exit_code, looked.startswith("looked in "))
        assert f"{tmp_path}/there/held.*" in looked
        assert f"{tmp_path}/state/shop" in absent

    @pytest.mark.parametrize(
        "verb",
        [
            ("journal", "list"),
            ("journal", "purge"),
            ("replay", "--to", "rescued.log"),
            ("replay", "--dead-letters", "--to", "rescued.log"),
            ("replay", "--dead-letters", "--list"),
        ],
        ids=" ".join,
    )
    def test_in_directories(self, run_cli, verb):
        """The directories that were given are named."""
        result = run_cli(*verb, "there")

        assert (0, "looked in there\n") == (result.exit_code, result.stderr)


def test_something_found(run_cli, state):
    """Where something is found, nothing is said about the search."""
    assert "looked" not in run_cli("journal", "list", state).stderr
    assert "looked" not in run_cli("replay", "--to", state / "rescued.log", state).stderr
