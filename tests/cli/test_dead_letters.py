"""
`hydra replay --dead-letters`: what was refused for good, listed and delivered once more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import hydra
from fallbacks.dead_letters import DeadLetters, Letter, encode, read
from fallbacks.outcomes import Permanent
from fallbacks.system import SYSTEM
from hydra.cli import _replay

from .logfiles import RUN, close, drops, line, write

pytestmark = pytest.mark.integration


@pytest.fixture
def held():
    """Return a private directory with three dead letters of the destination app in it."""
    directory = Path(os.environ["HYDRA_STATE_DIR"]) / "shop" / "held"
    directory.mkdir(mode=0o700, parents=True)
    bury(directory, [2, 3, 5])
    return directory


def bury(directory, numbers, destination="app"):
    """Keep the lines *numbers* aside."""
    letters = DeadLetters(str(directory / destination), app="shop", destination=destination)
    letters.keep([(line("1r", n), f"{RUN}.1r-{n}", "collector", "too odd\x1b[2J") for n in numbers])


def ids(path):
    """Return the numbers of the records in a log, in order."""
    lines = Path(path).read_bytes().splitlines()
    return [int(json.loads(each)["id"].rpartition("-")[2]) for each in lines]


def test_listed(held, run_cli):
    """
    Each says when, whose, which, who refused it and why, and nothing acts on the terminal.
    """
    result = run_cli("replay", "--dead-letters", "--list", held)

    assert 0 == result.exit_code
    *letters, last = result.output.splitlines()
    assert (3, "3 dead letters") == (len(letters), last)
    assert f"  app  {RUN}.1r-2  collector  too odd?[2J" in letters[0]
    assert 3 == len(read(SYSTEM, str(held / "app.dead")).letters)


def test_delivered_to_a_file(held, tmp_path, run_cli):
    """
    They are at its end once, and aside no more.
    """
    log = write(tmp_path / "app.log", [line("1r", 1), line("1r", 2)])
    result = run_cli("replay", "--dead-letters", "--to", log, held)

    assert (0, [1, 2, 3, 5]) == (result.exit_code, ids(log))
    assert "2 lines delivered" in result.output
    assert [] == list(held.iterdir())


def test_file_that_takes_nothing(held, tmp_path, run_cli, monkeypatch):
    """
    What could not be delivered stays aside, and the next replay finds it.
    """
    with monkeypatch.context() as patch:
        patch.setattr(_replay.FileTier, "write", lambda *_: Permanent("no"))
        failed = run_cli("replay", "--dead-letters", "--to", tmp_path / "out.log", held)
    bury(held, [9])
    again = run_cli("replay", "--dead-letters", "--to", tmp_path / "out.log", held)

    assert (1, 0) == (failed.exit_code, again.exit_code)
    assert [2, 3, 5, 9] == sorted(ids(tmp_path / "out.log"))


def test_one_destination(held, tmp_path, run_cli):
    """
    Those of other destinations stay.
    """
    bury(held, [7], destination="other")
    log = tmp_path / "out.log"
    options = ("--destination", "other", held)

    assert "1 dead letter\n" in run_cli("replay", "--dead-letters", "--list", *options).output
    assert 0 == run_cli("replay", "--dead-letters", "--to", log, *options).exit_code
    assert ([7], ["app.dead"]) == (ids(log), os.listdir(held))


def test_newer_letters_are_left_alone(held, tmp_path, run_cli):
    """
    A file with letters of a later version is not touched.
    """
    letter = encode(Letter(b"x", "i", "t", "r", 1)).replace(b'"version":1', b'"version":2')
    with open(held / "app.dead", "ab") as file:
        file.write(letter)

    listed = run_cli("replay", "--dead-letters", "--list", held)
    result = run_cli("replay", "--dead-letters", "--to", tmp_path / "out.log", held)

    assert "newer format" in listed.stderr
    assert (1, ["app.dead"]) == (result.exit_code, os.listdir(held))


def configured(tmp_path, name="app"):
    """Return a configuration with one file destination called *name*, and its environment."""
    config = tmp_path / "hydra.json"
    destination = {"name": name, "type": "file", "path": str(tmp_path / "app.log")}
    config.write_text(json.dumps({"app": "shop", "destinations": [destination]}))
    return config


def test_delivered_to_their_destination(held, tmp_path, run_cli):
    """
    With a configuration they go where they were for.
    """
    result = run_cli("replay", "--dead-letters", "--config", configured(tmp_path))

    assert "of 3 dead letters 0 were refused again" in result.output
    assert (0, [2, 3, 5]) == (result.exit_code, ids(tmp_path / "app.log"))
    assert not held.exists() or [] == list(held.iterdir())


def test_refused_again(held, tmp_path, run_cli, monkeypatch):
    """
    They are counted and still aside.
    """

    class Engine:
        """Refuses what is held for it, as a sink would."""

        def configure(self, *, file):
            for path in held.glob("*.held"):
                path.unlink()
            bury(held, [3])

        def flush(self, timeout):
            """Nothing to do."""

        close = flush

    monkeypatch.setattr(_replay, "_engine", Engine)
    result = run_cli("replay", "--dead-letters", "--config", configured(tmp_path))

    assert "of 3 dead letters 1 were refused again" in result.output
    assert 1 == result.exit_code


def test_destination_that_is_not_configured(held, tmp_path, run_cli):
    """
    Nobody would ever deliver them: they stay aside.
    """
    result = run_cli("replay", "--dead-letters", "--config", configured(tmp_path, "else"))

    assert (1, ["app.dead"]) == (result.exit_code, os.listdir(held))


def test_back_to_a_sink(held, run_cli):
    """
    What a sink refused is held for it again, and the next start of the application delivers it.
    """
    arrived = []
    result = run_cli("replay", "--dead-letters", "--hold", held)
    aside = [path.name for path in held.iterdir() if ".dead" in path.name]
    sink = {"name": "app", "sink": arrived.extend}
    hydra.configure(app="shop", control_records=False, destinations=[sink])
    while hydra.flush().pending:
        """What is held is on its way."""
    stats = hydra.close()

    assert (0, []) == (result.exit_code, aside)
    assert "3 dead letters held again" in result.output
    assert [2, 3, 5] == [int(json.loads(each)["id"].rpartition("-")[2]) for each in arrived]
    assert (3, 0) == (stats.replayed, stats.pending)


def test_held_again_for_one_destination(held, run_cli):
    """
    Those of other destinations stay aside, and so do those that nobody would deliver.
    """
    bury(held, [7], destination="other")
    (held / "lost.dead").write_bytes(encode(Letter(line("1r", 9), "i", "t", "r", 1)))
    one = run_cli("replay", "--dead-letters", "--hold", "--destination", "other", held)
    after = sorted(path.name for path in held.glob("*.dead"))
    every = run_cli("replay", "--dead-letters", "--hold", held)

    assert (0, ["app.dead", "lost.dead"]) == (one.exit_code, after)
    assert "1 dead letter held again" in one.output
    assert (1, ["lost.dead"]) == (every.exit_code, [path.name for path in held.glob("*.dead")])
    assert "3 dead letters held again" in every.output
    assert "1 files left alone" in every.output


@pytest.mark.parametrize(
    "options",
    [
        ("--list",),
        ("--hold",),
        ("--dead-letters",),
        ("--dead-letters", "--list", "--to", "x"),
        ("--dead-letters", "--hold", "--to", "x"),
        ("--dead-letters", "--hold", "--list"),
    ],
)
def test_wrong_options(held, run_cli, options):
    """
    What does not go together is said so, and nothing is touched.
    """
    assert 2 == run_cli("replay", *options, held).exit_code
    assert ["app.dead"] == os.listdir(held)


def test_audit(held, tmp_path, audit, run_cli):
    """
    A record that is aside is declared dropped; one that was replayed is there.
    """
    declared = [("1r", n, n, 1, "dead_letter") for n in (2, 3, 5)]
    there = [line("1r", n) for n in (1, 4)]
    log = write(tmp_path / "app.log", [*there, drops(1, declared), close(2, {"1r": 5, "4c": 2})])
    status, before = audit(log)
    run_cli("replay", "--dead-letters", "--to", log, held)
    _, after = audit(log)

    assert (0, "complete", 3, 0) == (
        status, before["verdict"], before["declared_dropped"], before["missing"],
    )  # fmt: skip
    assert ("complete", 0, 0, before["records"] + 3) == (
        after["verdict"], after["declared_dropped"], after["missing"], after["records"],
    )  # fmt: skip


def test_doctor(held, tmp_path, run_cli):
    """
    It says how many there are, where, how large, why the newest was refused, and what to do.
    """
    result = run_cli("doctor", "--json", "--config", configured(tmp_path))
    [found] = [c for c in json.loads(result.stdout)["checks"] if c["check"] == "dead letters"]

    assert "note" == found["status"]
    assert "3 in " in found["text"]
    assert "collector: too odd?[2J" in found["text"]
    assert "hydra replay --dead-letters" in found["text"]
