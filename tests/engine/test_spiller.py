"""
The spiller at work: what is counted meanwhile, and who waits for it.
"""

from __future__ import annotations

import pytest

from fallbacks import Retryable
from hydra.queue import Barrier

pytestmark = pytest.mark.integration


@pytest.fixture(name="spilled")
def _spilled(world):
    """Give a world with four records in the queue and three that found no place there."""
    queue = {"records": 4, "reserve": 1, "when_full": "spill"}
    w = world(copies=1, settings={"queue": queue})
    w.log(7)
    w.meanwhile = lambda: None
    real = w.writer.store.write

    def write(batch):
        w.meanwhile()
        return real(batch)

    w.writer.store.write = write
    return w


def test_what_is_spilled_is_pending(spilled):
    """Before, while and after they are written to the store, spilled records are in the books."""
    seen = []

    def look():
        found = spilled.stats
        seen.append((found.accepted, found.pending, found.held, found.lost))

    look()
    spilled.meanwhile = look
    spilled.writer.spiller.work()
    look()

    assert [(7, 7, 0, 0), (7, 7, 0, 0), (7, 7, 3, 0)] == seen


def test_flush_waits_for_what_is_being_spilled(spilled):
    """A barrier that the writer passes while lines are on their way to the store waits for them."""
    seen = []

    def flush():
        spilled.meanwhile = lambda: None
        spilled.writer.barrier(Barrier(lambda: seen.append(spilled.stats.held)))
        # The writer alone: the spiller is in the middle of its work.
        with spilled.service._ticket():
            spilled.service._drain(spilled.service.chain.sync_tiers, patient=False, replay=False)
        seen.append("the writer has passed it")

    spilled.meanwhile = flush
    spilled.writer.spiller.work()

    assert [0, 1, 2, 3] == spilled.got(0)
    assert ["the writer has passed it", 3] == seen


def test_flush_with_nothing_on_its_way(spilled):
    """A barrier fires at once where the spiller is at rest."""
    seen = []
    spilled.pump(2)
    spilled.writer.barrier(Barrier(lambda: seen.append(spilled.stats.pending)))
    spilled.pump()

    assert [0] == seen


def test_what_the_store_refuses_is_taken_back_in_order(spilled):
    """Lines that do not get into the store follow those in the queue, as they were logged."""
    spilled.writer.store.write = lambda _: Retryable("full")
    spilled.pump()

    assert list(range(7)) == spilled.got(0)


def test_flush_behind_a_spill(spilled):
    """A barrier that stands in the spill fires once all that was logged before it is safe."""
    seen = []
    spilled.writer.barrier(Barrier(lambda: seen.append(spilled.stats.held)))
    spilled.pump(seconds=0.0)

    assert [0, 1, 2, 3] == spilled.got(0)[:4]
    assert [3] == seen
