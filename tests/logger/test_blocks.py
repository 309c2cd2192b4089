"""
Around code: `catch` and `timed`.
"""

from __future__ import annotations

import asyncio

import pytest

import hydra
from tests.contract.kit import quiet

pytestmark = pytest.mark.integration


def test_catch_a_function(sink, log):
    """What leaves the function is logged and stopped; the function keeps its name and answers."""

    @log.catch
    def divide(a, b):
        """Divide."""
        return a / b

    assert 2 == divide(4, 2)
    assert divide(1, b=0) is None
    quiet()

    assert ("divide", "Divide.") == (divide.__name__, divide.__doc__)
    assert ["ZeroDivisionError"] == [each["exception"]["type"] for each in sink.records]
    assert ["uncaught exception"] == sink.messages


def test_catch_with_options(sink, log):
    """Level, message and the answer instead may be given."""

    @log.catch(level="critical", message="division failed", default=-1)
    def divide(a, b):
        return a / b

    assert -1 == divide(1, 0)
    quiet()

    assert [("critical", "division failed")] == [(r["level"], r["message"]) for r in sink.records]


def test_catch_and_raise_again(sink, log):
    """With reraise the exception goes on, after it was logged once."""

    @log.catch(reraise=True)
    def divide():
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        divide()
    with pytest.raises(KeyError), log.catch(reraise=True):
        raise KeyError("k")
    quiet()

    assert 2 == len(sink.records)


def test_catch_an_async_function(sink, log):
    """The exception of an async function is caught where it is awaited."""

    @log.catch(default="instead")
    async def fail():
        await asyncio.sleep(0)
        raise ValueError("bad")

    @log.catch
    async def work():
        return 5

    assert asyncio.iscoroutinefunction(fail)
    assert ("instead", 5) == (asyncio.run(fail()), asyncio.run(work()))
    quiet()

    assert ["ValueError"] == [each["exception"]["type"] for each in sink.records]


def test_catch_lets_ends_pass(sink, log):
    """KeyboardInterrupt, SystemExit and cancellation are no errors: unlogged, and not stopped."""

    async def cancelled():
        with log.catch():
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

    for error in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(error), log.catch():
            raise error
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    quiet()

    assert [] == sink.records


def test_catch_around_blocks(sink, log):
    """One object may guard many blocks, nested ones too."""
    guard = log.catch()
    for n in range(3):
        with guard, guard:
            raise ValueError(n)
    quiet()

    assert 3 == len(sink.records)


def test_catch_a_method_and_a_class_method(sink, log):
    """Wrapped methods stay methods."""

    class Shop:
        @log.catch
        def sell(self):
            return self.missing

        @classmethod
        @log.catch
        def close(cls):
            return cls.missing

    assert (None, None) == (Shop().sell(), Shop.close())
    quiet()

    assert 2 == len(sink.records)


def test_timed(sink, log):
    """The record tells how long the block took, with what the block added."""
    with log.timed("sold", shop="a") as more:
        more["items"] = 3
    with hydra.timed_log("sold", level="debug"):
        pass
    quiet()
    first, second = sink.records

    assert ("a", 3) == (first["shop"], first["items"])
    assert 0 <= first["duration_seconds"] < 5
    assert ("debug", "root") == (second["level"], second["logger"])


def test_timed_block_that_raises(sink, log):
    """It has level error and the exception, which goes on."""
    with pytest.raises(ValueError, match="bad"), log.timed("sold") as more:
        more[5] = "no name"
        more["items"] = 3
        raise ValueError("bad")
    quiet()
    (record,) = sink.records

    assert ("error", "ValueError") == (record["level"], record["exception"]["type"])
    assert 3 == record["items"]


def test_timed_block_with_a_field_of_ours(sink, log):
    """Our field is what we measured; fields named like our parameters are fields."""
    with log.timed("sold", duration_seconds="mine", event="e", message="m"):
        pass
    quiet()
    (record,) = sink.records

    assert isinstance(record["duration_seconds"], float)
    assert ("e", "m") == (record["event"], record["message_"])
