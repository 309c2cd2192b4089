"""
`hydra doctor --watch`: running processes from outside.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.cli._live import History, Process, processes, rates, unbalanced
from hydra.cli._watch import one_line_each, picture, watch
from hydra.config import load
from hydra.metrics import DestinationStats, Stats, TierStats
from hydra.metrics._live import LARGEST, Reading, decode, encode
from tests.faults.programs import World

pytestmark = pytest.mark.integration

PROGRAM = """
import sys
hydra.configure(
    app="shop", level="debug", state_dir={state!r}, live_stats=True,
    destinations=[{{"name": "app", "type": "file", "path": {path!r}}}],
)
from hydra.engine import ENGINE
for n in range(10): log.info(f"record {{n}}")
hydra.flush()
ENGINE.run.publisher.publish()
print("ready", flush=True)
for asked in sys.stdin:
    for n in range(int(asked)): log.error(f"more {{n}}")
    hydra.flush()
    ENGINE.run.publisher.publish()
    print("done", flush=True)
"""

SECOND = 1_000_000_000
NUMBERS = (
    "accepted", "delivered", "pending", "dropped", "held", "replayed", "lost", "queued",
    "queued_bytes", "high_water", "parked", "spilled", "rescues", "crashes",
)  # fmt: skip


def tier(**more):
    """Return a tier."""
    facts = {
        "name": "file", "kind": "final", "delivered": 0, "attempts": 0, "failed": 0,
        "state": "closed", "opened": 0, "p50": None, "p99": None, "last_error": None,
    }  # fmt: skip
    return TierStats(**facts | more)


def destination(name="app", tiers=(), **more):
    """Return a destination."""
    facts = dict.fromkeys(NUMBERS, 0) | {"blocked_seconds": 0.0, "mode": "thread"}
    return DestinationStats(name=name, tiers=tuple(tiers), **facts | more)


def reading(time, *destinations, run="a" * 12, **more):
    """Return a reading at *time* seconds."""
    stats = Stats(destinations={each.name: each for each in destinations}, **more)
    return Reading(
        app="shop", run=run, pid=7, began=0, time=time * SECOND, interval=1.0, stats=stats
    )


def test_rates():
    """Rates are differences of two readings over the time between them."""
    before = reading(10, destination(accepted=100, tiers=[tier(delivered=90)]))
    after = reading(
        12, destination(accepted=300, delivered=4, dropped=1, tiers=[tier(delivered=290)])
    )

    assert {"app": (100.0, 2.0, 0.5, (100.0,))} == rates(before, after)
    assert {} == rates(None, after)
    assert {} == rates(reading(10, destination("other")), after)


def test_difference_of_one_reading_proves_nothing():
    """Books are out of balance only when two readings differ by the same number."""
    one, two = destination(lost=3), destination(lost=4)

    assert frozenset() == unbalanced(None, reading(1, one))
    assert frozenset() == unbalanced(reading(1, one), reading(2, two))
    assert {"app"} == unbalanced(reading(1, one), reading(2, one))


def test_history():
    """A reading seen twice keeps its rates; a process without news is silent, then gone."""
    history = History()
    first, second = (Process(reading(t, destination(accepted=t * 5)), alive=True) for t in (1, 2))
    looks = [
        history.look([each], now * SECOND)[0]
        for each, now in ((first, 1), (second, 2), (second, 3), (second, 9))
    ]
    dead = history.look([second._replace(alive=False)], 10 * SECOND)[0]

    assert ["live", "live", "live", "silent"] == [each.state for each in looks]
    assert [None, 5.0, 5.0, 5.0] == [
        each.rates["app"].accepted if each.rates else None for each in looks
    ]
    assert "dead" == dead.state
    assert {} == (history.look([], 11 * SECOND) or history._last)


def test_picture():
    """The picture has the destination's figures, its tiers, their last change and the drops."""
    made = tier(state="open", opened=2, p50=0.0005, p99=1.5, changes=((SECOND, "open"),))
    made = [made, tier(name="fallback\x1b[2J", last_error="full")]
    first = reading(1, destination(tiers=made))
    found = destination(accepted=2000, held=7, lost=1, tiers=made)
    second = reading(2, found, drops={("info", "quota"): 3})
    history = History()
    history.look([Process(first, alive=True)], SECOND)
    looked = history.look([Process(second, alive=True)], 2 * SECOND)
    text = "\n".join(picture(looked, 2 * SECOND))

    changed = "open 1970-01-01T00:00:01Z"
    for said in ("2,000", "under way", changed, "500 us", "1.5 s", "3 info quota"):
        assert said in text
    assert "\x1b" not in text
    [line] = one_line_each(looked[0], 2 * SECOND)
    assert "in/s=2,000" in line
    assert "held=7" in line


@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 60))
def test_no_bytes_stop_a_reader(junk, at, cut):
    """Whatever is in the file, there is a reading or none; never an exception."""
    data = encode(reading(1, destination(tiers=[tier(latency=((0.1, 1), (float("inf"), 2)))])))
    damaged = data[:at] + junk + data[at + cut :]
    found = decode(damaged)

    assert found is None or isinstance(found, Reading)
    assert damaged != data or found == decode(data) is not None


def test_what_is_no_reading_is_left_alone(tmp_path):
    """FIFOs, links, huge and foreign files do not keep a reader from the others."""
    (tmp_path / "good.live").write_bytes(encode(reading(1)))
    (tmp_path / "newer.live").write_bytes(b"hydra-live 2\n")
    (tmp_path / "empty.live").touch()
    (tmp_path / ".hidden.live").write_bytes(encode(reading(1)))
    with open(tmp_path / "huge.live", "wb") as file:
        file.truncate(LARGEST * 100)
    os.mkfifo(tmp_path / "fifo.live")
    (tmp_path / "directory.live").mkdir()
    os.symlink(tmp_path / "good.live", tmp_path / "link.live")
    found = processes([str(tmp_path), str(tmp_path / "none")])

    assert [(reading(1), False)] == [tuple(each) for each in found]
    assert (tmp_path / "newer.live").exists()


@pytest.fixture
def world(tmp_path):
    """Return a world."""
    return World(tmp_path)


@pytest.fixture
def started(world):
    """Return a process that publishes, and a function that has it log and publish again."""
    program = PROGRAM.format(state=str(world.state), path=str(world.path))
    process = world.popen(program)
    assert "ready\n" == process.stdout.readline()

    def log(number):
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert "done\n" == process.stdout.readline()

    yield process, log
    process.kill()
    process.communicate()


def doctor(world, *arguments, **more):
    """Run `hydra doctor` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hydra", "doctor", *arguments],
        env=world.environment | {"HYDRA_STATE_DIR": str(world.state)},
        capture_output=True, text=True, check=False, **more,
    )  # fmt: skip


def test_running_process_is_seen_from_another(world, started):
    """Another process sees what this one does, its rates from the second round on."""
    process, log = started
    lines = []
    settings = load(environ={})
    environ = {"HYDRA_STATE_DIR": str(world.state), "HOME": str(world.directory)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hydra.cli._watch.click.echo", lambda line, err=False: lines.append(line))
        status = watch(
            settings, "shop", interval=1, rounds=2, as_json=True, environ=environ,
            pause=lambda _: log(5),
        )  # fmt: skip
    first, second = map(json.loads, lines)

    assert (0, "live", process.pid) == (status, second["state"], second["pid"])
    assert [10, 15] == [each["destinations"][0]["delivered"] for each in (first, second)]
    assert first["destinations"][0]["accepted_per_second"] is None
    assert second["destinations"][0]["accepted_per_second"] > 0
    assert second["balanced"]
    assert "closed" == second["destinations"][0]["tiers"][0]["state"]


def test_process_that_is_killed(world, started):
    """A killed process is shown as dead; the next start takes its file away, the close its own."""
    process, _ = started
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen = doctor(world, "--watch", "--count", "1")
    plain = doctor(world).stdout

    assert (0, "", True) == (
        seen.returncode,
        seen.stderr,
        f"shop[{process.pid}] dead" in seen.stdout,
    )
    assert "pid" in plain or "none publishes" in plain
    world.recover(live_stats=True)
    gone = doctor(world, "--watch", "--count", "1")
    assert (1, "", True) == (gone.returncode, gone.stdout, "live_stats = true" in gone.stderr)
    assert not (world.state / "shop").exists()


def test_doctor_tells_of_processes(world, started, monkeypatch):
    """`hydra doctor` says how the processes of the app are."""
    process, _ = started
    seen = subprocess.run(
        [sys.executable, "-m", "hydra", "doctor"],
        env=world.environment | {"HYDRA_STATE_DIR": str(world.state), "HYDRA_APP": "shop"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert f"pid {process.pid}: 10 delivered, 0 pending, 0 held, 0 dropped" in seen.stdout


def test_terminal_is_given_back_on_ctrl_c(world, started):
    """On a terminal it draws in place, and Ctrl-C restores screen and cursor, status 0."""
    outer, inner = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "hydra", "doctor", "--watch", "--interval", "600"],
        env=world.environment | {"HYDRA_STATE_DIR": str(world.state), "TERM": "xterm"},
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    said = b""
    while b"\x1b[J" not in said:
        said += os.read(outer, 4096)
    command.send_signal(signal.SIGINT)
    assert 0 == command.wait(30)
    while not said.endswith(b"0\r\n") and b"\x1b[?1049l" not in said:
        said += os.read(outer, 4096)
    os.close(outer)

    assert said.startswith(b"\x1b[?1049h\x1b[?25l")
    assert b"\x1b[?25h\x1b[?1049l" in said


@pytest.mark.parametrize("option", [["--app", "a"], ["--interval", "2"], ["--count", "1"]])
def test_options_that_need_watch(run_cli, option):
    """Options of --watch are refused without it."""
    result = run_cli("doctor", *option)

    assert (2, True) == (result.exit_code, "need --watch" in result.output)


def test_wrong_configuration(run_cli, tmp_path):
    """A configuration that cannot be read is told in one sentence."""
    result = run_cli("doctor", "--watch", "--config", tmp_path / "none.toml")

    assert (1, True) == (result.exit_code, result.output.startswith("Error:"))
