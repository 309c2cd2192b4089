"""
Killed at any moment: what a returned ERROR call has promised is kept.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter

import pytest
from click.testing import CliRunner

from hydra.cli import main
from tests.faults.programs import PROGRAMS, World, parsed, torn
from tests.faults.programs.zygote import THREADS

pytestmark = pytest.mark.faults

CYCLES = 500


def _killed(world, cycles, seed):
    """Run the zygote; return its report and, per (cycle, thread), the promises made."""
    promised = world.directory / "promised"
    promised.write_bytes(bytes(8 * THREADS * cycles))
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAMS / "zygote.py", world.directory, str(cycles),
         str(seed)],
        env=world.environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr[-2000:])
    numbers = struct.unpack(f"={THREADS * cycles}Q", promised.read_bytes())
    return json.loads(done.stdout), {divmod(at, THREADS): n for at, n in enumerate(numbers)}


def _audited(path):
    result = CliRunner().invoke(main, ["audit", "--json", str(path)])
    assert result.exit_code in {0, 1}, result.output
    return json.loads(result.stdout)


@pytest.mark.timeout(150)
def test_killed_five_hundred_times(tmp_path, record_property):
    """
    Each promised ERROR is in the log after the next start, and no id is there twice.
    """
    world = World(tmp_path)
    report, promised = _killed(world, CYCLES, seed=11)
    for name, value in report.items():
        record_property(name, value)
    lines = world.lines()
    whole = parsed(lines)
    found = Counter(each["key"] for each in whole if each["message"] == "promised")
    kept = {
        f"{cycle}.{thread}.{n}"
        for (cycle, thread), most in promised.items()
        for n in range(1, most + 1)
    }
    print(report, sum(promised.values()), torn(lines), len(lines))

    assert CYCLES == report["kills"]
    assert 0 == report["status"]
    assert set() == kept - found.keys()
    assert [] == [key for key, times in found.items() if times > 1]
    assert [] == world.twice()
    assert [] == world.directories()

    audit = _audited(world.path)

    assert torn(lines) == audit["torn"]
    assert 0 == audit["duplicates"]
    assert len(whole) == audit["records"]
