from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from fallbacks.testing import check_tier

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 50.0


def _environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "COVERAGE_PROCESS_START"}}
    return kept | {
        "HOME": str(tmp_path),
        "HYDRA_STATE_DIR": str(tmp_path / "state"),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
    }


def _run(tmp_path: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _audit(tmp_path: Path, *files: Path) -> dict[str, object]:
    answer = subprocess.run(
        [sys.executable, "-m", "hydra", "audit", "--json", *map(str, files)],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return json.loads(answer.stdout)


def test_fronts_have_separate_files_and_ends(tmp_path: Path) -> None:
    """
    Each front's files hold its own records, complete, and the unknown layer's are in the default.
    """
    ended = _run(tmp_path, "fronts.py", "logs")
    logs = tmp_path / "logs"

    assert 0 == ended.returncode, ended.stderr
    assert [
        "red has left: 7 delivered, balanced: True",
        "blue: 13 delivered, balanced: True",
        "all: ['blue/api', 'blue/app', 'red/api', 'red/app']",
    ] == ended.stdout.splitlines()
    assert "has no layer 'BILLING'" in ended.stderr
    assert ["request 0", "request 1", "request 2", "closed"] == [
        record["message"] for record in _records(logs / "red" / "api.log")
    ]
    assert ["AUDIT"] * 5 + ["default", "BILLING", "hydra.ledger"] == [
        record["logger"] for record in _records(logs / "blue" / "app.log")
    ]
    assert "complete" == _audit(tmp_path, *sorted(logs.rglob("*.log")))["verdict"]


def test_script_logs_and_ends(tmp_path: Path) -> None:
    """
    The script's log holds every row, the one that failed with its exception, and a close record.
    """
    ended = _run(tmp_path, "script.py", "logs")
    records = _records(tmp_path / "logs" / "import.log")

    assert 0 == ended.returncode, ended.stderr
    assert "imported 3 of 4 rows; balanced: True\n" == ended.stdout
    assert [
        ("debug", "row imported"),
        ("debug", "row imported"),
        ("error", "row cannot be read"),
        ("debug", "row imported"),
        ("info", "import finished"),
        ("info", "closed"),
    ] == [(record["level"], record["message"]) for record in records]
    assert "ValueError" == records[2]["exception"]["type"]
    assert ended.stderr.startswith(records[2]["timestamp"][:10])
    assert "ValueError: invalid literal" in ended.stderr


def test_strategies_survive_an_outage_of_one_copy(tmp_path: Path) -> None:
    """
    By every strategy each record arrives once, and by two of them at both receivers.
    """
    ended = _run(tmp_path, "strategies.py")
    lines = ended.stdout.splitlines()

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["failover", "mirror", "spool", "fastest", "quorum"] == [
        line.split()[0] for line in lines[::2]
    ]
    assert 2 == ended.stdout.count("first copy 2, second copy 2")
    assert "mirror    down: delivered by write, waiting for a copy 1, held 0" in lines


def test_service_answers_and_logs_each_request(tmp_path: Path) -> None:
    """
    Requests over HTTP are logged with their id, and the lifespan's end closes the log.
    """
    server = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "service.py"), "logs", "0"],
        cwd=tmp_path,
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = server.stdout.readline().strip()
        answers = [_get(url + path) for path in ("/", "/fail", "/nowhere", "/metrics")]
        server.terminate()
        _, stderr = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        server.stderr.close()
    log = tmp_path / "logs" / "service.log"
    records = _records(log)

    assert "" == stderr
    assert [(200, "hello\n"), (500, "sorry\n"), (404, "no such page\n")] == answers[:3]
    assert (200, 'hydra_delivered_total{destination="app"} 9') == (
        answers[3][0],
        next(line for line in answers[3][1].splitlines() if line.startswith("hydra_delivered")),
    )
    assert [
        (None, "info", "started"),
        *((1, "info", message) for message in ("request", "answered")),
        (2, "info", "request"),
        (2, "error", "request failed"),
        (2, "info", "answered"),
        *((3, "info", message) for message in ("request", "answered")),
        *((4, "info", message) for message in ("request", "answered")),
        (None, "info", "stopping"),
        (None, "info", "closed"),
    ] == [(r.get("request_id"), r["level"], r["message"]) for r in records]
    assert "complete" == _audit(tmp_path, log)["verdict"]


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_threads_loops_and_processes_share_a_file(tmp_path: Path) -> None:
    """
    Whoever writes to the file at once, every record of every process is in it, once.
    """
    ended = _run(tmp_path, "mixed.py", "logs")
    log = tmp_path / "logs" / "mixed.log"
    report = _audit(tmp_path, log)
    found = Counter(record["who"] for record in _records(log) if "who" in record)

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith("this process: 3007 delivered, balanced: True\n")
    assert ended.stdout.endswith("verdict complete: 5,011 records, missing 0\n")
    assert ("complete", 5, 0) == (report["verdict"], report["runs"], report["duplicates"])
    assert dict.fromkeys(
        (
            *(f"{kind} {number}" for kind in ("fork", "spawn", "thread") for number in (1, 2)),
            *(f"loop {number} {task}" for number in (1, 2) for task in "ab"),
        ),
        501,
    ) == dict(found)


@pytest.fixture(name="outage", scope="module")
def _outage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Play the demo quickly, keep its files; return their directory and what it said."""
    tmp_path = tmp_path_factory.mktemp("outage")
    ended = _run(tmp_path, "outage.py", "--keep", "--pace", "0.4")
    lines = ended.stdout.splitlines()

    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout

    return Path(lines[0].removeprefix("files: ")), lines


def test_outage_shows_what_happens(outage: tuple[Path, list[str]]) -> None:
    """
    The demo tells each event in its order, then how much died in the queue, then `missing 0`.
    """
    _, lines = outage
    events = [line.partition("* ")[2] for line in lines if "  * " in line]
    died = lines[-2].removeprefix("ordinary records that died in the killed process's queue: ")

    assert [
        "service started",
        "primary gone",
        "fallback file takes over",
        "primary back",
        "replayed",
        "primary gone again",
        "killed -9",
        "restarted",
        "stopped by SIGTERM",
    ] == [next((word for word in WORDS if event.startswith(word)), event) for event in events]
    assert 0 < int(died.split(" of ")[0]) < int(died.split(" of ")[1])
    assert 0 < int(events[7].split()[1])
    assert "missing 0" == lines[-1]


WORDS = (
    "service started",
    "primary gone again",
    "primary gone",
    "fallback file takes over",
    "primary back",
    "replayed",
    "killed -9",
    "restarted",
    "stopped by SIGTERM",
)


def test_outage_leaves_one_closed_run(outage: tuple[Path, list[str]]) -> None:
    """
    The killed run is unclean, the second one complete, and nothing waits in a segment.
    """
    directory, _ = outage
    report = _audit(directory, directory / "disk" / "app.log")
    left = [path.name for path in directory.rglob("*") if path.suffix in {".j", ".held", ".bad"}]

    assert ["unclean", "complete"] == [run["verdict"] for run in report["details"]]
    assert (0, 0, 0) == (report["missing"], report["duplicates"], report["torn"])
    assert [] == left


@pytest.mark.parametrize("times", [0, 2])
def test_outage_notices_an_error_that_is_not_there_once(
    outage: tuple[Path, list[str]], times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The demo fails when an acknowledged ERROR is missing on the disk, or there twice.
    """
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    module = _module("outage")
    directory, _ = outage
    (tmp_path / "disk").mkdir()
    lines = (directory / "disk" / "app.log").read_bytes().splitlines(keepends=True)
    error = next(index for index, line in enumerate(lines) if b'"level":"error"' in line)
    lines[error : error + 1] = [lines[error]] * times
    (tmp_path / "disk" / "app.log").write_bytes(b"".join(lines))
    seen = [module.testimony(directory / f"witness-{run}") for run in ("first", "second")]

    with pytest.raises(module.Failed):
        module.Demo(tmp_path, 1.0).check(*seen)


def test_outage_removes_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without --keep nothing stays behind, whatever became of the demo.
    """
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = _module("outage")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "SERVICE", tmp_path / "no-such-service.py")
    monkeypatch.setattr(sys, "argv", ["outage.py"])

    assert 1 == module.main()
    assert [] == list(tmp_path.iterdir())


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


WEBHOOKS = """\
before the outage   delivered 3
while it lasted     held 5, replayed 0
when it was over    delivered 0, held 2
replayed            delivered 6, held 0
rejected for good   order 6
the receiver has    [1, 2, 3, 4, 5, 7, 8, 9, 10]
nothing is lost, and nothing there twice
"""


@pytest.mark.parametrize("way", [(), ("--async",)], ids=["thread", "loop"])
def test_webhooks_outlive_the_outage_of_their_receiver(tmp_path: Path, way: tuple[str]) -> None:
    """
    What a receiver does not take is held and replayed in order; what it refuses is given back.
    """
    ended = _run(tmp_path, "webhooks.py", *way, tmp_path / "state")

    assert (0, "", WEBHOOKS) == (ended.returncode, ended.stderr, ended.stdout)
    assert [] == list((tmp_path / "state").iterdir())


def test_webhooks_of_the_example_are_a_tier_that_conforms() -> None:
    """
    The function that posts events over HTTP keeps the rules of a tier, with a real receiver.
    """
    spec = importlib.util.spec_from_file_location("webhooks", EXAMPLES / "webhooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    with hooks.receiving() as server:
        verdict = check_tier(
            lambda: hooks.CallableTier(partial(hooks.post, server.server_address)),
            received=lambda _: [hooks.line_of(order, 1.0) for order in server.orders],
            fail=lambda _: setattr(server, "down", True),
            heal=lambda _: setattr(server, "down", False),
            lines=lambda number, size: hooks.line_of(number, 1.0),
            seconds=PATIENCE / 2,
        )

    assert {"acknowledgement", "failure", "healing", "order"} <= set(verdict.holds)


def test_hooks_are_told_of_failover_and_recovery(tmp_path: Path) -> None:
    """
    The hooks of the example are called once each, in order.
    """
    ended = _run(tmp_path, "hooks.py", "logs")

    assert (0, "") == (ended.returncode, ended.stderr)
    assert [
        "failover: app from file to fallback",
        "recovery: app by file",
        "hooks called: 2, failed: 0",
    ] == ended.stdout.splitlines()
