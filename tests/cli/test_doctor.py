"""
`hydra doctor`, and the command as a whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hydra.cli import _checks, _version, main
from hydra.config import Refusal, StateDirectory, load
from hydra.engine import COMPILED

from .logfiles import records, write_held

pytestmark = pytest.mark.unit


def statuses(findings):
    """Return the statuses of *findings*."""
    return [each.status for each in findings]


def settings(tmp_path, **more):
    """Return settings with one file destination in *tmp_path*."""
    destination = {"type": "file", "path": str(tmp_path / "logs" / "app.log")}
    return load({"app": "shop", "destinations": [destination], **more}, environ={})


@pytest.fixture
def environ(tmp_path):
    """Return an environment whose state directory is in *tmp_path*."""
    return {"HYDRA_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path), "XDG_STATE_HOME": ""}


class TestCommand:
    def test_sound(self, tmp_path, run_cli, environ):
        """
        In a sound environment the last line says so and the status is 0.
        """
        result = run_cli("doctor", env=environ)

        assert (0, "nothing is wrong") == (result.exit_code, result.output.splitlines()[-1])

    def test_copies(self, tmp_path, run_cli, environ):
        """
        A destination says its strategy, and each file that is a copy is looked at.
        """
        config = tmp_path / "hydra.json"
        copy = {"type": "file", "path": str(tmp_path / "copy.log"), "hold": False}
        made = {"path": str(tmp_path / "a.log"), "strategy": "mirror", "fallback": [copy]}
        config.write_text(json.dumps({"destinations": [made]}))

        output = run_cli("doctor", "--config", config, env=environ).output

        assert f"destination a: file {tmp_path}/a.log, mirror, copies 2" in output
        assert f"{tmp_path}/copy.log can be made" in output

    def test_call_path(self, run_cli, environ):
        """
        The report says which call path this process has.
        """
        output = run_cli("doctor", env=environ).output
        said = "ok     call path      compiled" if COMPILED else "note   call path      pure Python"

        assert said in output

    def test_wrong_configuration(self, tmp_path, run_cli, environ):
        """
        Every problem of the configuration is a finding of its own.
        """
        config = tmp_path / "hydra.json"
        config.write_text(json.dumps({"level": "loud", "queue": {"records": -1}}))

        result = run_cli("doctor", "--json", "--config", config, env=environ)
        report = json.loads(result.stdout)

        assert (1, False) == (result.exit_code, report["healthy"])
        assert 2 == sum(c["status"] == "wrong" for c in report["checks"])

    def test_wrong_for_people(self, tmp_path, run_cli, environ):
        """
        The text counts what is wrong.
        """
        result = run_cli("doctor", "--config", tmp_path / "none.toml", env=environ)

        assert (1, "1 wrong") == (result.exit_code, result.output.splitlines()[-1])

    def test_leftovers(self, tmp_path, run_cli, environ):
        """
        What dead processes left is mentioned with what to do.
        """
        environ["HYDRA_APP"] = "shop"
        write_held(tmp_path / "state" / "shop", records("1r", [1, 2]))

        output = run_cli("doctor", env=environ).output

        assert "2 deliveries wait in 1 segments" in output

    def test_values_of_variables(self, run_cli, environ):
        """
        The names of variables are shown, their values are not.
        """
        result = run_cli("doctor", env={**environ, "HYDRA_LEVEL": "debug"})

        assert "HYDRA_LEVEL" in result.output
        assert "HYDRA_LEVEL=debug" not in result.output


class TestChecks:
    @pytest.mark.parametrize(
        ("version", "python", "expected"),
        [
            ("1.0", (3, 12), ["ok", "ok"]),
            (None, (3, 11), ["note", "ok"]),
            ("1.0", (3, 10), ["ok", "wrong"]),
        ],
    )
    def test_versions(self, version, python, expected):
        """
        A Python that is too old is wrong, a tree that is not installed is not.
        """
        assert expected == statuses(_checks.check_version(version, python))

    @pytest.mark.parametrize(
        ("compiled", "turned_off", "status", "words"),
        [
            (True, False, "ok", ["compiled"]),
            (False, True, "note", ["HYDRA_PURE_PYTHON is set", "several times as long"]),
            (False, False, "note", ["not built", "C compiler", "several times as long"]),
        ],
    )
    def test_call_path(self, compiled, turned_off, status, words):
        """
        A call path in Python is noted with its cause and consequence, and is nothing wrong.
        """
        [finding] = _checks.check_call_path(compiled=compiled, turned_off=turned_off)

        assert status == finding.status
        assert [] == [word for word in words if word not in finding.text]

    def test_mixed_installation(self):
        """
        Another distribution with the same package is wrong, and the cure is named.
        """
        [finding] = _checks.check_installation(lambda name: "1.3.2")

        assert "wrong" == finding.status
        assert "pip uninstall" in finding.text

    def test_missing_packages(self):
        """
        A needed package that is missing is wrong, an optional one is not.
        """
        found = [f.status for f in _checks.check_dependencies(lambda name: name == "click")]

        assert ["wrong"] * 3 + ["note"] * 4 == found

    def test_no_state_directory(self, tmp_path):
        """
        No usable state directory is wrong, and each refusal is told with its reason.
        """
        refused = (Refusal("/a", "home directory", "read-only"),)

        path, findings = _checks.check_state(
            settings(tmp_path), {}, lambda *_, **__: StateDirectory(None, "", refused)
        )

        assert (None, ["note", "wrong"]) == (path, statuses(findings))
        assert "read-only" in findings[0].text

    def test_state_of_other_applications(self, tmp_path):
        """
        What others keep in the same place is named, so that nobody takes it for nothing.
        """
        environ = {"HYDRA_STATE_DIR": str(tmp_path / "state")}
        for name in ("billing/held", "mail/journal", "tidy"):
            (tmp_path / "state" / name).mkdir(parents=True)
        (tmp_path / "state" / "file").write_bytes(b"")

        _, findings = _checks.check_state(settings(tmp_path), environ)

        assert ["ok", "note"] == statuses(findings)
        assert "that of billing, mail; HYDRA_APP" in findings[1].text
        assert [] == _checks.neighbours(str(tmp_path / "nowhere" / "shop"))

    def test_files(self, tmp_path, monkeypatch):
        """
        A destination's file must be a regular file that can be written or made.
        """
        logs = tmp_path / "logs"
        made = settings(tmp_path)

        assert ["ok"] == statuses(_checks.check_files(made))
        logs.write_bytes(b"")
        assert ["wrong"] == statuses(_checks.check_files(made))
        logs.unlink()
        logs.mkdir()
        (logs / "app.log").write_bytes(b"")
        assert ["ok"] == statuses(_checks.check_files(made))
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert ["wrong"] == statuses(_checks.check_files(made))
        (logs / "app.log").unlink()
        (logs / "app.log").mkdir()
        assert ["wrong"] == statuses(_checks.check_files(made))

    def test_space(self, tmp_path):
        """
        Less room than the journal may need is wrong; so is a disk that cannot be asked.
        """
        made = settings(tmp_path)
        places = [str(tmp_path / "not" / "there")]

        def fail(path):
            raise OSError(5, "Input/output error")

        assert ["wrong"] == statuses(_checks.check_space(made, places, lambda path: 1024))
        assert ["ok"] == statuses(_checks.check_space(made, places, lambda path: 10**12))
        assert ["wrong"] == statuses(_checks.check_space(made, places, fail))

    def test_terminal(self, monkeypatch):
        """
        What decides about colour is told.
        """
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
        texts = [f.text for f in _checks.check_terminal({"NO_COLOR": "1", "TERM": "dumb"})]

        assert "stdout is a terminal" == texts[0]
        assert ["NO_COLOR is set", "TERM is dumb: no colours"] == texts[2:]


class TestMain:
    def test_version(self, run_cli, monkeypatch):
        """
        --version names Hydra and Python.
        """
        monkeypatch.setattr(_version.metadata, "version", lambda name: "9.9")

        assert run_cli("--version").output.startswith("hydra 9.9, Python 3.")

    def test_version_without_installation(self, run_cli, monkeypatch):
        """
        A tree that is not installed has a version line too.
        """

        def missing(name):
            raise _version.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(_version.metadata, "version", missing)

        assert "run from source" in run_cli("--version").output

    @pytest.mark.parametrize(
        "path", ["", "audit", "doctor", "journal list", "journal purge", "replay"]
    )
    def test_every_verb_has_examples(self, run_cli, path):
        """
        Every help text shows examples, and every verb names its exit status.
        """
        output = run_cli(*path.split(), "--help").output

        assert f"Examples:\n    hydra {path}".rstrip() in output
        assert not path or "Exit status:" in output

    def test_reference_covers_every_option(self):
        """
        The reference page has every verb and every option.
        """
        page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")
        commands = dict(main.commands)
        commands.update({f"journal {n}": c for n, c in commands.pop("journal").commands.items()})

        for name, command in commands.items():
            assert f"hydra {name}" in page
            for parameter in command.params:
                for option in parameter.opts:
                    assert not option.startswith("--") or f"`{option}" in page, (name, option)

    def test_as_a_module(self, tmp_path):
        """
        `python -m hydra` is the command.
        """
        done = subprocess.run(
            [sys.executable, "-m", "hydra", "audit", str(tmp_path / "none")],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (2, True) == (done.returncode, "No such file" in done.stderr)
