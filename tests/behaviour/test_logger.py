"""
The logger's calls: what reaches the line from a message, its arguments and its fields.
"""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import warnings

import pytest

import hydra
from tests.contract import kit

pytestmark = pytest.mark.integration


class Evil:
    """An object every question to which raises."""

    def _refuse(self, *args):
        raise RuntimeError("no")

    __bool__ = __str__ = __repr__ = __len__ = __iter__ = __hash__ = __eq__ = _refuse
    keys = __getitem__ = __format__ = _refuse


class Falsy(Exception):
    """An exception that says it is false, as one with a length of nothing does."""

    def __len__(self):
        return 0


class Unsure(Exception):
    """An exception that cannot be asked for its truth."""

    def __bool__(self):
        raise RuntimeError("no")


@pytest.fixture
def log(sink):
    """Return a logger whose records go to the sink."""
    kit.configure(sink)
    return hydra.get_logger("shop")


def last(sink):
    """Return the last record without what differs from run to run."""
    kit.quiet()
    return {k: v for k, v in sink.records[-1].items() if k not in {"timestamp", "id"}}


def fields(sink):
    """Return the fields of the last record, in order."""
    return {k: v for k, v in last(sink).items() if k not in {"level", "logger", "message"}}


def test_every_keyword_may_be_a_field(log, sink):
    """The message is positional-only, and so is the level: all names but four are fields."""
    given = {"message_": 1, "self": 2, "level_": 3, "name": 4, "args": 5, "fields": 6, "default": 7}
    log.info("m", **given)
    assert given == fields(sink)

    log.log(20, "m", self=1, number=2)
    assert {"self": 1, "number": 2} == fields(sink)

    log.bind(self=1, names=2).info("m")
    assert {"self": 1, "names": 2} == fields(sink)

    with hydra.context(self=1):
        hydra.get_logger("x", self_=0).info("m")
    assert {"self_": 0, "self": 1} == fields(sink)


def test_reserved_names_get_an_underscore(log, sink):
    """A field that is called like a key of the line keeps its value under a free name."""
    log.info("m", message="a", level="b", timestamp="c", logger="d", id="e", exception="f", id_="g")

    found = last(sink)
    assert ("info", "shop", "m") == (found["level"], found["logger"], found["message"])
    assert ("a", "b", "c", "d") == tuple(
        found[k] for k in ("message_", "level_", "timestamp_", "logger_")
    )
    assert {"e", "g"} == {v for k, v in found.items() if k.startswith("id_")}
    assert "f" == found["exception_"]


def test_percent_arguments(log, sink):
    """`%` is applied only when there are arguments; a mismatch costs no record."""
    cases = [
        (("100 %",), "100 %"),
        (("%s %d",), "%s %d"),
        (("payment %s failed", "p1"), "payment p1 failed"),
        (("%(a)s", {"a": 1}), "1"),
        (("%d", "x"), "%d [args: 'x']"),
        (("none", 1), "none [args: 1]"),
        (("100 %", 1), "100 % [args: 1]"),
        ((42,), "42"),
        ((None,), "None"),
    ]
    for args, expected in cases:
        log.info(*args)
        assert expected == last(sink)["message"]


@pytest.mark.parametrize("what", ["message", "args", "field", "extra", "stack_info", "exc_info"])
def test_nothing_given_makes_a_call_raise(what, log, sink):
    """Whatever a call is given, it does not raise, and its record arrives."""
    evil = Evil()
    calls = {
        "message": lambda: log.info(evil),
        "args": lambda: log.info("%s", evil),
        "field": lambda: log.info("m", a=evil, b=[evil], c={"x": evil}),
        "extra": lambda: log.info("m", extra=evil, kept=1),
        "stack_info": lambda: log.info("m", stack_info=evil),
        "exc_info": lambda: log.info("m", exc_info=evil),
    }

    assert hydra.QUEUED is calls[what]()
    assert "info" == last(sink)["level"]


@pytest.mark.parametrize(
    "level", [None, "nonsense", 3.5, -1, 100_000, True, b"info", Evil(), [], ""]
)
def test_bad_level_costs_no_record(level, log, sink):
    """What is no level counts as info, with one warning."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        log.log(level, "m", n=1)
        log.log(level, "m", n=2)

    assert ["info", "info"] == [record["level"] for record in (kit.quiet(), sink.records)[1]]
    assert len(found) <= 1
    assert all(issubclass(each.category, hydra.HydraWarning) for each in found)


@pytest.mark.parametrize("level", ["nonsense", None, 2.5])
def test_bad_level_around_code_costs_nothing_either(level, log, sink):
    """A mistaken level of `timed` or `catch` does not keep the code from running."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with log.timed("t", level):
            ran = True
        with log.catch(level=level):
            raise ValueError("logged")

    assert ran
    kit.quiet()
    assert [("t", "info"), ("uncaught exception", "info")] == [
        (r["message"], r["level"]) for r in sink.records
    ]


@pytest.mark.parametrize("name", [42, None, b"x", ("a",)])
def test_odd_logger_name_costs_no_record(name, sink):
    """A logger may have a name that is no string."""
    kit.configure(sink, layers={"shop": {"level": "error"}})
    hydra.get_logger(name).info("m")

    assert str(name) == last(sink)["logger"]


def test_levels_by_name_and_number(log, sink):
    """Aliases, any case, and numbers between the named ones are levels."""
    given = ["trace", "WARN", "Fatal", 25, "25", "level25", 0, 5, 1000]
    for level in given:
        log.log(level, "m")
    kit.quiet()

    expected = [
        "trace",
        "warning",
        "critical",
        "level25",
        "level25",
        "level25",
        "trace",
        "level1000",
    ]
    # 0 is below trace, which nobody wants.
    assert expected == [r["level"] for r in sink.records]


def test_methods_and_functions_say_the_same(log, sink):
    """Each method has a module-level function; aliases are the same thing."""
    names = ["trace", "debug", "info", "warning", "warn", "error", "critical", "fatal"]
    for name in names:
        getattr(log, name)("m %s", name, where="method", extra={"x": 1})
        getattr(hydra, name)("m %s", name, where="function", extra={"x": 1})
    log.log("info", "m", where="method")
    hydra.log("info", "m", where="function")
    kit.quiet()
    records = [
        {k: v for k, v in r.items() if k not in {"timestamp", "id", "logger", "where"}}
        for r in sink.records
    ]

    assert 2 * (len(names) + 1) == len(records)
    assert records[::2] == records[1::2]
    assert ["shop", "root"] == [r["logger"] for r in sink.records[:2]]


def test_extra_is_more_fields(log, sink):
    """`extra` is merged as `logging` does; what the call names itself wins, and its place stays."""
    log.info("m", extra={"a": 1, "b": 2}, b=3, c=4)
    assert [("a", 1), ("b", 3), ("c", 4)] == list(fields(sink).items())

    log.info("m", extra={"exc_info": 1, "extra": 2, "stacklevel": 3})
    assert {"exc_info": 1, "extra": 2, "stacklevel": 3} == fields(sink)

    log.info("m", extra={})
    assert {} == fields(sink)

    log.info("m", extra=[1, 2], c=1)
    assert {"c": 1, "extra": [1, 2]} == fields(sink)


def test_stack_info(log, sink):
    """`stack_info` adds the stack of the call, which ends at the caller."""
    log.info("m", stack_info=True)
    stack = fields(sink)["stack"]

    assert "test_stack_info" in stack
    assert "/hydra/logger/" not in stack
    assert stack.rstrip().splitlines()[-1].strip().startswith("log.info(")


def test_call_site_and_stacklevel(sink):
    """With `callsite` each record says where it was logged; `stacklevel` says how far up."""
    kit.configure(sink, callsite=True)
    log = hydra.get_logger("shop")

    def helper(level):
        log.info("m", stacklevel=level)

    line = sys._getframe().f_lineno
    log.info("m")
    here = fields(sink)
    helper(2)
    caller = fields(sink)
    helper(1)
    own = fields(sink)
    helper(10_000)
    highest = fields(sink)

    assert {
        "code.file.path": __file__,
        "code.line.number": line + 1,
        "code.function.name": "test_call_site_and_stacklevel",
    } == here
    assert (line + 3, "test_call_site_and_stacklevel") == tuple(caller.values())[1:]
    assert own["code.function.name"].endswith("helper")
    assert highest["code.line.number"] > 0


def test_call_site_of_other_ways_to_log(sink):
    """`exception`, `catch`, `timed` and the functions name the user's code, too."""
    kit.configure(sink, callsite=True)
    log = hydra.get_logger("shop")
    log.exception("m")
    hydra.info("m")
    hydra.log("info", "m")
    with log.timed("m"):
        pass
    with log.catch():
        raise ValueError("x")
    kit.quiet()

    found = {r["code.function.name"] for r in sink.records}
    assert {"test_call_site_of_other_ways_to_log"} == found


def test_forms_of_exc_info(log, sink):
    """True, an exception, a tuple: all name the exception; nothing to name is no exception."""
    try:
        raise ValueError("told")
    except ValueError as error:
        for given in (True, 1, error, sys.exc_info()):
            log.info("m", exc_info=given)
            found = last(sink)["exception"]
            assert ("ValueError", "told") == (found["type"], found["message"])
            assert "test_forms_of_exc_info" in found["stacktrace"]
        log.exception("m")
        assert "told" == last(sink)["exception"]["message"]
        hydra.log_exception("m")
        assert ("error", "told") == (last(sink)["level"], last(sink)["exception"]["message"])
        log.exception("m", exc_info=False)
        assert "exception" not in last(sink)
    for given in (True, None, False, (None, None, None), 0):
        log.info("m", exc_info=given)
        assert "exception" not in last(sink)


@pytest.mark.parametrize("kind", [Falsy, Unsure])
def test_exceptions_that_do_not_say_true(kind, log, sink):
    """An exception is logged whatever it says when it is asked for its truth."""
    log.info("m", exc_info=kind("told"))
    assert kind.__name__ == last(sink)["exception"]["type"].rpartition(".")[2]

    with log.catch():
        raise kind("told")
    assert "told" == last(sink)["exception"]["message"]

    with pytest.raises(kind), log.timed("t"):
        raise kind("told")
    assert ("error", "told") == (last(sink)["level"], last(sink)["exception"]["message"])


def test_causes(log, sink):
    """What led to an exception stands in its causes."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError:
        log.exception("m")

    assert ["KeyError"] == [cause["type"] for cause in last(sink)["exception"]["causes"]]


def test_lazy_is_called_once_and_only_when_wanted(sink, other):
    """`hydra.lazy` is called after the level check, once for all destinations."""
    hydra.configure(
        level="info",
        destinations=[kit.destination(sink, "a"), kit.destination(other, "b", level="warning")],
    )
    calls = []

    def compute():
        calls.append(None)
        return {"n": len(calls)}

    hydra.debug("m", value=hydra.lazy(compute))
    assert calls == []
    hydra.error("m", value=hydra.lazy(compute))
    assert {"value": {"n": 1}} == fields(sink) == fields(other)
    assert len(calls) == 1

    def broken():
        raise RuntimeError("no")

    assert hydra.QUEUED is hydra.info("m", value=hydra.lazy(broken), kept=1)
    assert fields(sink)["kept"] == 1


def test_merge_order(log, sink):
    """Bound, context, call: the place of the first, the value of the last."""
    bound = log.bind(a="bound", b="bound", c="bound")
    with hydra.context(b="context", c="context", d="context"):
        bound.info("m", c="call", d="call", e="call")

    expected = {"a": "bound", "b": "context", "c": "call", "d": "call", "e": "call"}
    assert list(expected.items()) == list(fields(sink).items())

    with hydra.context(x=1), hydra.context(y=2, x=3):
        bound.info("m", z=4)
    assert ["a", "b", "c", "x", "y", "z"] == list(fields(sink))
    assert 3 == fields(sink)["x"]

    bound.info("m")
    assert ["a", "b", "c"] == list(fields(sink))


def test_merge_order_is_the_same_with_processors(sink):
    """A processor sees and keeps the order that the line has without it."""
    orders = []
    for processors in ([], [lambda log, method, event: event]):
        kit.configure(sink, processors=processors)
        log = hydra.get_logger("shop").bind(a=1, b=1)
        with hydra.context(b=2, c=2):
            log.info("m %d", 1, c=3, d=3, id=4, extra={"z": 0})
        orders.append(list(last(sink).items()))

    assert orders[0] == orders[1]


def test_bind_and_unbind_leave_the_logger_alone(log, sink):
    """Binding makes another logger; fields given as a mapping are copied."""
    given = {"a": 1}
    first = log.bind(**given)
    second = first.bind(b=2)
    third = second.unbind("a", "never there")
    given["a"] = 9

    for each, expected in ((log, {}), (first, {"a": 1}), (second, {"a": 1, "b": 2}),
                           (third, {"b": 2})):  # fmt: skip
        each.info("m")
        assert expected == fields(sink)
    assert {"shop"} == {each.name for each in (log, first, second, third)}


def test_bound_fields_are_kept_across_configurations(log, sink, other):
    """A logger that is kept uses the new destination and the new redaction."""
    bound = log.bind(token="t", plan="p")
    bound.info("m")
    assert {"token": "***", "plan": "p"} == fields(sink)

    kit.configure(other, redact={"keys": ["plan"]})
    bound.info("m")

    assert {"token": "***", "plan": "***"} == fields(other)
    assert len(sink.records) == 1


def test_loggers_are_values(log, sink):
    """Loggers can be copied, pickled and compared by their name; state is in the engine."""
    bound = log.bind(a=1).tracked()
    for twin in (copy.copy(bound), copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):
        receipt = twin.info("m")
        assert receipt.id is not None
        assert ("shop", {"a": 1}) == (last(sink)["logger"], fields(sink))
    assert "<Logger 'shop'>" == repr(bound)


def test_is_enabled_for(sink):
    """The answer is that of the next call, also after another configuration."""
    kit.configure(sink, level="warning", layers={"loud": {"level": "trace"}})
    log, loud = hydra.get_logger("shop"), hydra.get_logger("loud.child")

    assert [False, True, True] == [log.is_enabled_for(x) for x in ("info", 30, "fatal")]
    assert loud.is_enabled_for("trace")
    assert not loud.is_enabled_for(1)
    kit.configure(sink, level="error")
    assert [False, False, True] == [log.is_enabled_for(x) for x in ("info", 30, "fatal")]
    for bad in ("nonsense", None, -1):
        with pytest.raises(ValueError):
            log.is_enabled_for(bad)


def test_unwanted_levels_use_no_number(sink):
    """A call that nobody wants leaves no gap and is not counted."""
    kit.configure(sink, level="info")
    for _ in range(10):
        assert hydra.FILTERED is hydra.debug("m", n=1)
        hydra.info("m")

    assert 10 == kit.closed().accepted
    assert {10, 1} == set(kit.proven(sink.lines).values())


def test_first_calls_of_many_threads(sink):
    """Threads whose first call meets in the same logger use one stream."""
    kit.configure(sink)
    start = threading.Barrier(8)

    def work(n):
        log = hydra.get_logger("fresh")
        start.wait()
        for _ in range(50):
            log.info("m")
            log.error("m")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert 800 == kit.closed().delivered
    totals = kit.proven(sink.lines)
    assert [1, 400, 400] == sorted(totals.values())
    assert hydra.get_logger("fresh")._routes is hydra.get_logger("fresh")._routes
