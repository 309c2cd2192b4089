"""
Log files that others rotate, cut short, share, or leave torn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import hydra
from fallbacks.batch import Batch
from fallbacks.tiers import FileTier
from tests.sinks._kit import ROOT, numbers, of, read, records

pytestmark = pytest.mark.faults


@pytest.fixture(params=["thread", "loop"])
def log(request, tmp_path):
    """Give a logger whose file is served by the mode asked for, and the file."""
    path = tmp_path / "app.log"
    hydra.configure(
        app="t",
        destinations=[{"name": "app", "type": "file", "path": str(path), "writer": request.param}],
    )
    logger = hydra.get_logger("shop")
    # The test is about the writer it names, not about the way there.
    wanted = request.param
    for _ in range(400):
        logger.info("warm")
        hydra.flush(5)
        if of("app").mode == wanted:
            break
        threading.Event().wait(0.005)
    assert wanted == of("app").mode
    return logger, path


def test_moved_and_made_anew_without_a_signal(log):
    """Moved and made anew under load: each record is in exactly one of the files."""
    logger, path = log
    for turn in range(5):
        for n in range(turn * 400, turn * 400 + 400):
            logger.info("ordinary", n=n)
            if n % 400 == 200:
                os.rename(path, path.with_name(f"app.log.{turn}"))
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        hydra.flush(5)
    assert hydra.close().balanced

    found = [n for file in path.parent.glob("app.log*") for n in numbers(read(file))]
    assert list(range(2000)) == sorted(found)
    assert [] == [file for file in path.parent.glob("app.log*") if file.stat().st_size == 0]


def test_copied_and_cut_short(log):
    """What is copied and truncated has no hole of zero bytes and no torn line of ours."""
    logger, path = log
    for n in range(2000):
        logger.info("ordinary", n=n)
        if n % 300 == 299:
            hydra.flush(5)
            os.truncate(path, 0)
    assert hydra.close().balanced

    data = path.read_bytes()
    assert 0 == data.count(b"\0")
    found = numbers(records(data.splitlines()))
    assert list(range(1800, 2000)) == found


@pytest.mark.parametrize("tail", [b'{"timestamp":"2026', b"x", b'{"whole":1}'])
def test_torn_tail_of_another_process_is_not_glued_to(log, tail):
    """A sibling that died in the middle of a line costs its own line and none of ours."""
    logger, path = log
    for n in range(3):
        logger.info("ordinary", n=n)
        hydra.flush(5)
        with path.open("ab") as sibling:
            sibling.write(tail)
    logger.info("ordinary", n=3)
    hydra.flush(5)

    lines = path.read_bytes().splitlines()
    assert 3 == lines.count(tail)
    assert [0, 1, 2, 3] == numbers(records([line for line in lines if line not in {tail, b""}]))


def test_torn_tail_of_the_async_tier_is_seen_by_its_twin(tmp_path):
    """Both tiers of a file write to one path: what one leaves torn, the other does not glue to."""
    import asyncio

    from fallbacks.tiers import AsyncFileTier

    path = tmp_path / "app.log"
    twin = FileTier(path)
    twin.write(Batch([b"one\n"]))

    async def tear():
        tier = AsyncFileTier(path, render=lambda line: line.rstrip(b"\n"))
        await tier.write(Batch([b"torn\n"]))
        await tier.aclose()

    asyncio.run(tear())
    twin.write(Batch([b"two\n"]))
    asyncio.run(tear())
    twin.write(Batch([b"three\n"]))
    twin.close()

    assert b"one\ntorn\ntwo\ntorn\nthree\n" == path.read_bytes()


WRITER = """
    import sys
    from fallbacks.batch import Batch
    from fallbacks.tiers import FileTier
    tier = FileTier(sys.argv[1])
    mark = sys.argv[2].encode()
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[3])):
        lines = [b"%s-%05d-%s\\n" % (mark, n * 40 + k, mark * 150) for k in range(40)]
        tier.write(Batch(lines * 10))
"""


def start(path, mark, count):
    """Start a writer that waits for a line before it writes."""
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), mark, str(count)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert b"ready\n" == running.stdout.readline()
    return running


def test_living_siblings_are_not_taken_for_dead(tmp_path):
    """Busy writers of one file, each looking at the end the others leave, add no blank lines."""
    path = tmp_path / "app.log"
    running = [start(path, mark, 200) for mark in "abc"]
    for one in running:
        one.stdin.write(b"\n")
        one.stdin.flush()
    for one in running:
        one.communicate(timeout=30)

    lines = path.read_bytes().splitlines()
    assert 3 * 200 * 400 == len(lines)
    assert {6 + 1 + 1 + 150} == {len(line) for line in lines}


def test_siblings_killed_in_the_middle_cost_only_their_own_lines(tmp_path):
    """Writers killed at random moments: what is in the file of the living one is whole."""
    path = tmp_path / "app.log"
    ours = FileTier(path)
    for turn in range(8):
        victim = start(path, "v", 100_000)
        victim.stdin.write(b"\n")
        victim.stdin.flush()
        for n in range(20):
            ours.write(Batch([b"ours-%02d-%02d\n" % (turn, n)]))
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=10)
        ours.write(Batch([b"ours-%02d-20\n" % turn]))
    ours.close()

    mine = [line for line in path.read_bytes().splitlines() if b"ours" in line]
    assert [b"ours-%02d-%02d" % (turn, n) for turn in range(8) for n in range(21)] == mine


def test_four_processes_and_a_rotation_by_somebody_else(tmp_path):
    """
    Four processes write one file while it is moved away again and again, and moved files are
    removed so that their inodes come back: no line is torn, none is lost, none is there twice.
    """
    path = tmp_path / "app.log"
    source = """
        import sys, hydra
        hydra.configure(app="t", state_dir=sys.argv[2], destinations=[
            {"name": "app", "type": "file", "path": sys.argv[1]}])
        log = hydra.get_logger("shop")
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(2000):
            (log.error if n % 100 == 0 else log.info)("ordinary", n=n)
            if n % 50 == 0: hydra.flush(20.0)
        assert hydra.close(20.0).balanced
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source), str(path), str(tmp_path / f"s{each}")],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for each in range(4)
    ]  # fmt: skip
    lines, turns = [], 0
    for each in running:
        assert "ready\n" == each.stdout.readline()
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    moved = []
    while any(each.poll() is None for each in running):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > 50_000:
                turns += 1
                moved.append(path.with_name(f"moved.{turns}"))
                path.rename(moved[-1])
        # A file is read, and gone, once all have long let go of it.
        while len(moved) > 5:
            lines += moved[0].read_bytes().splitlines()
            moved.pop(0).unlink()
    assert [("", 0)] * 4 == [(each.communicate()[1], each.returncode) for each in running]
    for each in (*moved, path):
        lines += each.read_bytes().splitlines() if each.exists() else []
    found = records(lines)
    identities = [each["id"] for each in found]

    assert 5 < turns
    assert 8_000 == sum("n" in each for each in found)
    assert len(identities) == len(set(identities))
