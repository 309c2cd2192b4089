"""
Disks that are full, limited, broken or forbidden, under a file destination.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import hydra
from fallbacks.batch import Batch
from fallbacks.outcomes import Partial
from fallbacks.testing.fake_clock import FakeClock
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from hydra.config import load
from hydra.engine._build import build
from hydra.engine._reading import read as read_stats
from tests.faults.programs import World, parsed
from tests.sinks._kit import held_files, numbers, of, read, records, run_program, until

pytestmark = pytest.mark.faults


@pytest.fixture
def small(mount):
    """Give a file system of 64 KiB."""
    yield mount("size=64k")
    hydra.close()


def remount(mount, options):
    """Change the options of the file system at *mount*."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(mount)], check=True)


def audited(path):
    """Return the JSON report of `hydra audit` on *path*."""
    done = subprocess.run(
        [sys.executable, "-m", "hydra", "audit", "--json", str(path)],
        capture_output=True,
        check=False,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("writer", ["thread", "loop"])
def test_full_disk_and_back(writer, small):
    """
    A full disk raises nothing, loses nothing, and once it is well again the file
    has every record exactly once; the ledger balances at every quiet moment.
    """
    path = small / "app.log"
    hydra.configure(
        app="t",
        destinations=[
            {"name": "app", "type": "file", "path": str(path), "writer": writer, "retries": 0}
        ],
    )
    log = hydra.get_logger("shop")
    log.info("first", n=0)
    assert hydra.flush(5).balanced
    for n in range(1, 200):
        log.info("x" * 1000, n=n)
        if n % 50 == 0:
            stats = hydra.flush(5)
            assert stats.balanced
            assert 0 == stats.dropped
    receipt = log.error("grave", n=200)
    assert receipt.wait(5).delivered
    assert hydra.flush(5).balanced
    assert of("app").held > 100

    remount(small, "size=4m")
    hydra.flush(5)
    until(lambda: of("app").delivered == 201, "the held records are replayed")
    until(lambda: held_files() == [], "the held file is gone")
    log.info("last", n=201)

    stats = hydra.close()
    assert (True, 202, 202, 0) == (
        stats.balanced,
        stats.accepted,
        stats.delivered,
        stats.dropped,
    )
    # What was cut off when the disk filled up stays behind as a line of its own.
    lines = path.read_bytes().splitlines()
    whole = [line for line in lines if line.endswith(b'"}') and line.startswith(b"{")]
    assert len(lines) - len(whole) <= 1
    assert list(range(202)) == sorted(numbers(records(whole)))
    report = audited(path)
    assert (0, 0, 0) == (report["duplicates"], report["missing"], report["missing_guaranteed"])


def test_limit_on_file_sizes():
    """
    A process that may not write files beyond a size, journal and held files included, ends
    normally; every record is somewhere: in the file or on standard error.
    """
    source = """
        import resource, sys
        import hydra
        hydra.configure(app="t", queue={"block_timeout": 0.2}, destinations=[
            {"name": "app", "type": "file", "path": sys.argv[1], "retries": 0}])
        log = hydra.get_logger("shop")
        log.info("first", n=0)
        hydra.flush()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        for n in range(1, 100):
            (log.error if n % 10 == 0 else log.info)("x" * 1000, n=n)
        assert hydra.flush().balanced, hydra.stats()
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.info("last", n=100)
        stats = hydra.close()
        assert stats.balanced, stats
        print(stats.accepted, stats.delivered + stats.held, stats.dropped)
    """
    path = Path(os.environ["HYDRA_STATE_DIR"]).parent / "limited.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = run_program(textwrap.dedent(source), path)

    assert (0, b"101 101 0\n") == (done.returncode, done.stdout), done.stderr
    state = Path(os.environ["HYDRA_STATE_DIR"])
    lines = path.read_bytes().splitlines() + done.stderr.splitlines()
    for held in state.rglob("*.held"):
        lines += held.read_bytes().splitlines()
    found = [line for line in lines if line.startswith(b'{"timestamp"') and line.endswith(b'"}')]
    assert set(range(101)) == set(numbers(records(found)))


def pumped(fs, clock, **options):
    """Return a run on *fs* whose writers are pumped by hand, and the pump."""
    settings = load(
        {
            "app": "t",
            "journal": {"enabled": False},
            "destinations": [
                {"name": "app", "type": "file", "path": "/logs/app.log", "retries": 0, **options}
            ],
        }
    )
    run = build(settings, system=fs, clock=clock, threaded=False)

    def pump():
        for service in run.services.values():
            service.help()
            service._drain(service.chain.sync_tiers, patient=False)

    return run, pump


def body(n):
    """Return the body of a record with the field *n*."""
    start = b'{"timestamp":"2026-01-01T00:00:00.000000Z","level":"info","logger":"s",'
    return start + b'"message":"m","n":%d' % n


OPERATIONS = ("write", "open", "fstat", "stat", "pread", "makedirs", "*")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("times", [1, 5, None])
def test_any_call_may_fail_at_any_time(operation, error, times, capfd):
    """
    Whatever system call fails, at whatever moment and for however long: nothing is raised, the
    ledger balances, and after healing the file has every record that no other tier took.
    """
    for when in range(1, 12):
        fs, clock = FaultyFilesystem(), FakeClock()
        run, pump = pumped(fs, clock)
        stream = run.stream(("app",), guaranteed=False)
        fs.fail(operation, error, when=when, times=times)
        for n in range(12):
            stream.send(body(n), 20)
            if n % 3 == 2:
                pump()
                stats = read_stats([run])
                assert stats.balanced, (when, stats)
        fs.heal()
        for _ in range(6):
            clock.advance(40.0)
            pump()
        stats = read_stats([run])
        found = [
            line
            for line in fs.read("/logs/app.log").splitlines()
            if line.startswith(b'{"timestamp"') and b"hydra.ledger" not in line
        ]
        elsewhere = [
            line
            for line in capfd.readouterr().err.encode().splitlines()
            if line.startswith(b'{"timestamp"') and b"hydra.ledger" not in line
        ]
        for service in run.services.values():
            service.begin_close()
            service.seize()
            service.let_go()

        assert (True, 12, 0, 0) == (
            stats.balanced,
            stats.delivered,
            stats.dropped,
            stats.pending,
        ), (when, stats)
        assert list(range(12)) == sorted(set(numbers(records(found + elsewhere)))), when


def test_held_in_part_counts_once(capfd):
    """Lines of one batch that the fallback file took are pending once, not twice."""
    fs, clock = FaultyFilesystem(), FakeClock()
    run, _ = pumped(fs, clock, fallback=[{"type": "file"}])
    service = run.services["app"]
    stream = run.stream(("app",), guaranteed=False)
    fs.fail("write", errno.ENOSPC, times=None, path="*.log")
    for n in range(10):
        stream.send(body(n), 20)
    job = service.writer.next_job(service.chain.sync_tiers, patient=True)
    # The fallback file takes half of the batch, and the rest has to wait.
    job.delivery.step(clock.monotonic())
    job.delivery.feed(Partial(()), clock.monotonic())
    step = job.delivery.step(clock.monotonic())
    store = service.chain.tiers[step.tier]
    store.write(Batch(job.batch.lines[:5]))
    job.delivery.feed(Partial(range(5)), clock.monotonic())

    assert (10, True) == (service.writer.pending, service.writer.balance().balanced)

    service.writer.finish(job)

    assert (10, True) == (service.writer.pending, service.writer.balance().balanced)
    fs.heal()
    service.begin_close()
    service.seize()
    service.let_go()
    capfd.readouterr()


def test_permission_denied_and_granted(tmp_path):
    """A user who may not write the file logs on, and once it may, the file has everything."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else")
    source = """
        import os, sys
        import hydra
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        hydra.configure(app="t", state_dir=sys.argv[2], destinations=[
            {"name": "app", "type": "file", "path": sys.argv[1], "retries": 0}])
        log = hydra.get_logger("shop")
        for n in range(50):
            log.info("ordinary", n=n)
        assert log.error("grave", n=50).wait(5).delivered
        stats = hydra.flush()
        assert stats.balanced and stats.held == 51 and stats.dropped == 0, stats
        print("denied", flush=True)
        sys.stdin.readline()
        hydra.flush()
        log.info("last", n=51)
        stats = hydra.close()
        print(stats.balanced, stats.delivered, stats.dropped)
    """
    # A place that another user can get to: pytest's own directories are private.
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="hydra-denied-"))
    try:
        os.chmod(place, 0o755)
        (place / "logs").mkdir(mode=0o755)
        (place / "state").mkdir(mode=0o700)
        os.chown(place / "state", 65534, 65534)
        path = place / "logs" / "app.log"
        root = Path(__file__).parents[2]
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source), str(path), str(place / "state")],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": "/nonexistent"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            denied = running.stdout.readline()
            os.chmod(place / "logs", 0o777)
            out, err = running.communicate("\n", timeout=20)
        assert ("denied\n", "True 52 0\n") == (denied, out), err
        assert list(range(52)) == sorted(numbers(read(path)))
    finally:
        shutil.rmtree(place)


def test_immutable_file_and_back(tmp_path):
    """A file made immutable is a failing tier like any other, and comes back like any other."""
    path = tmp_path / "app.log"
    path.write_bytes(b"")
    tried = subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no immutable files here: {tried.stderr.decode().strip()}")
    try:
        hydra.configure(
            app="t",
            destinations=[{"name": "app", "type": "file", "path": str(path), "retries": 0}],
        )
        log = hydra.get_logger("shop")
        for n in range(20):
            log.info("ordinary", n=n)
        assert hydra.flush(5).balanced
        assert 20 == of("app").held
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    hydra.flush(5)
    until(lambda: of("app").delivered == 20, "the held records are replayed")

    assert list(range(20)) == numbers(read(path))


@pytest.mark.parametrize("fault", ["read-only", "no inode left"])
def test_file_system_that_takes_no_file(fault, mount, call_style):
    """
    A file system made read-only, or without an inode for a rotated log: the records are held
    elsewhere, nothing is raised, and once it is well again the file has every record once.
    """
    place = mount("size=4m,nr_inodes=8")
    path = place / "app.log"
    hydra.configure(
        app="t",
        destinations=[{"name": "app", "type": "file", "path": str(path), "retries": 0}],
    )
    log = hydra.get_logger("shop")
    log.info("first", n=0)
    assert hydra.flush(5).balanced
    # Rotated, so that a new file is wanted.
    path.rename(place / "app.log.1")
    filler = []
    if fault == "read-only":
        # Bound to itself: the file system as a whole is busy while the log is open.
        subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
        remount(place, "bind,ro")
    else:
        with contextlib.suppress(OSError):
            while True:
                filler.append(place / str(len(filler)))
                filler[-1].touch()

    async def scenario(call):
        for n in range(1, 20):
            await call((log.error if n == 10 else log.info)("meanwhile", n=n))

    call_style.run(scenario)
    stats = hydra.flush(5)

    assert (True, 19, 0) == (stats.balanced, stats.held, stats.dropped)
    if fault == "read-only":
        subprocess.run(["umount", "-l", str(place)], check=True)
    for each in filler[:-1]:
        each.unlink()
    hydra.flush(5)
    until(lambda: of("app").delivered == 20, "the held records are replayed")
    stats = hydra.close()

    assert (True, 20, 0) == (stats.balanced, stats.delivered, stats.dropped)
    assert [0] == numbers(read(place / "app.log.1"))
    assert list(range(1, 20)) == numbers(read(path))


def test_everything_full_and_back(mount, tmp_path, style):
    """
    With the disk of log and state full, and standard error too, a program logs on undisturbed;
    what could not be kept is counted, and the first lines after the recovery say what is missing.
    """
    place = mount("size=384k")
    world = World(tmp_path)
    world.path, world.state = place / "app.log", place / "state"
    ended = world.run(EVERYTHING_FULL, place / "ballast", style, start=False)
    assert 0 == ended.status, world.lines()[-3:]
    balanced, accepted, delivered, dropped = json.loads(ended.stdout)
    records = world.records()
    declared = sum(
        each["count"]
        for each in parsed(world.lines())
        if each["logger"] == "hydra.ledger" and each.get("event") == "drops"
    )
    print(accepted, delivered, dropped)

    assert balanced
    assert 2_001 == accepted == delivered + dropped
    assert 0 < dropped == declared
    assert delivered == len(records)
    assert "last" in {each["message"] for each in records}
    assert [] == world.twice()


EVERYTHING_FULL = """
import asyncio, json, os, sys, hydra
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
place = os.path.dirname(sys.argv[1])
hydra.configure(
    app="shop", level="debug", state_dir=place + "/state",
    queue={"records": 500, "when_full": "drop_new"},
    journal={"segment": "128 KiB", "quota": "256 KiB"},
    destinations=[{"name": "app", "type": "file", "path": place + "/app.log", "retries": 0}],
)
log = hydra.get_logger("shop")
with open(sys.argv[1], "wb", buffering=0) as ballast:
    try:
        while True: ballast.write(bytes(512))
    except OSError: pass
def work():
    for n in range(2_000):
        (log.error if n % 100 == 0 else log.info)("ordinary", n=n)
async def on_a_loop():
    # Left alone: whoever awaits a parked call has asked to wait for room.
    work()
asyncio.run(on_a_loop()) if sys.argv[2] == "asyncio" else work()
assert hydra.flush(1.0).balanced
os.unlink(sys.argv[1])
hydra.flush()
log.info("last")
hydra.flush()
stats = hydra.close()
print(json.dumps([stats.balanced, stats.accepted, stats.delivered, stats.dropped]))
"""
