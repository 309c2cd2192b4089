"""
Loggers: what may be passed to a call, and what stands in the line afterwards.
"""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading

import pytest

import hydra
from tests.contract.kit import Sink, configure, quiet

pytestmark = pytest.mark.integration

METHODS = {
    "trace": "trace", "debug": "debug", "info": "info", "warning": "warning", "warn": "warning",
    "error": "error", "critical": "critical", "fatal": "critical",
}  # fmt: skip


def only(sink: Sink) -> dict:
    """Return the one record that was logged."""
    quiet()
    (record,) = sink.records
    return record


def fields(sink: Sink) -> dict:
    """Return the fields of the one record that was logged."""
    own = {"timestamp", "level", "logger", "message", "exception", "id"}
    return {key: value for key, value in only(sink).items() if key not in own}


@pytest.mark.parametrize("method", METHODS)
def test_methods_and_functions(sink, log, method):
    """Each level has a method and a function of the module that do the same."""
    getattr(log, method)("placed", n=1)
    getattr(hydra, method)("placed", n=1)
    quiet()

    assert [METHODS[method]] * 2 == [each["level"] for each in sink.records]
    assert ["shop", "root"] == [each["logger"] for each in sink.records]
    assert [1, 1] == [each["n"] for each in sink.records]


@pytest.mark.parametrize(
    ("level", "name"),
    [(20, "info"), ("INFO", "info"), ("fatal", "critical"), (25, "level25"), (45, "level45")],
)
def test_log_at_a_level(sink, log, level, name):
    """`log` takes names and numbers; numbers between the names keep their number."""
    receipt = log.log(level, "placed")

    assert name == only(sink)["level"]
    assert (receipt.id is not None) is (name in {"critical", "level45"})


def test_log_at_no_level(sink, log, recwarn):
    """What is no level costs no record: it counts as info, with one warning."""
    for level in ("loud", "loud", -1, None, 1.5, True, [], 10**9):
        assert log.log(level, "placed") is hydra.QUEUED
    quiet()

    assert {"info"} == {each["level"] for each in sink.records}
    assert 8 == len(sink.records)


def test_message_is_positional_only(sink, log):
    """Every name is free for fields, those of our own parameters included."""
    log.info("placed", message="m", level="l", self="s", event="e", name="n", args="a", fields="f")

    assert {
        "message_": "m", "level_": "l", "self": "s", "event": "e", "name": "n", "args": "a",
        "fields": "f",
    } == fields(sink)  # fmt: skip


def test_log_has_no_reserved_parameter_either(sink, log):
    """The same for `log`, whose level and message are positional, too."""
    log.log("info", "placed", level="l", message="m", number=3)

    assert {"level_": "l", "message_": "m", "number": 3} == fields(sink)


def test_percent_arguments(sink, log):
    """They are applied when given, and only then; what does not fit stays readable."""
    log.info("100% of %s and %d", "a", 3)
    log.info("100% sure, %s")
    log.info("%(a)s", {"a": 1})
    log.info("%d", "no number")
    log.info("%s", b"\xff")
    quiet()

    assert [
        "100% sure, %s",
        "1",
        "%d [args: 'no number']",
    ] == sink.messages[1:4]
    assert len(sink.messages) == 5


def test_extra(sink, log):
    """`extra` gives more fields; the call's own win; what is no mapping is kept as it is."""
    log.info("placed", a=1, extra={"a": 2, "b": 3, "id": 4})

    assert {"a": 1, "b": 3, "id_": 4} == fields(sink)


@pytest.mark.parametrize("extra", [7, "text", [1, 2], object(), {1: "number"}, {}, 0])
def test_extra_of_any_kind(sink, log, extra):
    """Nothing that is passed as extra raises or costs the record."""
    log.info("placed", a=1, extra=extra)

    assert 1 == only(sink)["a"]


def test_stack_info(sink, log):
    """`stack_info` adds the stack of the call, and none of our own frames."""
    log.info("placed", stack_info=True)
    stack = fields(sink)["stack"]

    assert "test_stack_info" in stack
    assert "hydra/logger" not in stack


def wrapper(log: hydra.Logger, level: int) -> None:
    """Log on behalf of the caller."""
    log.info("wrapped", stacklevel=level)


def test_callsite(log):
    """With `callsite` the place of the call is recorded, and stacklevel goes up from there."""
    sink = Sink()
    configure(sink, callsite=True)
    log.info("here")
    wrapper(log, 1)
    wrapper(log, 2)
    hydra.info("here")
    log.exception("here")
    quiet()

    assert [
        "test_callsite", "wrapper", "test_callsite", "test_callsite", "test_callsite",
    ] == [each["code.function.name"] for each in sink.records]  # fmt: skip
    assert {__file__} == {each["code.file.path"] for each in sink.records}


def test_exc_info(sink, log):
    """True, an exception and a tuple mean the same; without an exception there is none."""
    try:
        raise ValueError("bad")
    except ValueError as error:
        log.info("a", exc_info=True)
        log.info("b", exc_info=error)
        log.info("c", exc_info=(type(error), error, error.__traceback__))
        log.exception("d")
        hydra.log_exception("e")
        log.exception("f", exc_info=error)
        kept = error
    log.info("late", exc_info=kept)
    log.info("none", exc_info=True)
    log.info("none", exc_info=False)
    log.exception("none")
    quiet()

    found = [each.get("exception") for each in sink.records]
    assert [("ValueError", "bad")] * 7 == [(e["type"], e["message"]) for e in found[:7]]
    assert all("test_exc_info" in each["stacktrace"] for each in found[:7])
    assert [None] * 3 == found[7:]
    assert ["error"] * 3 == [each["level"] for each in sink.records[3:6]]


def test_exception_whose_truth_raises(sink, log):
    """An exception may define truth and equality as it likes."""

    class Odd(Exception):
        def __bool__(self):
            raise RuntimeError

        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    log.error("failed", exc_info=Odd("odd"))

    assert "odd" == only(sink)["exception"]["message"]


def test_hostile_arguments(sink, log):
    """Nothing that is passed raises into the application, or costs the record."""

    class Hostile:
        def __repr__(self):
            raise SystemError("no repr")

        __str__ = __repr__

        def __bool__(self):
            raise RuntimeError

        def __len__(self):
            raise RuntimeError

        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    bad = Hostile()
    log.info(bad)
    log.info("%s", bad)
    log.info("placed", a=bad, b=[bad], c={"x": bad})
    log.info("placed", exc_info=bad, stack_info=bad, stacklevel=bad, extra=bad)
    log.error(bad, bad, a=bad)
    log.bind(a=bad).info("placed")
    with hydra.context(a=bad):
        log.info("placed")
    quiet()

    assert 7 == len(sink.records)


def test_lazy(sink, log):
    """A lazy value is made when somebody wants the record: once for each, and else never."""
    calls = []

    def value():
        calls.append(1)
        return "made"

    hydra.configure(
        level="info",
        destinations=[
            {"name": "a", "type": "sink", "sink": sink},
            {"name": "b", "type": "sink", "sink": Sink()},
        ],
    )
    log.debug("placed", x=hydra.lazy(value))
    assert [] == calls
    log.info("placed", x=hydra.lazy(value))

    assert {"x": "made"} == fields(sink)
    assert [1] == calls


def test_order_of_fields(log):
    """Bound, context, call: the place of the first, the value of the last."""
    sink = Sink()
    configure(sink)
    bound = log.bind(a=1, b=1, c=1)
    with hydra.context(b=2, d=2):
        bound.info("merged", c=3, d=3, e=3)
        bound.info("disjoint", e=3)
    quiet()

    keys = [[(k, v) for k, v in json.loads(line).items() if k in "abcde"] for line in sink.lines]
    assert [("a", 1), ("b", 2), ("c", 3), ("d", 3), ("e", 3)] == keys[0]
    assert [("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 3)] == keys[1]


def test_bind_and_unbind(sink, log):
    """Both return another logger; the one they are called on stays what it was."""
    child = log.bind(a=1, b=2)
    grandchild = child.bind(b=3).unbind("a", "not there")
    log.info("none")
    child.info("both")
    grandchild.info("one")
    hydra.get_logger("shop", service="api").info("given")
    quiet()

    kept = [{k: r[k] for k in ("a", "b", "service") if k in r} for r in sink.records]
    assert [{}, {"a": 1, "b": 2}, {"b": 3}, {"service": "api"}] == kept


def test_context_in_tasks_and_threads(sink, log):
    """A context holds where it was set and below; other tasks and threads see their own."""

    async def task(n):
        with hydra.context(task=n):
            await asyncio.sleep(0)
            await log.info("task", n=n)

    async def main():
        with hydra.context(outer=True):
            await asyncio.gather(*(task(n) for n in range(20)))

    asyncio.run(main())
    with hydra.context(thread="main"):
        thread = threading.Thread(target=lambda: log.info("thread"))
        thread.start()
        thread.join()
    log.info("outside")
    quiet()

    tasks = [each for each in sink.records if each["message"] == "task"]
    assert all(each["task"] == each["n"] and each["outer"] for each in tasks)
    assert 20 == len(tasks)
    assert "thread" not in sink.records[-2]
    assert "outer" not in sink.records[-1]


def test_copies_of_loggers(sink, log):
    """Copied and pickled, a logger keeps name, fields, tracking, and the place it writes to."""
    bound = log.bind(a=1).tracked()
    for each in (
        copy.copy(bound),
        copy.deepcopy(bound),
        pickle.loads(pickle.dumps(bound)),
        copy.deepcopy([bound])[0],
    ):
        assert each.info("placed").id
        assert "<Logger 'shop'>" == repr(each)
    quiet()

    assert [1] * 4 == [each["a"] for each in sink.records]


def test_is_enabled_for(log):
    """It answers for the route: layer, level and the levels of the destinations."""
    hydra.configure(
        level="debug",
        destinations=[{"name": "a", "type": "sink", "sink": Sink(), "level": "warning"}],
        layers={
            "loud": {
                "level": "trace",
                "destinations": [{"name": "b", "type": "sink", "sink": Sink()}],
            }
        },
    )
    loud = hydra.get_logger("loud.child")

    assert [False, True, True] == [log.is_enabled_for(level) for level in ("info", "warning", 40)]
    assert [True, True] == [loud.is_enabled_for(level) for level in ("trace", 10)]
    with pytest.raises(ValueError, match="unknown level"):
        log.is_enabled_for("loud")


def test_loggers_made_before_the_configuration():
    """A logger may be made at import, long before anything is configured, and is never stale."""
    log = hydra.get_logger("early", a=1)
    one, two = Sink(), Sink()
    configure(one)
    log.info("first")
    configure(two, redact={"keys": ["a"]})
    log.info("second")
    quiet()

    assert ["first"] == one.messages
    assert ["second"] == two.messages
    assert "***" == two.records[0]["a"]
