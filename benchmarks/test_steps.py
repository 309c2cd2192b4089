from __future__ import annotations

import pytest

from fallbacks import Batch, Chain
from fallbacks.tiers import MemoryTier
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.encoders import FORMATS
from hydra.queue import Fifo

from .conftest import FIELDS, NS

BATCH = 1_000


def test_merge(benchmark, encoder):
    """Bound and context fields that overlap with those of the call, the slow way to merge."""
    bound = encoder.fragment({"service": "api", "user": "nobody"})
    context = encoder.fragment({"request_id": "r-1", "ms": 0.0})
    benchmark(encoder.body, NS, level_tag(20), logger_tag("shop"), "placed", bound, context, FIELDS)


def test_join(benchmark, encoder):
    """The same with nothing that overlaps, where encoded fragments are joined."""
    bound = encoder.fragment({"service": "api", "version": "1.2.3"})
    context = encoder.fragment({"request_id": "r-1", "tenant": "t"})
    benchmark(encoder.body, NS, level_tag(20), logger_tag("shop"), "placed", bound, context, FIELDS)


@pytest.mark.parametrize("size", [0, 1_000, 10_000, 60_000])
def test_encode(benchmark, encoder, size):
    message = "order placed" + "x" * size
    benchmark(encoder.body, NS, level_tag(20), logger_tag("shop"), message, EMPTY, EMPTY, FIELDS)


def test_enqueue(benchmark, line):
    def put(fifo):
        for _ in range(BATCH):
            fifo.put(line, len(line))

    benchmark.pedantic(put, setup=lambda: ((_fifo(),), {}), rounds=200)


def test_drain(benchmark, line):
    def full():
        fifo = _fifo()
        for _ in range(BATCH):
            fifo.put(line, len(line))
        return (fifo,), {}

    benchmark.pedantic(lambda fifo: fifo.take(BATCH), setup=full, rounds=200)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_render(benchmark, line, name):
    benchmark(FORMATS[name], line)


def test_chain(benchmark, line):
    """A batch through a chain whose first tier takes it."""
    chain = Chain([MemoryTier(BATCH), MemoryTier(BATCH, name="spare")])
    chain.ticket.acquire()
    lines = [line] * BATCH

    def deliver():
        assert chain.run(chain.plan.begin(BATCH), Batch(lines), float)

    benchmark(deliver)


def _fifo():
    return Fifo(capacity=BATCH, reserve=0, size=BATCH * 1_000)
