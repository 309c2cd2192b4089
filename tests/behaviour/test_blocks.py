"""
Around code: context, catch and timed, in tasks, threads and generators.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading

import pytest
import trio

import hydra
from tests.contract import kit

pytestmark = pytest.mark.integration


@pytest.fixture
def log(sink):
    """Return a logger whose records go to the sink."""
    kit.configure(sink)
    return hydra.get_logger("shop")


def records(sink):
    """Drain, and return the records."""
    kit.quiet()
    return sink.records


# -- context


def test_context_across_tasks(log, sink):
    """A task sees the context it was started in, and its own; never its sibling's."""

    async def work(n):
        with hydra.context(task=n):
            for _ in range(5):
                await log.info("in")
                await asyncio.sleep(0)
        await log.info("out", n=n)

    async def scenario():
        with hydra.context(request="r"):
            await asyncio.gather(*(work(n) for n in range(4)))
        await log.info("after")

    asyncio.run(scenario())
    found = records(sink)

    assert 20 + 4 + 1 == len(found)
    assert all(r["request"] == "r" for r in found[:-1])
    assert [5] * 4 == [sum(r.get("task") == n for r in found) for n in range(4)]
    assert all("task" not in r for r in found if r["message"] != "in")
    assert "request" not in found[-1]


def test_context_across_trio_tasks(log, sink):
    """The same under trio."""

    async def work(n):
        with hydra.context(task=n):
            await trio.lowlevel.checkpoint()
            await log.info("in", n=n)

    async def scenario():
        with hydra.context(request="r"):
            async with trio.open_nursery() as nursery:
                for n in range(4):
                    nursery.start_soon(work, n)

    trio.run(scenario)

    assert [(n, n, "r") for n in range(4)] == sorted(
        (r["task"], r["n"], r["request"]) for r in records(sink)
    )


def test_context_across_threads(log, sink):
    """A plain thread starts without context; one that is given a copy has it."""

    def work(how):
        log.info("m", how=how)

    with hydra.context(request="r"):
        copied = contextvars.copy_context()
        threads = [
            threading.Thread(target=work, args=("plain",)),
            threading.Thread(target=copied.run, args=(work, "copied")),
        ]
        for each in threads:
            each.start()
            each.join()
        asyncio.run(asyncio.to_thread(work, "to_thread"))

    assert [("plain", None), ("copied", "r"), ("to_thread", "r")] == [
        (r["how"], r.get("request")) for r in records(sink)
    ]


def test_context_left_in_another_order(log, sink):
    """A context that is left in another task or twice harms nobody."""

    async def generator():
        with hydra.context(inside=1):
            yield
            yield

    async def scenario():
        agen = generator()
        await agen.__anext__()
        await asyncio.create_task(agen.aclose())
        await log.info("m")

    asyncio.run(scenario())
    with hydra.context(a=1):
        log.info("again")
    log.info("outside")

    assert [1, None] == [r.get("a") for r in records(sink)][1:]


# -- catch


def test_catch_on_functions(log, sink):
    """A wrapped function logs, and returns the default instead of raising."""

    @log.catch
    def bare(a, *, b):
        """Say what it is for."""
        raise ValueError(f"{a}{b}")

    @log.catch(default=7, message="oops", level="warning")
    def defaulted(ok):
        if ok:
            return "fine"
        raise ValueError("x")

    @log.catch(reraise=True)
    def reraised():
        raise KeyError("k")

    assert (None, "fine", 7) == (bare(1, b=2), defaulted(True), defaulted(False))
    with pytest.raises(KeyError):
        reraised()
    assert ("bare", "Say what it is for.") == (bare.__name__, bare.__doc__)
    assert [
        ("uncaught exception", "error", "12"),
        ("oops", "warning", "x"),
        ("uncaught exception", "error", "'k'"),
    ] == [(r["message"], r["level"], r["exception"]["message"]) for r in records(sink)]


def test_catch_on_methods_and_async(log, sink, call_style):
    """Coroutine functions stay coroutine functions, and methods methods."""

    class Thing:
        @log.catch(default=1)
        def plain(self):
            raise ValueError("plain")

        @log.catch(default=2)
        async def later(self):
            raise ValueError("later")

        @staticmethod
        @log.catch
        async def static():
            return 3

        @classmethod
        @log.catch
        async def of_class(cls):
            return cls.__name__

    assert inspect.iscoroutinefunction(Thing.later)

    async def scenario(call):
        thing = Thing()
        return [thing.plain(), await thing.later(), await thing.static(), await thing.of_class()]

    assert [1, 2, 3, "Thing"] == call_style.run(scenario)
    assert ["plain", "later"] == [r["exception"]["message"] for r in records(sink)]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_catch_on_generators(kind, log, sink):
    """What a generator raises in its body is caught as well: it ends early."""

    @log.catch
    def plain():
        got = yield 1
        yield got
        raise ValueError("in the body")

    @log.catch
    async def later():
        got = yield 1
        yield got
        raise ValueError("in the body")

    async def scenario():
        agen = later()
        found = [await agen.asend(None), await agen.asend("sent")]
        found += [each async for each in agen]
        return found

    if kind == "generator":
        generator = plain()
        found = [next(generator), generator.send("sent"), *generator]
    else:
        found = asyncio.run(scenario())

    assert [1, "sent"] == found
    assert ["in the body"] == [r["exception"]["message"] for r in records(sink)]


def test_catch_as_a_block(log, sink):
    """A `with` block swallows an exception, or passes it on when asked to."""
    with log.catch(message="first"):
        raise ValueError("a")
    with pytest.raises(ValueError), log.catch(reraise=True, message="second"):
        raise ValueError("b")
    with log.catch(message="never"):
        pass

    assert ["first", "second"] == [r["message"] for r in records(sink)]


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit]
)
def test_catch_lets_the_end_pass(kind, log, sink):
    """What ends a program or a task is neither logged nor held up."""

    @log.catch
    def ends():
        raise kind

    with pytest.raises(kind):
        ends()
    assert [] == records(sink)


def test_catch_and_cancellation(log, sink):
    """A cancelled task stays cancelled, under asyncio and trio."""

    @log.catch
    async def waits_asyncio():
        await asyncio.sleep(60)

    async def scenario():
        task = asyncio.create_task(waits_asyncio())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())

    @log.catch
    async def waits_trio():
        await trio.sleep(60)

    async def by_trio():
        with trio.move_on_after(0.01) as scope:
            await waits_trio()
        return scope.cancelled_caught

    assert trio.run(by_trio)
    assert [] == records(sink)


def test_one_catch_in_many_threads(log, sink):
    """One wrapped function may run in many threads and call itself."""

    @log.catch(default=0)
    def down(n):
        if n == 0:
            raise ValueError("bottom")
        return down(n - 1)

    threads = [threading.Thread(target=down, args=(3,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert 4 == len(records(sink))


# -- timed


def test_timed_logs_the_duration(log, sink):
    """The block may add fields; the duration stands behind them."""
    with log.timed("work", order=1) as fields:
        fields["rows"] = 3
        log.info("inside")
    with hydra.timed_log("also", "debug", a=1):
        pass

    inside, work, also = records(sink)
    assert "inside" == inside["message"]
    assert ("work", "info", 1, 3) == tuple(work[k] for k in ("message", "level", "order", "rows"))
    assert ["order", "rows", "duration_seconds"] == list(work)[4:7]
    assert 0 <= work["duration_seconds"] < 60
    assert ("debug", "root") == (also["level"], also["logger"])


def test_timed_when_the_block_raises(log, sink):
    """The record has at least level error and the exception, which goes on."""
    for level, expected in (("info", "error"), ("critical", "critical")):
        with pytest.raises(ValueError), log.timed("work", level):
            raise ValueError("x")

        assert expected == records(sink)[-1]["level"]
        assert "x" == sink.records[-1]["exception"]["message"]


def test_timed_takes_any_field(log, sink):
    """Whatever the block puts into the dict, the record is written."""
    with log.timed("work", exc_info="a field here", duration_seconds="mine") as fields:
        fields[1] = "no name"
        fields["stack_info"] = True
        fields["message"] = "a field"

    (found,) = records(sink)
    assert ("work", "a field here", True, "a field") == tuple(
        found[k] for k in ("message", "exc_info", "stack_info", "message_")
    )
    assert isinstance(found["duration_seconds"], float | int)
