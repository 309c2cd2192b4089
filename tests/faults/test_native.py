"""
The compiled call path in processes that run out of memory, and in such that fork.
"""

from __future__ import annotations

import json

import pytest

from tests._compiled import needs_compiled
from tests.faults.programs import World
from tests.faults.programs.no_memory import skip_if_python_crashes

pytestmark = [pytest.mark.faults, needs_compiled]

REFUSED = """
import _testcapi, json
from hydra.engine import ENGINE
sinks = [[], []]
def keep(into):
    def sink(lines): into.extend(lines)
    return sink
hydra.configure(
    app="shop", level="debug", state_dir={state!r}, control_records=False,
    destinations=[{{"name": f"app{{n}}", "type": "sink", "sink": keep(sinks[n]), "fallback": []}}
                  for n in range({sinks})],
)
log = hydra.get_logger("shop", bound="b" * 200)
MOST = 60
messages = [f"record {{n}}" for n in range(MOST)]
text, real, whole = "x" * 20, 1234.5678, 2**40
raised, dropped, compiled = [], [], 0
with hydra.context(around="a" * 20):
    for n in range(100): log.{level}("before", text=text, real=real, whole=whole)
    hydra.flush()
    route = log._routes.by_level[{number}]
    # The writers do nothing meanwhile: it is the call that is to run out of memory.
    tickets = [service.chain.ticket for service in ENGINE.current().services.values()]
    for ticket in tickets: ticket.acquire()
    for n in range(MOST):
        receipt = None
        _testcapi.set_nomemory(n, n + 1)
        try: receipt = log.{level}(messages[n], text=text, real=real, whole=whole)
        except BaseException as error: raised.append((n, repr(error)))
        finally: _testcapi.remove_mem_hooks()
        if receipt is hydra.DROPPED: dropped.append(n)
    for ticket in tickets: ticket.release()
hydra.flush()
stats = hydra.close()
had = [sorted(json.loads(line)["message"] for line in lines if b'"record' in line)
       for lines in sinks]
print(json.dumps([type(route).__name__, raised, dropped, stats.balanced, stats.accepted, had]))
"""


@pytest.mark.parametrize("sinks", [1, 2])
@pytest.mark.parametrize("level", ["info", "error"])
def test_allocation_that_fails(tmp_path, level, sinks):
    """
    Whichever allocation of a compiled call fails, nothing is raised, and each record is where the
    receipt says: delivered everywhere, or dropped and counted.
    """
    pytest.importorskip("_testcapi", reason="this Python was built without _testcapi")
    world = World(tmp_path)
    program = REFUSED.format(
        level=level, number=40 if level == "error" else 20, sinks=sinks, state=str(world.state),
    )  # fmt: skip
    ended = world.run(program)
    skip_if_python_crashes(ended.status)

    assert (0, "") == (ended.status, ended.stderr)
    kind, raised, dropped, balanced, accepted, had = json.loads(ended.stdout)
    kept = sorted({f"record {n}" for n in range(60)} - {f"record {n}" for n in dropped})
    # One that was refused a queue is in the other, and its drop is counted.
    assert ("Route", []) == (kind, raised)
    assert balanced
    assert 160 * sinks == accepted
    for got in had[:sinks]:
        assert [] == [message for message in set(got) if got.count(message) > 1]
    assert set(kept) == set().union(*had)


@pytest.mark.parametrize("level", ["info", "error"])
@pytest.mark.parametrize("refused", [2, 8, 30])
def test_no_memory_for_a_while(tmp_path, refused, level):
    """
    Where there is not even memory to call the Python function, a call returns and raises nothing.
    """
    pytest.importorskip("_testcapi", reason="this Python was built without _testcapi")
    world = World(tmp_path)
    program = REFUSED.format(
        level=level, number=40 if level == "error" else 20, sinks=1, state=str(world.state)
    ).replace("n + 1)", f"n + {refused})")
    ended = world.run(program)
    skip_if_python_crashes(ended.status)

    assert (0, "") == (ended.status, ended.stderr)
    kind, raised, _, _, accepted, _ = json.loads(ended.stdout)
    # For want of memory to note a drop, a number may be missing unannounced, and told as lost.
    assert ("Route", []) == (kind, raised)
    assert accepted >= 160


FORKED = """
import ctypes
# Not CDLL, which lets go of the interpreter: another thread might have it at the fork.
fork = os.fork if {fork!r} == "os.fork" else ctypes.PyDLL(None).fork
for n in range(3): log.{level}("parent")
hydra.flush()
from hydra.engine import ENGINE
ENGINE.park()
route, parent = log._routes.by_level[{number}], ENGINE.run.id
assert type(route).__name__ == "Route" and route.home[0]
issued = repr(route.numbers)
pid = fork()
if not pid:
    # As a call would that has looked the route up before the fork.
    early = route(log, "child, on the parent's way", (), {{}})
    for n in range(2): log.{level}("child")
    same = log._routes.by_level[{number}] is route
    hydra.close()
    print(route.home[0], repr(route.numbers) == issued, same, ENGINE.run is None, flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
for n in range(3): log.{level}("parent")
hydra.close()
print(parent)
"""


@pytest.mark.parametrize("level", ["info", "error"])
@pytest.mark.parametrize("fork", ["os.fork", "behind Python's back"])
def test_forked(tmp_path, fork, level):
    """
    A child takes no number of its parent's, and queues nothing where its parent would look,
    whether Python was told of the fork or not.
    """
    world = World(tmp_path)
    ended = world.run(FORKED.format(fork=fork, level=level, number=40 if level == "error" else 20))
    assert (0, "") == (ended.status, ended.stderr)
    child, parent = ended.stdout.splitlines()
    runs = {}
    for record in world.records():
        run, _, number = record["id"].partition(".")
        number = number.rpartition("-")[2]
        runs.setdefault(run, []).append((record["message"], int(number)))

    assert child.startswith("0 True False")
    assert [("parent", n) for n in range(1, 7)] == runs.pop(parent)
    expected = [("child, on the parent's way", 1), ("child", 2), ("child", 3)]
    assert [expected] == list(runs.values())
    assert [] == world.twice()
