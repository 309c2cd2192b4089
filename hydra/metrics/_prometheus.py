"""
The engine's own metrics in the text format of Prometheus, version 0.0.4.

Rule: one table says what is exported. HELP and TYPE stand once per family, the
samples of a family stand together, and label values are escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from ._stats import DestinationStats, Stats, TierStats

_DESTINATION: Final[tuple[tuple[str, str, str, Callable[[DestinationStats], float]], ...]] = (
    ("accepted_total", "counter", "Deliveries taken in.", lambda d: d.accepted),
    ("delivered_total", "counter", "Deliveries that a final tier took.", lambda d: d.delivered),
    ("replayed_total", "counter", "Deliveries that were held before.", lambda d: d.replayed),
    ("pending", "gauge", "Deliveries queued, parked, in flight or held.", lambda d: d.pending),
    ("held", "gauge", "Deliveries in files that wait for replay.", lambda d: d.held),
    ("repairing", "gauge", "Delivered records that a copy waits for.", lambda d: d.repairing),
    ("missed_total", "counter", "Delivered records that a copy lacks.", lambda d: d.missed),
    ("dead_letters_total", "counter", "Deliveries refused, kept aside.", lambda d: d.dead_letters),
    ("lost", "gauge", "Deliveries that no place accounts for.", lambda d: d.lost),
    ("queue_records", "gauge", "Records in the queue.", lambda d: d.queued),
    ("queue_bytes", "gauge", "Bytes in the queue.", lambda d: d.queued_bytes),
    ("queue_high_water", "gauge", "Most places ever taken at once.", lambda d: d.high_water),
    ("queue_parked", "gauge", "Lines parked in front of the queue.", lambda d: d.parked),
    ("spilled_total", "counter", "Records held for want of room.", lambda d: d.spilled),
    ("backpressure_seconds_total", "counter", "Time callers waited.", lambda d: d.blocked_seconds),
    ("writer_rescues_total", "counter", "Calls left at their deadline.", lambda d: d.rescues),
    ("writer_crashes_total", "counter", "Restarts of the writer.", lambda d: d.crashes),
)
_TIER: Final[tuple[tuple[str, str, str, Callable[[TierStats], float | None]], ...]] = (
    ("tier_delivered_total", "counter", "Records the tier took.", lambda t: t.delivered),
    ("tier_attempts_total", "counter", "Attempts on the tier.", lambda t: t.attempts),
    ("tier_failures_total", "counter", "Attempts that failed.", lambda t: t.failed),
    ("tier_opened_total", "counter", "Times the breaker opened.", lambda t: t.opened),
    ("tier_healthy", "gauge", "1 while the tier may be tried.", lambda t: t.state == "closed"),
    ("tier_failure_rate", "gauge", "Share that failed of late.", lambda t: t.failure_rate),
    ("tier_throughput", "gauge", "Records per second of writing.", lambda t: t.throughput),
    ("tier_score_seconds", "gauge", "What an attempt costs of late.", lambda t: t.score),
    ("tier_latency_p99_seconds", "gauge", "99 % of attempts took less.", lambda t: t.p99),
)


def render(stats: Stats) -> str:
    """Return *stats* as `text/plain; version=0.0.4`, every line ended by a newline."""
    return "".join(f"{line}\n" for line in _lines(stats))


def _lines(stats: Stats) -> Iterator[str]:
    for name, kind, said, read in _DESTINATION:
        yield from _head(name, kind, said)
        for found in stats.destinations.values():
            yield f'hydra_{name}{{destination="{_escape(found.name)}"}} {_number(read(found))}'
    yield from _head("dropped_total", "counter", "Deliveries dropped, by level and reason.")
    for (level, reason), count in sorted(stats.drops.items()):
        yield f'hydra_dropped_total{{level="{_escape(level)}",reason="{_escape(reason)}"}} {count}'
    yield from _head("suppressed_total", "counter", "Records that processors dropped.")
    yield f"hydra_suppressed_total {stats.suppressed}"
    for tier_name, kind, said, get in _TIER:
        yield from _head(tier_name, kind, said)
        for found in stats.destinations.values():
            for number, tier in enumerate(found.tiers):
                value = get(tier)
                if value is not None:
                    yield f"hydra_{tier_name}{{{_labels(found, number)}}} {_number(value)}"
    yield from _head("tier_latency_seconds", "histogram", "Time of attempts.")
    for found in stats.destinations.values():
        for number, tier in enumerate(found.tiers):
            yield from _histogram(_labels(found, number), tier)
    journal = stats.journal
    for journal_name, kind, said, count in (
        ("journal_bytes", "gauge", "Bytes reserved by the journal.", journal.bytes),
        ("journal_live", "gauge", "Records not yet settled everywhere.", journal.live),
        ("journal_failures_total", "counter", "Records it did not take.", journal.failed),
        ("journal_degraded_total", "counter", "Records spared it in a stall.", journal.degraded),
        ("journal_on", "gauge", "1 while there is a journal.", int(journal.state == "on")),
        ("hook_calls_total", "counter", "Calls of hooks.", stats.hooks.calls),
        ("hook_failures_total", "counter", "Calls of hooks that raised.", stats.hooks.failed),
        ("balanced", "gauge", "1 while the ledger balances.", int(stats.balanced)),
    ):
        yield from _head(journal_name, kind, said)
        yield f"hydra_{journal_name} {count}"


def _labels(found: DestinationStats, number: int) -> str:
    tier = _escape(found.tiers[number].name)
    return f'destination="{_escape(found.name)}",tier="{tier}",position="{number}"'


def _histogram(labels: str, tier: TierStats) -> Iterator[str]:
    name = "hydra_tier_latency_seconds"
    for bound, count in tier.latency:
        le = "+Inf" if bound == inf else repr(bound)
        yield f'{name}_bucket{{{labels},le="{le}"}} {count}'
    if tier.latency:
        # The count is that of the last bucket: both are of one reading then.
        yield f"{name}_sum{{{labels}}} {_number(tier.seconds)}"
        yield f"{name}_count{{{labels}}} {tier.latency[-1][1]}"


def _head(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP hydra_{name} {said}"
    yield f"# TYPE hydra_{name} {kind}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
