"""
Memory runs out at any allocation of a writer's work: Python's own allocator refuses once.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.faults.programs.no_memory import skip_if_python_crashes

pytestmark = pytest.mark.faults

PROGRAM = """
import _testcapi, gc, json, sys
import hydra
from fallbacks import Retryable
from fallbacks.system import SYSTEM
from fallbacks.testing import FakeClock
from fallbacks.tiers import FileTier
from hydra.config import load
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build
from hydra.queue import Barrier

case, root, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
up, refusal, write = True, Retryable("down"), FileTier.write
FileTier.write = lambda tier, batch: write(tier, batch) if up else refusal
settings = load({
    "app": "t", "level": "trace", "state_dir": root, "control_records": False,
    "destinations": [{"name": "app", "type": "file", "path": root + "/app.log", "retries": 0,
                      "fallback": [{"type": "file"}]}],
})
clock = FakeClock()
run = build(settings, system=SYSTEM, clock=clock, threaded=False)
run.start(leftovers=False)
service, tag, passed, wrong = run.services["app"], logger_tag("t"), [], []
writer = service.writer
note = passed.append

def log(level, number):
    fields = {"number": number}
    run.route("t", level).send(
        run.encoder.body(0, level_tag(level), tag, "m", EMPTY, EMPTY, fields), level
    )

gc.disable()
interrupted = number = 0
for at in range(most):
    up = case != "replay"
    # More than a list has room for at first.
    for level in (20,) * 9 + (40,) * 2:
        log(level, number)
        number += 1
    if case == "replay":
        service.pump()
        clock.advance(61.0)
    up = case != "held"
    passed.clear()
    writer.barrier(Barrier(lambda: note(True)))
    _testcapi.set_nomemory(at, at + 1)
    try:
        service.pump()
    except (MemoryError, SystemError):  # CPython says the latter when a join fails
        interrupted += 1
    finally:
        _testcapi.remove_mem_hooks()
    between = writer.balance().lost
    up = True
    for _ in range(3):
        clock.advance(61.0)
        service.pump()
    end = writer.balance()
    if between or end.lost or end.pending or not passed:
        wrong.append((at, between, end.lost, end.pending, len(passed)))
        break
with open(root + "/app.log", "rb") as file:
    found = {json.loads(line)["number"] for line in file}
print(json.dumps([interrupted, wrong, sorted(set(range(number)) - found)]))
"""


@pytest.mark.parametrize("case", ["live", "held", "replay"])
def test_allocation_of_a_writer_that_fails(tmp_path, case):
    """
    Whichever allocation fails while records are delivered, held or replayed, the books balance
    at once and after the next try, each record arrives, and so does who waits for them.
    """
    pytest.importorskip("_testcapi", reason="this Python was built without _testcapi")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, case, str(tmp_path), "700"],
        capture_output=True,
        check=False,
        timeout=300,
        text=True,
    )
    skip_if_python_crashes(ended.returncode)

    assert 0 == ended.returncode, ended.stderr
    interrupted, wrong, missing = json.loads(ended.stdout)

    assert interrupted > 100
    assert [] == wrong
    assert [] == missing
