"""
Reading the engine: from runs to `Stats`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ..metrics import DestinationStats, HookStats, JournalStats, Stats, TierStats
from ._rejecting import DEAD_LETTER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from msgspec import Struct

    from fallbacks.chain import Chain

    from ._run import Run
    from ._service import Service


# What the whole has as much of as its parts together.
_FIGURES: Final = ("accepted", "delivered", "pending", "dropped", "held", "replayed")
_JOURNAL: Final = (
    "segments", "bytes", "quota", "live", "failed", "degraded", "poisoned", "adoptions_failed",
    "adoptions_refused",
)  # fmt: skip
_HOOKS: Final = ("calls", "failed", "coalesced")


def _sums(parts: Collection[Struct], names: Iterable[str]) -> dict[str, int]:
    return {name: sum(getattr(part, name) for part in parts) for name in names}


def read(runs: Iterable[Run]) -> Stats:
    """Return the stats of *runs* together; of destinations of one name the last is shown."""
    shown, suppressed = Stats(), 0
    drops: Counter[tuple[str, str]] = Counter()
    found: list[DestinationStats] = []
    for run in runs:
        suppressed += int(repr(run.suppressed)[6:-1])
        shown = Stats(
            journal=_journal(run),
            hooks=HookStats() if run.herald is None else run.herald.stats,
            live=run.live_state if run.publisher is None else run.publisher.state,
        )
        for service in run.services.values():
            found.append(_destination(service))
            drops.update(service.writer.drops.counts())
    return replace(
        shown,
        **_sums(found, _FIGURES),
        suppressed=suppressed,
        balanced=not any(each.lost for each in found),
        drops=dict(drops),
        destinations={each.name: each for each in found},
    )


def together(parts: Iterable[tuple[str, Stats]]) -> Stats:
    """
    Return the stats of several scopes as those of one engine.

    Args:
        parts: The name of each scope, empty for the engine's own, and its stats.
            Its destinations are called `name/destination`, and `name-2/destination`
            where another scope has the name. The last one's journal is shown, with
            the figures of all.
    """
    found = list(parts)
    destinations: dict[str, DestinationStats] = {}
    drops: Counter[tuple[str, str]] = Counter()
    taken: Counter[str] = Counter()
    for scope, stats in found:
        taken[scope] += 1
        label = scope if taken[scope] == 1 else f"{scope}-{taken[scope]}"
        drops.update(stats.drops)
        for name, each in stats.destinations.items():
            full = f"{label}/{name}" if scope else name
            destinations[full] = replace(each, name=full)
    every = [stats for _, stats in found]
    shown = Stats(
        balanced=all(each.balanced for each in every),
        drops=dict(drops),
        destinations=destinations,
        journal=_journals([each.journal for each in every]),
        hooks=_hooks([each.hooks for each in every]),
        live=next((each.live for each in reversed(every) if each.live != "off"), "off"),
    )
    return replace(shown, **_sums(every, (*_FIGURES, "suppressed")))


def _journals(found: list[JournalStats]) -> JournalStats:
    shown = next((each for each in reversed(found) if each.state != "off"), found[-1])
    return replace(shown, **_sums(found, _JOURNAL))


def _hooks(found: list[HookStats]) -> HookStats:
    errors = [each.last_error for each in found if each.last_error is not None]
    shown = HookStats(
        running=max((each.running for each in found), default=0.0),
        last_error=errors[-1] if errors else None,
    )
    return replace(shown, **_sums(found, _HOOKS))


def _destination(service: Service) -> DestinationStats:
    writer, queue, chain = service.writer, service.queue, service.chain
    balance = writer.balance()
    return DestinationStats(
        name=writer.name,
        accepted=balance.routed,
        delivered=balance.delivered,
        pending=balance.pending,
        dropped=balance.dropped,
        dead_letters=sum(n for (_, why), n in balance.drops.items() if why == DEAD_LETTER),
        held=0 if writer.store is None else writer.store.held,
        replayed=balance.replayed,
        lost=balance.lost,
        queued=queue.depth,
        queued_bytes=queue.size,
        high_water=queue.high_water,
        parked=queue.waiting,
        spilled=0 if writer.spiller is None else writer.spiller.spilled,
        blocked_seconds=queue.blocked_seconds,
        mode=service.mode.value,
        rescues=chain.ticket.stolen,
        crashes=service.crashes,
        tiers=tuple(_tier(chain, index) for index in range(len(chain.tiers))),
        strategy=chain.plan.rule.strategy.value,
        repairing=writer.repairs.waiting,
        missed=writer.repairs.missed,
    )


def _tier(chain: Chain, index: int) -> TierStats:
    tier, meter, health = chain.tiers[index], chain.meters[index], chain.plan.tiers[index]
    error = meter.last_error
    return TierStats(
        name=tier.name,
        kind=health.kind.value,
        delivered=meter.taken,
        attempts=meter.attempts,
        failed=meter.failed,
        state="busy" if health.busy else health.breaker.state.value,
        opened=health.breaker.opened,
        p50=meter.percentile(0.5),
        p99=meter.percentile(0.99),
        copy=health.copy,
        throughput=meter.throughput,
        failure_rate=health.score.errors,
        score=health.score.value,
        latency=meter.histogram(),
        seconds=meter.seconds,
        changes=meter.changes,
        last_error=None
        if error is None
        else f"{type(error).__name__}: {error}"
        if isinstance(error, BaseException)
        else error,
    )


def _journal(run: Run) -> JournalStats:
    keeper = run.keeper
    if keeper.journal is None:
        return JournalStats(state=run.journal_state)
    found = keeper.journal.statistics()
    refusals = run.recovery.refusals
    return JournalStats(
        state=run.journal_state,
        directory=keeper.journal.directory,
        segments=found.segments,
        bytes=found.bytes,
        quota=found.quota,
        live=found.live,
        failed=keeper.failed,
        degraded=keeper.degraded,
        poisoned=found.poisoned,
        adoptions_failed=run.recovery.failures,
        adoptions_refused=refusals.foreign + refusals.newer + refusals.unreadable,
    )
