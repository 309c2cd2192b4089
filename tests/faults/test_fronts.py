"""
Fronts in processes that fork, end, or are killed: each scope keeps what is its own.
"""

from __future__ import annotations

import json
import signal

import pytest

import hydra
from hydra.engine import ENGINE
from tests.contract import kit
from tests.faults.programs import World, parsed

pytestmark = pytest.mark.faults

# Three scopes whose destinations have the same name.
SCOPES = """
import os, sys, hydra
hydra.configure(app="shop", state_dir={state!r}, destinations=[{{"name": "app", "path": {main!r}}}])
one = hydra.HydraLogger(app="shop", state_dir={state!r},
                        destinations=[{{"name": "app", "path": {one!r}}}])
two = hydra.HydraLogger(app="shop", state_dir={state!r}, name="two",
                        destinations=[{{"name": "app", "path": {two!r}}}])
"""


class Scopes(World):
    """A world with a file for the module's scope and one for each of two fronts."""

    def __init__(self, tmp_path):
        super().__init__(tmp_path)
        self.logs = tmp_path / "logs"
        self.files = {name: str(self.logs / f"{name}.log") for name in ("main", "one", "two")}

    @property
    def start(self):
        """Three scopes whose destinations have the same name."""
        return SCOPES.format(state=str(self.state), **self.files)

    def messages_of(self, name):
        """Return what was logged into the file called *name*, and check that no id is twice."""
        with open(self.files[name], "rb") as lines:
            found = parsed(lines.read().splitlines())
        assert len(found) == len({each["id"] for each in found})
        return [each["message"] for each in found if each["logger"] != "hydra.ledger"]


@pytest.mark.parametrize("first", ["one", "two"])
def test_killed_with_records_in_each_scope(tmp_path, first):
    """
    What a killed process leaves of each scope goes to that scope, in whichever order they start.
    """
    world = Scopes(tmp_path)
    # Nothing can be written to the files: their directory is a file.
    world.logs.write_bytes(b"")
    ended = world.run("""
    import signal
    for n in range(3):
        hydra.error(f"main {n}"); one.error(f"one {n}"); two.error(f"two {n}")
        hydra.info(f"main info {n}"); one.info(f"one info {n}"); two.info(f"two info {n}")
    hydra.flush()
    assert hydra.stats().pending == 18, hydra.stats()
    os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert -signal.SIGKILL == ended.status, ended.stderr
    world.logs.unlink()
    world.logs.mkdir()

    def begin(name):
        destinations = [{"name": "app", "path": world.files[name]}]
        options = {"app": "shop", "state_dir": str(world.state), "destinations": destinations}
        if name == "main":
            hydra.configure(**options)
            return None
        return hydra.HydraLogger(**options, name="two" if name == "two" else None)

    second = "two" if first == "one" else "one"
    alive = [begin(name) for name in (first, second, "main")]
    kit.quiet()
    stats = kit.closed()

    assert 18 == stats.replayed
    assert 3 == len(alive)
    for name in world.files:
        expected = [f"{name} {n}" for n in range(3)] + [f"{name} info {n}" for n in range(3)]
        assert sorted(expected) == sorted(world.messages_of(name))
    assert [] == world.directories()


def test_end_without_a_close(tmp_path):
    """
    The end of a process drains every front, also where the module's functions were never used.
    """
    world = World(tmp_path)
    ended = world.run(
        f"""
        import hydra
        front = hydra.HydraLogger(destinations=[{{"path": {str(world.path)!r}}}],
                                  state_dir={str(world.state)!r})
        for n in range(1_000):
            front.info(f"{{n}}")
        front.error("last")
        """,
        start=False,
    )

    assert (0, "") == (ended.status, ended.stderr)
    assert [*map(str, range(1_000)), "last"] == world.messages()
    kit.proven(world.lines())
    assert [] == world.directories()


def test_signal_with_fronts_only(tmp_path):
    """
    With `signals` a front is drained before the signal ends the process.
    """
    world = World(tmp_path)
    ended = world.run(
        f"""
        import hydra, os, signal
        front = hydra.HydraLogger(destinations=[{{"path": {str(world.path)!r}}}],
                                  state_dir={str(world.state)!r}, signals=True)
        for n in range(1_000):
            front.info(f"{{n}}")
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        start=False,
    )

    assert (-signal.SIGTERM, "") == (ended.status, ended.stderr)
    assert [*map(str, range(1_000))] == world.messages()
    kit.proven(world.lines())


def test_fork_with_fronts(tmp_path):
    """
    A child goes on with the fronts it inherited: runs of its own, nothing twice, nothing lost.
    """
    world = Scopes(tmp_path)
    world.logs.mkdir()
    ended = world.run("""
    one.info("parent"); two.info("parent"); one.error("parent error")
    pid = os.fork()
    who = "parent" if pid else "child"
    for front in (one, two):
        front.info(f"{who} after"); front.error(f"{who} error after")
    if not pid:
        assert hydra.stats().accepted == 4, hydra.stats()
        one.close()
        two.info("after the close of one")
        sys.exit(0)
    assert not os.waitpid(pid, 0)[1]
    assert hydra.flush().accepted == 7, hydra.stats()
    """)
    assert (0, "") == (ended.status, ended.stderr)
    after = ["parent after", "parent error after", "child after", "child error after"]

    assert sorted(["parent", "parent error", *after]) == sorted(world.messages_of("one"))
    assert sorted(["parent", "after the close of one", *after]) == sorted(world.messages_of("two"))
    assert [] == world.directories()


@pytest.mark.parametrize("fork", ["os.fork", "raw_fork"])
def test_dropped_in_a_child(tmp_path, fork):
    """
    A front that a child lets go of before it used it does nothing of the parent's.
    """
    world = Scopes(tmp_path)
    world.logs.mkdir()
    ended = world.run(
        """
    import gc
    from tests.faults.programs.raw_fork import raw_fork
    state = os.path.dirname(os.path.dirname(two.stats().journal.directory))
    one.error("parent"); one.flush()
    before = os.listdir(state)
    pid = FORK()
    if not pid:
        del one, two
        gc.collect()
        hydra.info("child")
        sys.exit(0)
    assert not os.waitpid(pid, 0)[1]
    # The child has nothing to close there, and so nothing to tidy up.
    assert {"shop.two"} <= set(before) <= {*os.listdir(state), "shop"}, before
    one.error("parent after")
    """.replace("FORK", fork)
    )
    assert (0, "") == (ended.status, ended.stderr)

    assert ["parent", "parent after"] == world.messages_of("one")
    assert ["child"] == world.messages_of("main")
    assert [] == world.directories()


def test_audit_of_files_of_fronts(tmp_path):
    """
    `hydra audit` finds files complete that several fronts, and the module, wrote at once.
    """
    from click.testing import CliRunner

    from hydra.cli import main

    path = tmp_path / "shared.log"
    destinations = [{"path": str(path)}]
    hydra.configure(destinations=destinations)
    fronts = [hydra.HydraLogger(destinations=destinations, name=name) for name in ("one", "two")]
    for n in range(300):
        hydra.info("%s", n)
        for front in fronts:
            front.info("%s", n, layer=None)
    fronts[0].error("last")
    fronts[0].close()
    kit.closed()
    ENGINE.reset()
    done = CliRunner().invoke(main, ["audit", "--json", str(path)])
    report = json.loads(done.output)

    assert (0, "complete", 3, 901) == (
        done.exit_code, report["verdict"], report["runs"], report["records"],
    )  # fmt: skip
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert 1 == CliRunner().invoke(main, ["audit", "--json", str(path)]).exit_code
