"""
Memory runs out at any allocation of a call: Python's own allocator refuses.
"""

from __future__ import annotations

import json

import pytest

from tests.faults.programs import STYLED, World
from tests.faults.programs.no_memory import skip_if_python_crashes

pytestmark = pytest.mark.faults

PROGRAM = """
import _testcapi, json
from hydra.engine import ENGINE
MOST = 120
messages = [f"record {{n}}" for n in range(MOST)]
raised, dropped = [], []
async def scenario(call):
    for n in range(20): await call(log.{level}(messages[n]))
    hydra.flush()
    # The writer does nothing meanwhile: it is the call that is to run out of memory.
    ticket = ENGINE.current().services["app"].chain.ticket
    ticket.acquire()
    for n in range(MOST):
        # The call only, without its await: what the application allocates is its own affair.
        receipt = None
        _testcapi.set_nomemory(n, n + 1)
        try: receipt = log.{level}(messages[n])
        except BaseException as error: raised.append((n, repr(error)))
        finally: _testcapi.remove_mem_hooks()
        if receipt is hydra.DROPPED: dropped.append(n)
        if receipt is not None: await call(receipt)
    ticket.release()
"""
ENDING = """
hydra.flush()
stats = hydra.close()
counts = [stats.accepted, stats.delivered, stats.dropped, list(stats.drops.values())]
print(json.dumps([raised, dropped, stats.balanced, counts]))
"""


@pytest.mark.parametrize("level", ["info", "error", "critical"])
def test_allocation_that_fails(tmp_path, level, style):
    """
    Whichever allocation of a call fails, nothing is raised; the record is in the file, as itself
    or as one that could not be encoded, or its drop is counted.
    """
    # A message that is there already: CPython itself does not get through everything, and
    # dies when it makes the keywords of a call.
    pytest.importorskip("_testcapi", reason="this Python was built without _testcapi")
    world = World(tmp_path)
    program = PROGRAM.format(level=level) + STYLED + ENDING
    ended = world.run(program, style)
    skip_if_python_crashes(ended.status)

    assert (0, "") == (ended.status, ended.stderr)
    raised, dropped, balanced, (accepted, delivered, drops, _) = json.loads(ended.stdout)

    assert [] == raised
    assert balanced
    assert (140, 140) == (accepted, delivered + drops)
    assert len(dropped) == drops
    assert delivered == len(world.records())
    assert [] == world.twice()
    assert [] == world.directories()
