from __future__ import annotations

import asyncio
import functools
from unittest.mock import AsyncMock

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Delivered, Retryable, outcome_of
from fallbacks.testing.faulty_tier import FaultyAsyncTier, FaultyTier
from fallbacks.tier import AsyncTier, Kind, SyncTier
from fallbacks.tiers import AsyncCallableTier, CallableTier, MemoryTier, StreamTier, tier_from

pytestmark = pytest.mark.unit

BATCH = Batch([b"one\n", b"two\n"])
ERRORS = [ValueError, OSError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit]


async def sink(lines):
    """Take every line."""
    return


class Objects:
    def plain(self, lines):
        return None

    async def method(self, lines):
        return None

    @classmethod
    async def of_class(cls, lines):
        return None

    @staticmethod
    async def static(lines):
        return None


class AsyncCall:
    async def __call__(self, lines):
        return None


class PlainCall:
    def __call__(self, lines):
        return None


class PartialCall:
    __call__ = functools.partial(sink)


def test_function_gets_a_list_of_its_own():
    """
    The callable gets the lines in a new list, which it may change.
    """
    seen = []

    def take(lines):
        seen.extend(lines)
        lines.clear()

    tier = CallableTier(take)
    outcome = tier.write(BATCH)
    tier.close()

    assert DELIVERED is outcome
    assert [b"one\n", b"two\n"] == seen == list(BATCH)
    assert isinstance(tier, SyncTier)
    assert (Kind.FINAL, "take", "<CallableTier take>") == (tier.kind, tier.name, repr(tier))


@pytest.mark.parametrize("answer", [Delivered(1), Retryable("full"), 7, "text", False])
def test_answers_are_passed_on(answer):
    """
    An outcome is the answer; anything else is for the chain to judge.
    """

    async def give(lines):
        return answer

    outcomes = [
        CallableTier(lambda lines: answer).write(BATCH),
        asyncio.run(AsyncCallableTier(give).write(BATCH)),
        asyncio.run(AsyncCallableTier(lambda lines: answer).write(BATCH)),
    ]

    assert [answer] * 3 == outcomes
    assert isinstance(outcome_of(7, 2), Retryable)


@pytest.mark.parametrize("error", ERRORS)
def test_what_a_callable_raises_leaves_the_tier(error):
    """
    Containment is the driver's, whatever is raised.
    """

    def fail(lines):
        raise error

    async def async_fail(lines):
        raise error

    with pytest.raises(error):
        CallableTier(fail).write(BATCH)
    write = AsyncCallableTier(async_fail).write(BATCH)
    with pytest.raises(error):
        write.send(None)


@pytest.mark.parametrize("kind", ["coroutine", "future"])
def test_awaitable_from_a_sync_callable_is_an_error(kind):
    """
    Nobody can await it there: it is closed, and the lines are not believed safe.
    """

    class Future:
        def __await__(self):
            yield

    tier = CallableTier(lambda lines: sink(lines) if kind == "coroutine" else Future())
    with pytest.raises(TypeError, match="AsyncCallableTier"):
        tier.write(BATCH)


def test_async_callable_is_awaited():
    """
    None from the awaitable means that all lines were taken.
    """
    tier = AsyncCallableTier(functools.partial(sink), name="remote")
    outcome = asyncio.run(tier.write(BATCH))
    asyncio.run(tier.aclose())

    assert DELIVERED is outcome
    assert isinstance(tier, AsyncTier)
    assert (Kind.FINAL, "<AsyncCallableTier remote>") == (tier.kind, repr(tier))


@pytest.mark.parametrize(
    "fn",
    [
        sink,
        functools.partial(sink),
        functools.partial(functools.partial(sink)),
        Objects().method,
        functools.partial(Objects().method),
        Objects.of_class,
        Objects.static,
        AsyncCall(),
        functools.partial(AsyncCall()),
        PartialCall(),
        AsyncMock(),
    ],
)
def test_coroutine_functions_are_told_by_their_code(fn):
    """
    However it is wrapped, what gives a coroutine becomes an async tier.
    """
    tier = tier_from(fn)

    assert isinstance(tier, AsyncCallableTier)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (Objects().plain, "plain"),
        (print, "print"),
        ([].extend, "extend"),
        (lambda lines: None, "callable"),
        (PlainCall(), "PlainCall"),
        (functools.partial(print, end=""), "print"),
    ],
)
def test_other_callables_become_sync_tiers(fn, name):
    """
    A plain callable is called on a thread, and labelled with its own name.
    """
    tier = tier_from(fn)

    assert isinstance(tier, CallableTier)
    assert name == tier.name
    assert "mine" == tier_from(fn, name="mine").name


@pytest.mark.parametrize(
    "tier", [MemoryTier(), StreamTier(), AsyncCallableTier(sink), FaultyTier(), FaultyAsyncTier()]
)
def test_tiers_pass_through(tier):
    """
    A tier needs no wrapping.
    """
    assert tier is tier_from(tier)


@pytest.mark.parametrize("thing", [None, 7, "stderr", b"", object()])
def test_what_is_no_sink_is_refused_by_name(thing):
    """
    The message names what is accepted and what was given.
    """
    with pytest.raises(TypeError, match=f"a sink is a tier .* not {type(thing).__name__}"):
        tier_from(thing)


def test_class_is_no_sink():
    """
    A forgotten pair of brackets is said so.
    """
    with pytest.raises(TypeError, match="not the class MemoryTier; pass an instance"):
        tier_from(MemoryTier)


def test_mixed_tier_is_refused():
    """
    A tier with async write and plain close would never be awaited.
    """

    class Mixed(MemoryTier):
        async def write(self, batch):
            return DELIVERED

    with pytest.raises(TypeError, match="Mixed mixes the two kinds"):
        tier_from(Mixed())
