"""
A process ends in one of the ways Python knows, and in those it does not know.
"""

from __future__ import annotations

import pytest

from tests.faults.programs import World

pytestmark = pytest.mark.faults

TEN = """
for n in range(10):
    (log.error if n % 2 else log.info)(f"record {n}")
"""
ALL = [f"record {n}" for n in range(10)]
ERRORS = ALL[1::2]

CLEAN_ENDS = {
    "falls off the end": ("", 0, ""),
    "uncaught exception": ("raise ValueError('boom')", 1, "ValueError: boom"),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "Ctrl-C": ("import signal; os.kill(os.getpid(), signal.SIGINT)", -2, "KeyboardInterrupt"),
    "SystemExit in a thread, then the end": (
        "import threading\nt = threading.Thread(target=sys.exit); t.start(); t.join()", 0, "",
    ),
    "os.chdir and a closed stderr": ("os.chdir('/'); os.close(2)", 0, ""),
}  # fmt: skip


@pytest.mark.parametrize("how", CLEAN_ENDS)
def test_script_that_ends(tmp_path, how):
    """
    However Python ends a script, all it logged is in the file, nothing is left over.
    """
    world = World(tmp_path)
    source, status, said = CLEAN_ENDS[how]
    ended = world.run(TEN + source)

    assert status == ended.status
    assert said in ended.stderr
    assert bool(said) == bool(ended.stderr)
    assert ALL == world.messages()
    assert [] == world.directories()
    assert "closed" == _last_message(world)


def _last_message(world):
    import json

    return json.loads(world.lines()[-1])["message"]


def test_script_ends_at_once(tmp_path):
    """
    Ending costs no waiting: not the linger of a writer, not the interval of a sync.
    """
    world = World(tmp_path)
    source = TEN + "import time; began = time.perf_counter(); hydra.close()\n"
    ends = [world.run(source + "print(time.perf_counter() - began)") for _ in range(3)]

    # Normal: 0.17 s for the whole process and 1 to 3 ms for the close.
    assert 1.5 > min(ended.seconds for ended in ends)
    assert 0.05 > min(float(ended.stdout) for ended in ends)
    assert 3 * ALL == world.messages()


DEATHS = {
    "os._exit": ("os._exit(9)", 9),
    "os.abort": ("os.abort()", -6),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", -11),
    "SIGKILL": ("import signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
    "SIGTERM": ("import signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
    "SIGHUP": ("import signal; os.kill(os.getpid(), signal.SIGHUP)", -1),
    "SIGALRM": ("import signal; signal.alarm(1); signal.pause()", -14),
    "os.execv": ("os.execv('/bin/sh', ['sh', '-c', 'exit 7'])", 7),
}


@pytest.mark.parametrize("how", DEATHS)
def test_process_that_dies(tmp_path, how):
    """
    However the kernel ends a process, its ERRORs are in the file after the next start, each once.
    """
    world = World(tmp_path)
    source, status = DEATHS[how]
    ended = world.run(TEN + source, preexec_fn=_no_core)
    world.recover()
    world.recover()

    assert status == ended.status
    assert "" == ended.stderr
    assert ERRORS == [m for m in world.messages() if m in ERRORS]
    assert [] == world.twice()
    assert [] == world.directories()


def _no_core():
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def test_two_deaths_in_a_row(tmp_path):
    """
    What the first left behind is not lost when the second dies too, and comes once.
    """
    world = World(tmp_path)
    for n in range(3):
        world.run(f"log.error('record of {n}'); os._exit(1)")
    world.recover()

    assert [f"record of {n}" for n in range(3)] == sorted(world.messages())
    assert [] == world.twice()
    assert [] == world.directories()
