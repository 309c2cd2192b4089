"""
A sink that raises whatever there is to raise, or answers nonsense.
"""

from __future__ import annotations

import pytest

import hydra
from hydra.queue import State
from tests.sinks._kit import ANSWERED, RAISED, Sink, held_files, numbers, of, records, until

pytestmark = pytest.mark.faults

KINDS = ("sync", "async")


def named(fault):
    """Return a name for a case."""
    return type(fault).__name__ if isinstance(fault, BaseException) else repr(fault)


def configured(sink, kind, path, **options):
    """Configure the bad sink beside a good file; return a logger."""
    hydra.configure(
        app="t",
        level="debug",
        destinations=[
            hydra.Destination(sink.as_kind(kind), name="bad", timeout=2.0, retries=0, **options),
            {"name": "good", "type": "file", "path": str(path)},
        ],
    )
    return hydra.get_logger("shop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [*RAISED, *ANSWERED], ids=named)
def test_broken_sink_costs_no_line_and_no_neighbour(fault, kind, tmp_path, call_style):
    """
    Whatever a sink raises or answers, the next tier has the batch, the receipt names it,
    the neighbour notices nothing, and after healing the sink has every line in order.
    """
    sink = Sink(fault)
    log = configured(sink, kind, tmp_path / "good.log")

    async def scenario(call):
        for n in range(5):
            await call(log.info("ordinary", n=n))
        return await call(log.error("grave", n=5))

    receipt = call_style.run(scenario)
    settlement = receipt.wait(10)

    assert settlement.settled
    assert (State.HELD, "fallback") == (settlement.fates["bad"].state, settlement.fates["bad"].tier)
    assert State.DELIVERED is settlement.fates["good"].state
    assert hydra.flush(5).balanced
    assert 6 == of("bad").held
    assert of("bad").tiers[0].opened >= 1
    assert 0 == of("bad").crashes

    sink.heal()
    hydra.flush(5)
    until(lambda: of("bad").delivered == 6, "the held lines are replayed")

    assert list(range(6)) == numbers(records(sink.lines))
    until(lambda: held_files() == [], "the held file is gone")
    assert (6, 6, 0) == (of("bad").accepted, of("bad").delivered, of("bad").dropped)
    assert ("closed", 0) == (of("bad").tiers[0].state, of("good").dropped)
    assert list(range(6)) == numbers(records((tmp_path / "good.log").read_bytes().splitlines()))


@pytest.mark.parametrize("kind", KINDS)
def test_lines_logged_during_a_replay_arrive_too(kind, tmp_path):
    """Lines that come in while held ones are replayed all arrive, each exactly once."""
    sink = Sink(ValueError("no"))
    log = configured(sink, kind, tmp_path / "good.log")
    for n in range(3000):
        log.info("before", n=n)
    hydra.flush(5)

    sink.heal()
    for n in range(3000, 6000):
        log.info("after", n=n)
    hydra.flush(5)
    until(lambda: of("bad").delivered == 6000, "everything is delivered")

    found = numbers(records(sink.lines))
    assert list(range(6000)) == sorted(found)
    assert list(range(3000)) == [n for n in found if n < 3000]


@pytest.mark.parametrize("kind", KINDS)
def test_sink_without_a_place_to_hold_falls_to_the_final_tier(kind, tmp_path):
    """With another sink as the only fallback the lines are delivered there, and nothing is held."""
    sink, second = Sink(SystemExit(1)), Sink(None)
    log = configured(sink, kind, tmp_path / "good.log", fallback=[{"sink": second.write}])
    receipt = log.error("grave", n=0)

    fate = receipt.wait(10).fates["bad"]

    assert (State.DELIVERED, "write") == (fate.state, fate.tier)
    assert [0] == numbers(records(second.lines))
    assert 0 == of("bad").held


def test_sink_that_takes_a_part_is_asked_for_the_rest(tmp_path):
    """A prefix that was taken is not sent again."""
    from fallbacks.outcomes import Delivered

    got = []

    def one_at_a_time(lines):
        got.append(lines[0])
        return Delivered(prefix=1)

    hydra.configure(
        app="t", destinations=[hydra.Destination(one_at_a_time, name="slow", retries=3)]
    )
    log = hydra.get_logger("shop")
    for n in range(20):
        log.info("ordinary", n=n)
    hydra.flush(5)

    until(lambda: of("slow").pending == 0, "everything is delivered")
    assert list(range(20)) == numbers(records(got))
