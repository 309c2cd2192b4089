"""
What users write, for the type checker: `make lint` runs mypy over it, nobody runs it.

Rule: `assert_type` says what an expression is for whoever writes it; a change of
one is a change of the public API.
"""

# Everything a user may write is here, also what a linter would advise against.
# ruff: noqa: D103

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import assert_type

import fallbacks
import fallbacks.testing
import fallbacks.tiers
import hydra
import hydra.testing
from hydra.metrics import DestinationStats, JournalStats, TierStats
from hydra.queue import Fate, State

log = hydra.get_logger("shop", service="api")


# -- configuring


def configure_in_every_shape(path: Path) -> None:
    hydra.configure()
    hydra.configure({"level": "debug", "destinations": ["console"]})
    hydra.configure("hydra.toml")
    hydra.configure(path)
    hydra.configure(preset="production", app="shop")
    hydra.configure(file=path, queue={"records": 1_000, "when_full": "drop_new"})
    hydra.configure(destinations=[hydra.Destination(send, name="remote", timeout=2.0)])
    hydra.configure(destinations=[hydra.Destination(type="file", path=path)])
    with hydra.running(preset="script"):
        pass
    with hydra.running({"app": "shop"}):
        pass
    try:
        hydra.configure(level="loud")
    except hydra.ConfigurationError as error:
        assert_type([problem.path for problem in error.problems], list[str])
    except hydra.HydraError:
        pass


async def configure_for_a_block() -> None:
    async with hydra.running(preset="service"):
        await log.info("started")
    assert_type(await hydra.aflush(timeout=1.0), hydra.Stats)
    assert_type(await hydra.aclose(timeout=1.0), hydra.Stats)


# -- logging


def call_plainly() -> None:
    log.trace("step")
    log.debug("step %d of %d", 1, 2)
    log.info("order placed", order_id=42, items=["apple"], at=Path("/"))
    log.warning("slow", seconds=1.5)
    log.warn("slow")
    log.error("refused", exc_info=True)
    log.error("refused", exc_info=ValueError("no"))
    log.critical("out of disk", stack_info=True, stacklevel=2, extra={"free": 0})
    log.fatal("out of disk")
    log.exception("refused")
    log.log("info", "by name")
    log.log(25, "by number")
    log.info("cost", cost=hydra.lazy(lambda: 42))
    # What is no text is logged as text.
    log.info(42)
    log.info({"a": 1})
    hydra.info("without a logger", order_id=1)
    hydra.log("error", "without a logger")
    hydra.log_exception("without a logger")


async def call_awaited() -> None:
    assert_type(await log.info("order placed"), None)
    assert_type(await log.error("refused"), None)
    assert_type(await hydra.critical("out of disk"), None)
    task = asyncio.create_task(log.info("in a task").coro())
    assert_type(await task, None)


def use_levels() -> None:
    assert_type(log.is_enabled_for("debug"), bool)
    assert_type(log.is_enabled_for(20), bool)
    assert_type(log.name, str)


# -- fronts


def use_a_front(path: Path) -> None:
    front = hydra.HydraLogger({"layers": {"API": {"destinations": ["console"]}}}, name="web")
    assert_type(front, hydra.HydraLogger)
    assert_type(front.info("API", "order placed", order_id=42), hydra.Receipt)
    front.info("to the default layer")
    front.info("paid %s", 42, layer="API", extra={"user": 7})
    front.trace("API", "step")
    front.debug("API", "step %d of %d", 1, 2)
    front.warning("API", "slow")
    front.warn("API", "slow")
    front.error("API", "refused", exc_info=ValueError("no"))
    front.critical("API", "out of disk", stack_info=True, stacklevel=2)
    front.fatal("API", "out of disk")
    front.exception("API", "refused")
    front.log("info", "API", "by name")
    front.log(25, "by number, to the default layer")
    assert_type(front.get_logger("API", service="web"), hydra.Logger)
    assert_type(front.flush(timeout=1.0), hydra.Stats)
    assert_type(front.stats(), hydra.Stats)
    assert_type(front.close(timeout=1.0), hydra.Stats)
    assert_type(front.initialize(), hydra.HydraLogger)
    assert_type(front.name, str)
    with hydra.HydraLogger(config=path) as same:
        assert_type(same, hydra.HydraLogger)
    hydra.HydraLogger(file="front.toml", level="debug").close()


async def use_an_async_front() -> None:
    front = hydra.AsyncHydraLogger(preset="service", app="shop")
    assert_type(await front.initialize(), hydra.AsyncHydraLogger)
    assert_type(await front.info("API", "order placed"), None)
    assert_type(await front.flush(), hydra.Stats)
    assert_type(await front.close(), hydra.Stats)
    assert_type(await front.aclose(timeout=1.0), hydra.Stats)
    async with hydra.AsyncHydraLogger({"app": "shop"}) as same:
        assert_type(same, hydra.AsyncHydraLogger)


# -- receipts


def read_a_receipt() -> None:
    receipt = log.error("refused")
    assert_type(receipt, hydra.Receipt)
    assert_type(receipt.id, str | None)
    assert_type(receipt.durability, hydra.Durability | None)
    settlement = receipt.wait(timeout=1.0)
    assert_type(settlement, hydra.Settlement)
    assert_type(settlement.id, str | None)
    assert_type(settlement.settled, bool)
    assert_type(settlement.delivered, bool)
    assert_type(settlement.dropped, dict[str, str])
    assert_type(settlement.fates, dict[str, Fate])
    for fate in settlement.fates.values():
        assert_type(fate.state, State)
        assert_type(fate.tier, str | None)
        assert_type(fate.reason, str | None)
    if log.info("order placed") is hydra.DROPPED:
        pass
    shared: list[hydra.Receipt] = [hydra.QUEUED, hydra.FILTERED, hydra.SAMPLED, hydra.DROPPED]
    assert_type(shared[0].durability, hydra.Durability | None)


async def await_a_receipt() -> None:
    receipt = log.tracked().info("order placed")
    assert_type(await receipt.delivered(), hydra.Settlement)
    assert_type(await receipt.delivered(timeout=1.0), hydra.Settlement)
    assert_type(await receipt, None)


# -- loggers and blocks


def derive_loggers() -> None:
    assert_type(log.bind(request_id="r1"), hydra.Logger)
    assert_type(log.unbind("request_id"), hydra.Logger)
    assert_type(log.tracked(), hydra.Logger)
    with hydra.context(user_id=7), log.timed("checkout", order_id=1) as facts:
        facts["items"] = 3
    with hydra.timed_log("checkout", "debug"):
        pass
    with log.catch(level="critical", reraise=True):
        pass


@log.catch
def guarded(number: int) -> str:
    return str(number)


@log.catch(default=0)
async def guarded_async(number: int) -> int:
    return number


async def guards_keep_signatures() -> None:
    assert_type(guarded(1), str)
    assert_type(await guarded_async(1), int)


@hydra.context(job="nightly")
def in_context(number: int) -> int:
    return number


# -- figures


def read_stats() -> None:
    for stats in (hydra.stats(), hydra.flush(), hydra.close()):
        assert_type(stats, hydra.Stats)
        assert_type(stats.accepted, int)
        assert_type(stats.balanced, bool)
        assert_type(stats.drops, Mapping[tuple[str, str], int])
        assert_type(stats.journal, JournalStats)
        for destination in stats.destinations.values():
            assert_type(destination, DestinationStats)
            assert_type(destination.tiers, tuple[TierStats, ...])
            assert_type(destination.tiers[0].p99, float | None)
    assert_type(hydra.metrics_text(), str)


# -- sinks


async def send(lines: Sequence[bytes]) -> None:
    await asyncio.sleep(len(lines) * 0)


def write(lines: Sequence[bytes]) -> None:
    for line in lines:
        line.decode()


class Remote:
    """A sync tier."""

    name = "remote"
    kind = fallbacks.Kind.FINAL

    def write(self, batch: fallbacks.Batch) -> fallbacks.Outcome:
        if not batch.data:
            return fallbacks.Permanent("nothing in it")
        if len(batch) > 100:
            return fallbacks.Delivered(prefix=100)
        return fallbacks.DELIVERED

    def close(self) -> None:
        pass


class AsyncRemote:
    """An async tier."""

    name = "remote"
    kind = fallbacks.Kind.FINAL

    async def write(self, batch: fallbacks.Batch) -> fallbacks.Outcome:
        await asyncio.sleep(0)
        return fallbacks.Retryable("busy", after=len(batch) * 0.1)

    async def aclose(self) -> None:
        pass


sync_tier: fallbacks.SyncTier = Remote()
async_tier: fallbacks.AsyncTier = AsyncRemote()
tiers: list[fallbacks.Tier] = [Remote(), AsyncRemote()]


def configure_sinks() -> None:
    hydra.configure(
        destinations=[
            hydra.Destination(sink=send),
            hydra.Destination(write, format="plain"),
            hydra.Destination(Remote(), fallback=[{"type": "stderr"}]),
            hydra.Destination(AsyncRemote(), fallback=[Remote()]),
        ]
    )


# -- processors


def add_version(
    logger: object, method: str, event_dict: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    event_dict["version"] = "1.2"
    event_dict["method"] = method
    return event_dict


def drop_health_checks(
    logger: object, method: str, event_dict: MutableMapping[str, object]
) -> MutableMapping[str, object] | None:
    return None if event_dict.get("path") == "/healthz" else event_dict


def configure_processors() -> None:
    hydra.configure(processors=[add_version, drop_health_checks])


# -- senders


def deliver(chain: fallbacks.Chain, store: fallbacks.HeldStore) -> tuple[bytes, ...]:
    with fallbacks.Sender(chain, store=store) as sender:
        sent = sender.send([b"a line\n"], timeout=1.0)
        assert_type(sent, fallbacks.Sent)
        return sent.left if sender.replay().held else sent.rejected


async def adeliver(chain: fallbacks.Chain) -> int:
    async with fallbacks.AsyncSender(chain) as sender:
        return (await sender.send([b"a line\n"])).delivered


# -- kits for tests


def check_everything() -> None:
    verdict = fallbacks.testing.check_tier(
        lambda: fallbacks.tiers.MemoryTier(2000), received=lambda tier: tier.lines
    )
    assert_type(verdict, fallbacks.testing.Verdict)
    for case in hydra.testing.sink_cases():
        hydra.testing.check_sink(lambda: send, seconds=1.0, cases=[case])
    hydra.testing.check_encoder(bytes.upper, lines=hydra.testing.canonical_lines(), skip=["pure"])
    assert_type(verdict.holds, tuple[str, ...])
