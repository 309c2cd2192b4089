"""
The herald, moment by moment: what is told of a queue that nobody looks at any more.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture(name="told")
def _told():
    return []


@pytest.fixture(name="full")
def _full(world, told):
    """Give a world whose queue is full, and has been found so."""
    hooks = {"on_pressure": lambda event: told.append((event.high, event.depth))}
    w = world(copies=1, hold=False, settings={"queue": {"records": 10}, "hooks": hooks})
    w.log(10)
    w.run.watchdog.watch(w.service)
    w.run.watchdog.look()
    return w


def test_end_of_pressure_is_told_by_the_last_look(full, told):
    """A queue that is empty, with its writer idle, at the next look is looked at once more."""
    full.run.herald.deliver()
    full.pump()
    for _ in range(2):
        full.run.watchdog.look()
        full.run.herald.deliver()

    assert [(True, 10), (False, 0)] == told


def test_end_of_pressure_is_told_at_the_close(full, told):
    """Whoever was told of a full queue is told that it has drained, also if that is the end."""
    full.run.herald.deliver()
    full.close()
    full.run.herald.deliver()

    assert [(True, 10), (False, 0)] == told


def test_pressure_lasts_until_low_water(full, told):
    """Between the two marks nothing is told: a queue that wavers does not ring all the time."""
    full.run.herald.deliver()
    queue = full.service.queue
    while len(queue.entries) > queue.low_water:
        full.run.watchdog.look()
        full.run.herald.deliver()
        told.append(len(queue.entries))
        queue.take(1)
        queue.taken.clear()
    full.run.watchdog.look()
    full.run.herald.deliver()

    assert [(True, 10), 10, 9, 8, 7, 6, (False, 5)] == told
