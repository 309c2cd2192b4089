"""
No place for state: a read-only home, an unknown user, every candidate refused.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

import hydra
from hydra.core.exceptions import HydraWarning
from hydra.engine import ENGINE
from tests.sinks._kit import Sink, numbers, of, read, records, run_program

pytestmark = pytest.mark.faults

REFUSED = """
    import os, sys, tempfile
    import hydra.config._state as state
    state._SHARED = ("/proc/nowhere", "/sys/nowhere")
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    import warnings
    import hydra
    path = sys.argv[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            hydra.configure(app="t", strict=sys.argv[2] == "strict", destinations=[
                {"name": "app", "type": "file", "path": path, "fallback": [{"type": "file"}]},
                {"name": "second", "type": "file", "path": path + ".2"}])
        except hydra.ConfigurationError as error:
            print("refused", "state_dir" in str(error))
            sys.exit(0)
        log = hydra.get_logger("shop")
        for n in range(20):
            log.info("ordinary", n=n)
        log.error("grave", n=20)
        stats = hydra.close()
    ours = [str(w.message) for w in caught if issubclass(w.category, hydra.HydraWarning)]
    print(len(ours), all("survive" in said for said in ours), stats.balanced,
          stats.delivered, stats.dropped, "no usable" in stats.journal.state)
"""


@pytest.fixture
def shared_place():
    """Give a directory that user 65534 can reach and write to."""
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="hydra-state-"))
    os.chmod(place, 0o777)
    yield place
    shutil.rmtree(place)


NOBODY = {"HOME": "/nonexistent", "HYDRA_STATE_DIR": "/nonexistent/hydra", "XDG_STATE_HOME": ""}


def test_without_any_place_logging_works_after_one_warning(shared_place):
    """With every candidate refused: exactly one warning, and every record in its file."""
    path = shared_place / "app.log"
    done = run_program(textwrap.dedent(REFUSED), path, "lax", env=NOBODY)

    assert (b"1 True True 42 0 True\n", b"") == (done.stdout, done.stderr)
    assert list(range(21)) == numbers(read(path))
    assert list(range(21)) == numbers(read(f"{path}.2"))


def test_strict_refuses_to_log_without_a_place(shared_place):
    """With `strict` the same situation is an error of the configuration."""
    done = run_program(textwrap.dedent(REFUSED), shared_place / "app.log", "strict", env=NOBODY)

    assert (b"refused True\n", b"") == (done.stdout, done.stderr)


def test_unknown_user_without_a_home_finds_a_shared_place(shared_place):
    """A container's user without entry or home gets a private directory in /var/tmp."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    source = """
        import os, sys
        import hydra
        os.setgroups([]); os.setgid(65534); os.setuid(54321)
        app = "t" + str(os.getpid())
        hydra.configure(app=app, destinations=[
            {"name": "app", "type": "file", "path": sys.argv[1]}])
        log = hydra.get_logger("shop")
        receipt = log.error("grave", n=0)
        print(receipt.durability.value in "KS", hydra.stats().journal.state)
        print(hydra.stats().journal.directory)
        hydra.close()
    """
    done = run_program(textwrap.dedent(source), shared_place / "app.log", env=NOBODY)

    assert b"" == done.stderr
    said, directory = done.stdout.decode().splitlines()
    assert "True on" == said
    assert any(directory.startswith(shared) for shared in ("/var/tmp/", "/dev/shm/"))
    assert [0] == numbers(read(shared_place / "app.log"))


def test_without_a_place_errors_for_a_sink_reach_the_sink(monkeypatch, recwarn):
    """Where nothing can be held and nothing journaled, an ERROR still goes to its own sink."""
    monkeypatch.setenv("HYDRA_STATE_DIR", "/proc/nowhere")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere2")
    monkeypatch.setenv("HOME", "/proc/nowhere3")
    monkeypatch.setattr("hydra.config._state._SHARED", ("/proc/nowhere4",))
    sink = Sink(None)
    with pytest.warns(HydraWarning):
        hydra.configure(app="t", destinations=[hydra.Destination(sink.write, name="mine")])
    receipt = hydra.get_logger("shop").error("grave", n=0)

    assert "write" == receipt.wait(5).fates["mine"].tier
    assert [0] == numbers(records(sink.lines))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_without_a_journal_errors_are_not_diverted_to_a_fallback(kind, tmp_path, call_style):
    """
    A caller that helps with an ERROR never takes a healthy destination's records elsewhere:
    neither a file's to standard error nor a sink's to the fallback file.
    """
    sink = Sink(None)
    hydra.configure(
        app="t",
        journal={"enabled": False},
        destinations=[
            {"name": "app", "type": "file", "path": str(tmp_path / "app.log")},
            hydra.Destination(sink.as_kind(kind), name="mine"),
        ],
    )
    log = hydra.get_logger("shop")

    async def scenario(call):
        for n in range(50):
            (log.error if n % 10 == 9 else log.info)("record", n=n)
        return await call(log.error("grave", n=50))

    settlement = call_style.run(scenario).wait(5)

    assert settlement.fates["app"].tier in {"file", "async_file"}
    assert settlement.fates["mine"].tier in {"write", "awrite"}
    assert hydra.flush(5).balanced
    assert list(range(51)) == numbers(read(tmp_path / "app.log"))
    assert list(range(51)) == numbers(records(sink.lines))
    assert 0 == sum(
        tier.delivered
        for name in ("app", "mine")
        for tier in of(name).tiers[1:]
        if tier.name in {"fallback", "stderr"}
    )
    assert ENGINE.run is not None
