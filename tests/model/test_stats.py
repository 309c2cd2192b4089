"""
`Stats` and the metrics text: two tellings of one ledger, whatever the strategy.

The same small world as the machine's, with one process that nobody kills, and with the
oracle's own count of what was logged, of what the sinks and files have, and of what
was kept aside.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final, get_args

import pytest

from hydra.config._settings import Strategy
from hydra.engine._reading import read
from hydra.metrics import Stats, render
from tests.metrics.test_prometheus import Family, parse
from tests.model import test_machine as machine
from tests.model.test_machine import no_waiting
from tests.model.world import NAMES, Process, World

pytestmark = pytest.mark.faults

__all__ = ["no_waiting"]

TOLD: Final = {
    "accepted_total": "accepted",
    "delivered_total": "delivered",
    "replayed_total": "replayed",
    "pending": "pending",
    "held": "held",
    "repairing": "repairing",
    "missed_total": "missed",
    "dead_letters_total": "dead_letters",
    "lost": "lost",
    "queue_records": "queued",
    "queue_bytes": "queued_bytes",
    "queue_high_water": "high_water",
    "queue_parked": "parked",
    "spilled_total": "spilled",
    "writer_rescues_total": "rescues",
}
"""What the text says of a destination, and where `Stats` says it."""
TIERS: Final = {
    "tier_delivered_total": "delivered",
    "tier_attempts_total": "attempts",
    "tier_failures_total": "failed",
    "tier_opened_total": "opened",
}
HISTORIES: Final = 14
SUMS: Final = ("accepted", "delivered", "pending", "dropped", "held", "replayed")


def _suppress(world: World, process: Process) -> None:
    next(process.run.suppressed)


OPERATIONS: Final = [
    machine._log, machine._log_poison, machine._log_tracked, machine._log_on_loop,
    machine._burst, machine._let_go, machine._pump, machine._pump_all, machine._flush,
    machine._tend, machine._advance, machine._fail, machine._limit, machine._heal,
    machine._trouble, machine._heal_sinks, machine._hang, machine._rotate, _suppress,
]  # fmt: skip
BARRIERS: Final = {machine._pump_all, machine._flush}


def by(found: Family, label: str) -> dict[str, float]:
    """Return the samples of a family by one of their labels."""
    return {dict(labels)[label]: value for labels, value in found.samples.items()}


def compare_text(stats: Stats) -> None:
    """Compare the metrics text with *stats*, figure by figure."""
    text = parse(render(stats))
    drops = {
        (dict(labels)["level"], dict(labels)["reason"]): value
        for labels, value in text["hydra_dropped_total"].samples.items()
    }

    for name, field in TOLD.items():
        assert by(text[f"hydra_{name}"], "destination") == {
            each.name: getattr(each, field) for each in stats.destinations.values()
        }, name
    for name, field in TIERS.items():
        assert {
            (dict(labels)["destination"], int(dict(labels)["position"])): value
            for labels, value in text[f"hydra_{name}"].samples.items()
        } == {
            (each.name, position): getattr(tier, field)
            for each in stats.destinations.values()
            for position, tier in enumerate(each.tiers)
        }, name
    assert drops == stats.drops
    assert {(): stats.suppressed} == text["hydra_suppressed_total"].samples
    assert {(): int(stats.balanced)} == text["hydra_balanced"].samples
    assert {(): stats.journal.live} == text["hydra_journal_live"].samples


def compare(world: World, process: Process) -> Stats:
    """Compare `Stats` with itself, with the text, and with what the oracle counts."""
    stats = read([process.run])
    each = stats.destinations
    wanted = Counter(name for issued in world.issued.values() for name in issued.destinations)

    assert stats.balanced
    assert stats.accepted == stats.delivered + stats.dropped + stats.pending
    for field in SUMS:
        assert getattr(stats, field) == sum(getattr(found, field) for found in each.values())
    assert stats.dropped == sum(stats.drops.values())
    for name in NAMES:
        found = set(world.delivered(name))
        if name == "app":
            found |= {*world.delivered("two"), *world.delivered("last")}
        # A late write into the held store is one delivery more, until it meets its original.
        copies = process.run.services[name].writer.adopted
        assert wanted[name] + copies == each[name].accepted
        assert each[name].delivered <= len(found) <= wanted[name]
        assert each[name].held + each[name].queued <= each[name].pending
        assert each[name].replayed <= each[name].delivered
    assert each["net"].dead_letters == len(world.dead_letters())
    compare_text(stats)
    return stats


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_stats_and_text_agree(strategy: str) -> None:
    """
    At every quiet barrier the ledger balances, and both tellings have its figures.
    """
    for seed in range(HISTORIES):
        _history(strategy, seed)


def _history(strategy: str, seed: int) -> None:
    random = Random(seed)
    steps = random.choices(OPERATIONS, k=random.randint(10, 40))
    world = World(seed, strict=True, strategy=strategy)
    process = world.processes[0]
    for operate in steps:
        operate(world, process)
        world.check(process)
        if operate in BARRIERS:
            compare(world, process)
    world.heal()
    world.heal_sinks()
    process.receipts.clear()
    world._drain_all(process)
    stats = compare(world, process)

    assert (0, 0) == (stats.pending, stats.held)
    assert strategy == stats.destinations["app"].strategy
    world.close(process)
