"""
The held store in a long outage: flat memory, a quota with a reserve, gaps that are bounded.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks.held import HeldStore
from fallbacks.held._segment import Segment
from fallbacks.held._spans import Spans
from fallbacks.outcomes import DELIVERED, Full, Partial, Permanent
from fallbacks.system import SYSTEM, System
from fallbacks.testing.faulty_filesystem import FaultyFilesystem

pytestmark = pytest.mark.unit

PREFIX = "/state/shop.app"


def line(n: int, stream: str = "1r", run: str = "runa") -> bytes:
    """Return a canonical line; all of one stream and length of number are equally long."""
    return b'{"timestamp":"2026-11-21T01:44:00.000000Z","id":"%b.%b-%d"}\n' % (
        run.encode(),
        stream.encode(),
        n,
    )


def identify(data: bytes) -> bytes | None:
    """Return the id of a whole line."""
    at = data.rfind(b',"id":"')
    return data[at + 7 : -3] if at >= 0 and data.endswith(b'"}\n') else None


def store(
    system: System, *, prefix: str = PREFIX, run: str = "runa", quota: int = 64 << 20,
    reserve: int = 0, segment_bytes: int | None = None,
) -> HeldStore:  # fmt: skip
    """Return a store whose guaranteed lines are those of the stream 1g."""
    return HeldStore(
        prefix,
        app="shop",
        destination="app",
        run=run,
        quota=quota,
        reserve=reserve,
        segment_bytes=segment_bytes,
        identify=identify,
        weigh=lambda _: 1,
        guaranteed=lambda data: b".1g-" in data,
        system=system,
    )


def drain(held: HeldStore, limit: int = 1000) -> list[bytes]:
    """Replay everything and return it."""
    found: list[bytes] = []
    while (chunk := held.lines(limit, 1 << 20)) is not None:
        found += chunk.lines
        held.acknowledge(chunk)
    return found


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return a healthy file system."""
    return FaultyFilesystem()


# Memory.


def test_memory_does_not_grow_with_what_is_held(tmp_path: Path) -> None:
    """A hundred thousand held lines cost some kilobytes, in four streams that alternate."""
    held = store(SYSTEM, prefix=str(tmp_path / "held"))
    lanes = ("1r", "1g", "2r", "3c")
    held.write([line(1, lane) for lane in lanes])
    gc.collect()
    tracemalloc.start()
    try:
        for start in range(2, 25_001, 500):
            held.write([line(n, lane) for n in range(start, start + 500) for lane in lanes])
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert 100_004 == held.held
    assert grown < 100_000
    assert 100_004 == len(drain(held))


def test_adopted_lines_cost_no_more_memory(tmp_path: Path) -> None:
    """What a dead process left is known by intervals, too."""
    old = store(SYSTEM, prefix=str(tmp_path / "held"))
    for start in range(1, 50_001, 2_000):
        old.write([line(n) for n in range(start, start + 2_000)])
    old.close()
    held = store(SYSTEM, prefix=str(tmp_path / "held"), run="runb")
    gc.collect()
    tracemalloc.start()
    try:
        count = held.adopt()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    held.close()

    assert 50_000 == count
    assert grown < 100_000


def test_gaps_are_bounded(fs: FaultyFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids with too many gaps are refused as at the quota: ordinary lines at half of the bound."""
    monkeypatch.setattr("fallbacks.held._quota.PIECES", 8)
    held = store(fs)
    ordinary = [held.write([line(n)]) for n in range(2, 22, 2)]
    guaranteed = [held.write([line(n, "1g")]) for n in range(2, 22, 2)]

    assert [True] * 4 + [False] * 6 == [outcome is DELIVERED for outcome in ordinary]
    assert [True] * 4 + [False] * 6 == [outcome is DELIVERED for outcome in guaranteed]
    assert isinstance(ordinary[-1], Full)
    assert "gaps" in str(ordinary[-1].error)

    drain(held)

    assert held.write([line(50)]) is DELIVERED


@pytest.mark.parametrize("key", ["plain", "x-", "x-07", "x-0", "x-7a", "x-" + "9" * 19, "-7"])
def test_any_id_is_held_once(fs: FaultyFilesystem, key: str) -> None:
    """An id that ends in no plain number is kept as it is; 7 and 07 are two ids."""
    held = store(fs)
    lines = [
        b'{"timestamp":"x","id":"%b"}\n' % name.encode() for name in (key, "x-7", key, "y", key)
    ]
    once = [lines[0], lines[1], lines[3]]
    held.write(lines)
    held.write(lines)
    pieces = held._index.pieces

    assert (3, 3) == (held.held, pieces)
    assert once == drain(held)
    assert 0 == held._index.pieces


numbers = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 2)), max_size=60)


@given(numbers)
@settings(max_examples=300, deadline=None)
def test_intervals_know_what_a_table_would_know(steps: list[tuple[bool, int, int]]) -> None:
    """Whatever is added and removed, in any order: the same answers as one entry per number."""
    owners = [Segment(SYSTEM, str(at), 0, "r", None, 0) for at in range(2)]
    spans, table = Spans(), dict[int, Segment]()
    for adds, number, which in steps:
        if which == 2:
            spans.forget(owners[0])
            table = {key: at for key, at in table.items() if at is not owners[0]}
        elif adds and number not in table:
            spans.add(number, owners[which])
            table[number] = owners[which]
        elif not adds:
            spans.remove(number)
            table.pop(number, None)

        assert [table.get(n) for n in range(-1, 14)] == [spans.find(n) for n in range(-1, 14)]
        assert len(spans) <= len(table)


def test_numbers_in_a_row_are_one_interval() -> None:
    """Upwards, downwards, and given back from the front: one interval, and none in the end."""
    owner = Segment(SYSTEM, "a", 0, "r", None, 0)
    spans = Spans()
    for number in (*range(50, 100), *range(49, 0, -1)):
        spans.add(number, owner)
    whole = len(spans)
    for number in range(1, 99):
        spans.remove(number)

    assert (1, 1, owner, None) == (whole, len(spans), spans.find(99), spans.find(98))

    spans.remove(99)

    assert 0 == len(spans)


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_two_copies_in_one_file_come_once(fs: FaultyFilesystem, limit: int) -> None:
    """Of a line that stands twice in the file of a dead process one copy is replayed."""
    store(fs.process(200), run="runb").write([line(1), line(2)])
    fs.kill(200)
    [path] = fs.files()
    fs.put(path, fs.read(path) + line(1) + line(3) + line(2))
    held = store(fs)

    assert 3 == held.adopt()
    assert [line(1), line(2), line(3)] == drain(held, limit)
    assert [] == fs.files()


# The quota.


def test_reserve_is_for_guaranteed_lines(fs: FaultyFilesystem) -> None:
    """Ordinary lines are refused from the reserve on, guaranteed ones at the quota."""
    held = store(fs, quota=10_000, reserve=4_000)
    ordinary = [line(n) for n in range(1000, 1200)]
    grave = [line(n, "1g") for n in range(1000, 1200)]
    first = held.write(ordinary)
    at_reserve = held.statistics().bytes
    second = held.write(grave)

    assert isinstance(first, Partial)
    assert isinstance(second, Partial)
    assert (Full, Full) == (type(first.rest), type(second.rest))
    # The header of the file comes on top.
    assert 6_000 - len(line(1000)) < at_reserve < 6_000 + 200
    assert 10_000 - len(line(1000)) - 1 <= held.statistics().bytes < 10_000
    assert [*ordinary[: len(first.indices)], *grave[: len(second.indices)]] == drain(held)


def test_mixed_batch_takes_the_guaranteed_lines(fs: FaultyFilesystem) -> None:
    """Of a batch beyond the reserve the guaranteed lines are taken, wherever they stand in it."""
    held = store(fs, quota=10_000, reserve=4_000)
    held.write([line(n) for n in range(1000, 1200)])
    mixed = [line(5000), line(1, "1g"), line(5001), line(2, "1g"), b"alien\n"]
    outcome = held.write(mixed)

    assert isinstance(outcome, Partial)
    assert ([1, 3], Full) == (list(outcome.indices), type(outcome.rest))


def test_refused_lines_are_one_range(fs: FaultyFilesystem) -> None:
    """Behind the first ordinary line that does not fit no shorter one is taken."""
    held = store(fs, quota=1000)
    held.write([line(1000)])
    room = 1000 - held.statistics().bytes - 1
    wide = b'{"timestamp":"%b","id":"runa.1r-2"}\n' % (b"x" * room)
    outcome = held.write([wide, line(3), line(4)])

    assert isinstance(outcome, Full)


def test_room_comes_back_with_a_finished_file(fs: FaultyFilesystem) -> None:
    """A file is removed when its last line is acknowledged, and its space can be used again."""
    held = store(fs, quota=4_000, segment_bytes=1_000)
    held.write([line(n) for n in range(1000, 1010)])
    held.write([line(n) for n in range(1010, 1100)])
    full = held.write([line(2000)])
    files = len(fs.files())
    while len(fs.files()) == files:
        chunk = held.lines(4, 1 << 20)
        assert chunk is not None
        held.acknowledge(chunk)

    assert isinstance(full, Full)
    assert held.write([line(2000)]) is DELIVERED


def test_line_without_id_is_refused_beside_what_is_full(fs: FaultyFilesystem) -> None:
    """A line that will never be taken is told so when nothing else stopped the batch."""
    held = store(fs, quota=10_000)
    outcome = held.write([line(1), b"alien\n"])

    assert isinstance(outcome, Partial)
    assert isinstance(outcome.rest, Permanent)


@pytest.mark.parametrize("reserve", [-1, 10_001])
def test_reserve_within_the_quota(fs: FaultyFilesystem, reserve: int) -> None:
    """A reserve that is no part of the quota is a mistake."""
    with pytest.raises(ValueError, match="reserve must be 0 to 10000"):
        store(fs, quota=10_000, reserve=reserve)


@pytest.mark.parametrize(
    ("quota", "files"), [(64 << 10, 1), (1 << 20, 13), (2 << 20, 15), (8 << 20, 16)]
)
def test_files_grow_with_the_quota(fs: FaultyFilesystem, quota: int, files: int) -> None:
    """However large the quota, it needs few descriptors."""
    held = store(fs, quota=quota)
    wide = b"x" * 16_000
    for n in range(quota // 16_000 + 2):
        held.write([b'{"timestamp":"%b","id":"runa.1r-%d"}\n' % (wide, n + 1)])

    assert files == len(fs.files())


def test_random_lines_come_back_in_order(fs: FaultyFilesystem) -> None:
    """Whatever is refused on the way: each stream comes back in order, and nothing twice."""
    chance = random.Random(7)
    held = store(fs, quota=40_000, reserve=10_000, segment_bytes=3_000)
    last = {"1r": 0, "1g": 0}
    accepted: list[bytes] = []
    back: list[bytes] = []
    for _ in range(300):
        lines = []
        for _ in range(chance.randrange(1, 20)):
            lane = "1g" if chance.random() < 0.2 else "1r"
            last[lane] += 1
            lines.append(line(last[lane], lane))
        outcome = held.write(lines)
        indices = outcome.indices if isinstance(outcome, Partial) else range(len(lines))
        accepted += [] if isinstance(outcome, Full) else [lines[at] for at in indices]
        if chance.random() < 0.3 and (chunk := held.lines(50, 1 << 20)) is not None:
            back += chunk.lines
            held.acknowledge(chunk)
    back += drain(held)

    assert accepted == back
    assert (0, []) == (held._index.pieces, fs.files())
