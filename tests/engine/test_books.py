"""
The books of one destination, entry by entry.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration


def test_evicted_line_frees_its_places(world):
    """A long line takes several places in the queue, and leaves none behind when it makes room."""
    w = world(copies=1, hold=False)
    queue = w.service.queue
    line = b'{"level":"info","message":"%b","id":"run.1r-1"}\n' % (b"x" * 3 * queue.unit)
    queue.put(line, len(line))
    places = len(queue.entries)

    assert (4, True, 0) == (places, w.writer.evict(), len(queue.entries))
