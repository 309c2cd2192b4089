from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import hydra
from fallbacks import Permanent
from fallbacks.testing import FaultyAsyncTier, FaultyTier
from fallbacks.tiers import MemoryTier
from hydra.testing import Nonconforming, check_sink, sink_cases

pytestmark = pytest.mark.integration

CASES = {case.name: case for case in sink_cases()}


class Collector:
    """A receiver that can fail, and the sinks that write to it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.down = False

    def set(self, _sink: object, *, down: bool) -> None:
        self.down = down

    def take(self, lines: list[bytes]) -> None:
        if self.down:
            raise ConnectionError("nobody there")
        self.lines += lines

    async def atake(self, lines: list[bytes]) -> None:
        await asyncio.sleep(0)
        self.take(lines)


@pytest.mark.parametrize("case", sink_cases(), ids=str)
@pytest.mark.parametrize("name", ["take", "atake"])
def test_callables_keep_each_rule(name: str, case: Any) -> None:
    """
    A plain and an async callable that raise when they fail are sinks.
    """
    collector = Collector()

    check_sink(
        lambda: getattr(collector, name),
        received=lambda _: collector.lines,
        fail=partial(collector.set, down=True),
        heal=partial(collector.set, down=False),
        cases=[case],
    )


@pytest.mark.parametrize("kind", [FaultyTier, FaultyAsyncTier])
def test_tiers_are_sinks(kind: Any) -> None:
    """
    A whole tier is tried as it is, on canonical lines.
    """
    verdict = check_sink(kind, received=lambda tier: tier.taken)

    assert {"every record", "order", "large line"} <= set(verdict.holds)


def _swallows(collector: Collector, lines: list[bytes]) -> None:
    try:
        collector.take(lines)
    except ConnectionError:
        return


def _drops_odd_ones(collector: Collector, lines: list[bytes]) -> object:
    if any("order_id" not in json.loads(line) and b'"n":' not in line for line in lines):
        return Permanent("not an order")
    return collector.take(lines)


def _needs_a_number(collector: Collector, lines: list[bytes]) -> object:
    for line in lines:
        _ = json.loads(line)["n"]
    return collector.take(lines)


def _returns_a_count(collector: Collector, lines: list[bytes]) -> object:
    collector.take(lines)
    return len(lines)


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        (_swallows, "failure"),
        (_drops_odd_ones, "every record"),
        (_needs_a_number, "every record"),
        (_returns_a_count, "answer"),
    ],
)
def test_bad_sink_is_told_which_rule_it_breaks(sink: Callable[..., object], name: str) -> None:
    """
    A sink that breaks a rule fails the check of that rule, with its sentence.
    """
    collector = Collector()
    with pytest.raises(Nonconforming) as caught:
        check_sink(
            lambda: partial(sink, collector),
            received=lambda _: collector.lines,
            fail=partial(collector.set, down=True),
            heal=partial(collector.set, down=False),
            cases=[CASES[name]],
        )

    assert f"{name}: {CASES[name].rule}\n    seen: " in str(caught.value)


def test_what_is_no_sink_is_told_so() -> None:
    """
    What hydra would not accept as a sink breaks the first rule, with hydra's own words.
    """
    with pytest.raises(Nonconforming, match=r"TypeError: a sink is a tier .*, not int"):
        check_sink(lambda: 7)


def test_large_record_may_be_refused_for_good() -> None:
    """
    A receiver with a limit says Permanent to what is over it, and takes everything else.
    """

    def datagram(lines: list[bytes]) -> object:
        return Permanent("too large") if any(len(line) > 8_192 for line in lines) else None

    check_sink(lambda: datagram, skip=["many lines"], cases=[CASES["every record"]])


def test_engine_is_left_alone() -> None:
    """
    A check configures nothing and logs nothing.
    """
    tier = MemoryTier()
    hydra.configure(destinations=[hydra.Destination(tier)], control_records=False)
    check_sink(lambda: MemoryTier(5000), received=lambda other: other.lines)

    assert 0 == hydra.flush().accepted
