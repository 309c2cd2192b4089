"""
The FIFO: places, padding, admission, parked lines and blocked callers, without an engine.
"""

from __future__ import annotations

import threading

import pytest

from hydra.queue import Barrier, Entry, Fate, Fifo, Parked, State
from hydra.queue._fifo import PARKED_BYTES, PARKED_LINES

pytestmark = pytest.mark.unit


def entry(n: int = 1, size: int = 10, destinations: int = 1) -> Entry:
    """Return an entry with a line of *size* bytes."""
    return Entry(b"x" * size, b"run.1r-%d" % n, "1r", n, "info", destinations)


@pytest.mark.parametrize(
    ("size", "places"), [(1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (201, 3), (1000, 10)]
)
def test_places_of_a_line(size, places):
    """A place stands for its share of the bytes; a longer line takes more of them."""
    queue = Fifo(10, 2, 1000)
    queue.put(b"x" * size, size)

    assert places == len(queue.entries)
    assert (1, size) == (queue.depth, queue.size)
    assert places - 1 == queue.padding(size)


def test_take():
    """What is taken comes in order; the high-water mark knows what was there."""
    queue = Fifo(10, 2, 1000)
    for n in range(5):
        queue.put(b"%d" % n, 1)
    first = queue.take(3)
    rest = queue.take(100)

    assert ([b"0", b"1", b"2"], [b"3", b"4"]) == (first, rest)
    assert [] == queue.take(100)
    assert 5 == queue.high_water


def test_the_door_stays_closed_in_front_of_parked_lines():
    """Whoever looks for room does not open the queue to later lines while some are parked."""
    queue = Fifo(10, 2, 1000)
    queue.parked.append(Parked(entry()))
    queue.limit = 0
    queue.relax()

    assert 0 == queue.limit
    queue.admit()
    assert (10, 1) == (queue.limit, queue.depth)


def test_reserve():
    """ERROR and above have places beyond those of ordinary records."""
    assert (10, 12) == (Fifo(10, 2, 1000).limit, Fifo(10, 2, 1000).ceiling)


def test_put_back():
    """What is put back is in front again, in its order."""
    queue = Fifo(10, 2, 1000)
    for n in range(5):
        queue.put(b"%d" % n, 1)
    queue.put_back(queue.take(3))

    assert [b"0", b"1", b"2", b"3", b"4"] == queue.take(9)


def test_restore():
    """What was taken and became no job goes back, once."""
    queue = Fifo(10, 2, 1000)
    for n in range(5):
        queue.put(b"%d" % n, 1)
    queue.take(2)
    queue.restore()
    queue.restore()

    assert [b"0", b"1", b"2", b"3", b"4"] == queue.take(9)


def test_depth_counts_records_only():
    """Barriers and padding are no records."""
    queue = Fifo(10, 2, 100)
    queue.put(b"x" * 35, 35)
    queue.put(entry(size=5), 5)
    queue.entries.append(Barrier(lambda: None))

    assert (2, 40, 6) == (queue.depth, queue.size, len(queue.entries))


def test_admission_of_parked_lines():
    """Room is given to parked lines first, in order; the door stays closed while some wait."""
    queue = Fifo(2, 1, 1000)
    parked = [Parked(entry(n)) for n in range(3)]
    queue.parked.extend(parked)
    queue.limit = 0
    parked[1].claim()
    queue.admit()

    assert [0, 2] == [each.number for each in queue.entries]
    assert (0, 2) == (queue.waiting, queue.limit)


def test_door_stays_closed_while_lines_are_parked():
    """With the queue full again, those still parked keep ordinary lines out."""
    queue = Fifo(2, 1, 1000)
    queue.parked.extend(Parked(entry(n)) for n in range(5))
    queue.admit()

    assert ([0, 1], 3, 0) == ([each.number for each in queue.entries], queue.waiting, queue.limit)


def test_parked_line_is_claimed_once():
    """Exactly one of writer and receipt gets it."""
    parked = Parked(entry())
    claims = [parked.claim(), parked.claim()]
    other = Parked(entry())
    taken = list(zip(other.claims(), [1], strict=False))

    assert [True, False] == claims
    assert [(True, 1)] == taken
    assert not parked.waiting
    assert not other.waiting
    with pytest.raises(IndexError):
        next(other.claims())


def test_bounds_of_the_park():
    """So many lines or bytes at most; those let go of at the front do not count."""
    queue = Fifo(2, 1, 1000)
    queue.parked.extend(Parked(entry(n)) for n in range(PARKED_LINES))
    assert not queue.can_park(1)
    queue.parked[1].claim()
    assert not queue.can_park(1)
    queue.parked[0].claim()

    assert queue.can_park(1)
    assert PARKED_LINES - 2 == len(queue.parked)
    assert not queue.can_park(PARKED_BYTES)


def test_refusing_until_low_water():
    """After a full timeout ordinary lines are refused until half of the queue is free."""
    queue = Fifo(4, 1, 1000)
    for _ in range(4):
        queue.put(b"x", 1)
    queue.refuse()
    limits = []
    for _ in range(3):
        queue.relax()
        limits.append(queue.limit)
        queue.take(1)

    assert [0, 0, 4] == limits
    assert not queue.refusing


def test_waiting_for_room():
    """A blocked caller is told when the writer has made room, or gives up."""
    queue = Fifo(1, 1, 1000)
    queue.put(b"x", 1)
    assert not queue.wait(0.001)
    told = []
    thread = threading.Thread(target=lambda: told.append(queue.wait(20)))
    thread.start()
    while len(queue._waiters) < 2:
        pass
    queue.take(1)
    queue.admit()
    thread.join()

    assert [True] == told
    assert queue.wait(0)


def test_seconds_blocked():
    """Threads' sums add up."""
    queue = Fifo(1, 1, 1000)
    queue.blocked(1, 0.5)
    queue.blocked(1, 0.25)
    queue.blocked(2, 1.0)

    assert 1.75 == queue.blocked_seconds


def test_fates_of_an_entry():
    """It is settled by the last destination, once, and wakes everyone who waits."""
    record, woken = entry(destinations=2), []
    record.notify(lambda: woken.append("early"))
    assert not record.settle("a", Fate(State.DELIVERED, "file"))
    assert [] == woken
    assert record.settle("b", Fate(State.DROPPED, None, "closed"))
    record.notify(lambda: woken.append("late"))

    assert record.settled
    assert ["early", "late"] == woken


def test_long_line_in_a_small_queue():
    """A line of more places than the queue has is one record all the same."""
    queue = Fifo(4, 1, 40)
    queue.put(b"x" * 1000, 1000)

    assert (1, 100) == (queue.depth, len(queue.entries))
    assert [b"x" * 1000] == [item for item in queue.take(1000) if item is not None]
