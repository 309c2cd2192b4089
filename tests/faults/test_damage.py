"""
What is left on the disk is damaged: a start takes over what is whole, and trips over nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from fallbacks.journal import frames
from tests.faults._start import be_started
from tests.faults.programs import World, parsed

pytestmark = pytest.mark.faults

LEFT = """
from hydra.engine import ENGINE
for n in range(12): (log.error if n % 3 == 0 else log.info)(f"held {n}")
assert hydra.flush().held == 12
ENGINE.current().services["app"].chain.ticket.acquire()
for n in range(12): log.error(f"journaled {n}")
os._exit(1)
"""


@pytest.fixture(scope="module")
def estate(tmp_path_factory):
    """What a process leaves whose file could not be written: held lines, and a journal."""
    world = World(tmp_path_factory.mktemp("estate"))
    world.path.mkdir()
    ended = world.run(LEFT)
    assert (1, "") == (ended.status, ended.stderr)
    found = {
        path.relative_to(world.state): path.read_bytes().rstrip(b"\0")
        for path in world.state.rglob("*")
        if path.is_file()
    }
    assert {".held", ".j"} == {path.suffix for path in found}
    return found


def _whole(estate):
    """Return, for each record's message, the bytes that carry it, and how its file begins."""
    carriers = {}
    for path, data in estate.items():
        if path.suffix == ".held":
            head, *lines = data.splitlines(keepends=True)
            # With the newline before it: what is glued to something else is not whole.
            carriers |= {
                each["message"]: (head, b"\n" + line) for line in lines for each in parsed([line])
            }
            continue
        header, *others = frames.parse(data)
        for frame in others:
            if frame.kind is frames.FrameKind.RECORD:
                _, line = frames.decode_record(frame.payload)
                (record,) = parsed([line])
                ends = (data[: header.end], data[frame.start : frame.end])
                carriers.setdefault(record["message"], ends)
    return carriers


def _is_robbed(carrier, before):
    """Return whether a flipped bit gave another line the id of *carrier*: one of them counts."""
    line = carrier.strip(b"\n")
    tag = line[line.rfind(b',"id":') :]
    return any(each.endswith(tag) and each != line for each in before.split(b"\n"))


def _cut(data, dice):
    return data[: dice.randrange(len(data))]


def _flip(data, dice):
    damaged = bytearray(data)
    for _ in range(dice.choice((1, 1, 5, 50))):
        damaged[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _zero(data, dice):
    start = dice.randrange(len(data))
    size = min(dice.choice((1, 100, 4096)), len(data) - start)
    return data[:start] + bytes(size) + data[start + size :]


def _append(data, dice):
    return data + dice.randbytes(dice.choice((1, 100, 10_000)))


def _insert(data, dice):
    at = dice.randrange(len(data))
    return data[:at] + dice.randbytes(dice.choice((1, 10, 1000))) + data[at:]


def _remove(data, dice):
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.choice((1, 10, 1000)) :]


def _repeat(data, dice):
    at = dice.randrange(len(data))
    return data + data[at : at + dice.choice((10, 1000))]


def _empty(data, dice):
    return b""


DAMAGES = (_cut, _flip, _zero, _append, _insert, _remove, _repeat, _empty)


@pytest.fixture
def quick(tmp_path):
    """Give a directory where forcing to the disk takes no time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.mark.timeout(900)
def test_files_damaged_in_every_way(estate, quick, long):
    """
    However journal and held files are damaged, the next start ends well, and each record whose
    own bytes are whole is in the log once, or still on the disk for somebody to look at.
    """
    carriers = _whole(estate)
    assert {f"{word} {n}" for word in ("held", "journaled") for n in range(12)} == set(carriers)
    for seed in range(10_000 if long else 200):
        dice = random.Random(seed)
        damaged = dict(estate)
        for path in dice.sample(sorted(estate), dice.choice((1, 1, 2))):
            damaged[path] = dice.choice(DAMAGES)(estate[path], dice)
        if dice.random() < 0.05:
            del damaged[dice.choice(sorted(damaged))]
        world = World(quick / "world")
        for path, data in damaged.items():
            (world.state / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (world.state / path).write_bytes(data)
            (world.state / path).chmod(0o600)
        be_started(world)
        log = world.path.read_bytes() if world.path.exists() else b""
        lines = log.splitlines()
        # Held lines have no checksum: what was damaged may be the name of a field.
        named = [each for each in parsed(lines) if {"id", "message"} <= each.keys()]
        messages = [each["message"] for each in named]
        kept = b"".join(p.read_bytes() for p in world.state.rglob("*") if p.is_file())
        # Nothing that would make a line whole whose newline is cut off.
        before = b"\0".join(damaged.values())

        # By both: a flipped bit makes one message another's, or one id.
        twice = Counter((each["id"], each["message"]) for each in named)
        assert [] == [each for each, count in twice.items() if count > 1], seed
        # Nothing is made up: what is not one of the records was on the disk as it is.
        assert not [line for line in lines if line not in before and b"hydra.ledger" not in line]
        for message, (head, carrier) in carriers.items():
            if carrier in before and not _is_robbed(carrier, before):
                assert message in messages or carrier in kept, (seed, message)
                if head in before:
                    assert message in messages, (seed, message)
        shutil.rmtree(world.directory)


GARBAGE = """
import resource
hydra.flush(timeout=60)
hydra.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.timeout(300)
def test_segment_of_any_size(estate, tmp_path, long):
    """
    A segment that grew by hundreds of megabytes of garbage costs the next start no memory of that
    size, and its whole records are delivered.
    """
    used = {}
    for size in (0, (1 << 28) if long else (1 << 26)):
        directory = tmp_path / str(size)
        directory.mkdir()
        world = World(directory)
        for path, data in estate.items():
            (world.state / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(world.state / path, "wb", opener=_private) as file:
                file.write(data)
                if size:
                    file.write(random.Random(1).randbytes(1 << 20))
                    # The larger part is zeros, as in a file that was extended.
                    file.truncate(size)
        ended = world.run(GARBAGE)

        assert (0, "") == (ended.status, ended.stderr)
        assert 24 == len(set(world.messages()))
        assert [] == world.twice()
        used[size] = int(ended.stdout)

    assert 64 << 20 > max(used.values()) - min(used.values())


def _private(path, flags):
    return os.open(path, flags, 0o600)
