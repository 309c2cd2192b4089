"""
A server that forks its workers and ends them as it likes: gunicorn, configured before the fork.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.faults.programs import PATIENCE, World, parsed

pytestmark = pytest.mark.faults

APPLICATION = """
import os, sys, hydra
hydra.configure(
    app="shop", level="debug", state_dir=os.environ["WORLD_STATE"],
    destinations=[{"name": "app", "type": "file", "path": os.environ["WORLD_PATH"]}],
)
log = hydra.get_logger("shop")
log.info("loaded")

def application(environ, start_response):
    what = environ["PATH_INFO"][1:]
    log.info(f"info {what}"); log.error(f"error {what}")
    if what == "die":
        os._exit(70)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def server(tmp_path):
    """A running server with two workers, its world, and a function that asks it."""
    pytest.importorskip("gunicorn")
    world = World(tmp_path)
    (tmp_path / "application.py").write_text(APPLICATION)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.set_inheritable(True)
        port = listening.getsockname()[1]
        running = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--preload", "--workers=2"),
                *(f"--bind=fd://{listening.fileno()}", "--no-control-socket"),
                *("--log-level=critical", f"--chdir={tmp_path}", "application"),
            ],
            env=world.environment
            | {"WORLD_STATE": str(world.state), "WORLD_PATH": str(world.path)},
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
        )

    def ask(what):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=PATIENCE) as answer:
            return int(answer.read())

    yield running, world, ask
    running.kill()
    running.communicate()


def test_workers_that_are_ended_and_killed(server):
    """
    Each worker has a run of its own: what it logged is in the file once, whether it is ended
    politely, killed, or gone by `os._exit`; the master's files are nobody else's.
    """
    running, world, ask = server
    for n in range(20):
        ask(n)
    deadline = time.monotonic() + PATIENCE
    while len(world.messages()) < 41:
        assert time.monotonic() < deadline
    os.kill(ask("last"), signal.SIGKILL)
    with pytest.raises(OSError):
        ask("die")
    while "info again" not in world.messages():
        assert time.monotonic() < deadline
        ask("again")
    running.send_signal(signal.SIGTERM)
    said = running.communicate(timeout=PATIENCE)[1]
    world.recover()
    messages = world.messages()
    runs = {each["id"].split(".")[0] for each in parsed(world.lines())}

    assert (0, b"") == (running.returncode, said)
    assert 1 == messages.count("loaded")
    for n in range(20):
        assert (1, 1) == (messages.count(f"info {n}"), messages.count(f"error {n}"))
    # Whoever is killed may take along what was queued, but not an ERROR.
    assert (1, 1) == (messages.count("error last"), messages.count("error die"))
    assert messages.count("info again") == messages.count("error again") > 0
    assert 4 <= len(runs)
    assert [] == world.twice()
    assert [] == world.directories()
