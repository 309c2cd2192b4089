"""
A wall clock that jumps at every look, under a running process.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.faults.programs import PROGRAMS, STYLED, World

pytestmark = pytest.mark.faults

PROGRAM = (
    """
import time
broken = True
def sink(lines):
    if broken: raise OSError("down")
    with open(sys.argv[2], "ab") as file: file.writelines(lines)
hydra.configure(app="shop", level="debug", destinations=[
    hydra.Destination(sink=sink, name="sink", retries=0, timeout=2.0),
    {"name": "app", "type": "file", "path": sys.argv[3]},
], state_dir=sys.argv[4])
async def scenario(call):
    global broken
    for n in range(300):
        await call((log.error if n % 10 == 0 else log.info)(f"record {n}"))
    stats = hydra.flush()
    assert stats.balanced and stats.destinations["sink"].held == 300, stats
    broken = False
    began = time.monotonic()
    while hydra.stats().destinations["sink"].delivered < 300:
        assert time.monotonic() - began < 20.0
        hydra.flush(0.1)
"""
    + STYLED
    + """
stats = hydra.close()
print(stats.balanced, stats.accepted, stats.delivered)
"""
)


@pytest.fixture
def jumping(tmp_path):
    """A library that makes the wall clock jump in the process that it is loaded into."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the clock that jumps")
    library = tmp_path / "clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, PROGRAMS / "clock.c", "-ldl"],
        check=True,
    )
    return library


def test_wall_clock_that_jumps_at_every_look(tmp_path, jumping, style, monkeypatch):
    """
    However the wall clock jumps, records are numbered and written in the order of their calls, a
    sink that recovered is tried again in time, and the process ends.
    """
    world = World(tmp_path)
    # Loaded into the program only; what follows in this process has a sound clock.
    environment = world.environment | {"LD_PRELOAD": str(jumping)}
    monkeypatch.setattr(World, "environment", environment)
    second = tmp_path / "second.log"
    ended = world.run(PROGRAM, style, tmp_path / "sink.log", second, tmp_path / "s", start=True)
    expected = [f"record {n}" for n in range(300)]

    assert ("True 600 600\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    for path in (tmp_path / "sink.log", second):
        world.path = path

        assert expected == world.messages()
        assert [] == world.twice()
    assert {"1970"} < {each["timestamp"][:4] for each in world.records()}
