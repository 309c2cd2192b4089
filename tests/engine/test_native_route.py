"""
A compiled route by itself: what it holds, what it lets go, and what it does when something fails.
"""

from __future__ import annotations

import gc
import signal
import sys
import tracemalloc
import weakref
from collections import deque
from contextlib import ExitStack, suppress
from itertools import count, pairwise
from time import time_ns

import pytest

import hydra
from hydra.core.context import variable
from hydra.core.levels import ERROR, INFO
from hydra.engine import ENGINE
from tests._compiled import needs_compiled, set_clock, watched
from tests.contract.kit import PATIENCE, Sink, balanced, closed, configure, proven

pytestmark = [pytest.mark.integration, needs_compiled]


@pytest.fixture(name="log")
def _log():
    return hydra.get_logger("shop")


@pytest.fixture(name="left")
def _left(monkeypatch):
    with watched(monkeypatch) as left:
        yield left


def route_of(log, level=INFO, **other):
    """Return the logger's route, or one like it that has *other* parts."""
    found = log._routes.by_level[level]
    if not other:
        return found
    names = [name for name in vars(type(found)) if not name.startswith("_")]
    return type(found)(**{name: getattr(found, name) for name in names} | other)


# -- references

LONG = "a message that only this module has " * 4
FLOAT, INTEGER = 1234.5, 2**40 + 1


def _raising():
    raise OSError("the clock stands")


def _ways(log):
    """Return what can be done with *log*: by name, functions of the number of the call."""
    bound, tracked = log.bind(shop=LONG), log.tracked()

    def wrongly(call):
        def attempt(n):
            with suppress(TypeError):
                call()

        return attempt

    return {
        "plain": lambda n: log.info(LONG, number=INTEGER, text=LONG, real=FLOAT, none=None),
        "bound": lambda n: bound.info(LONG, number=INTEGER),
        "bound twice": lambda n: bound.info(LONG, shop=INTEGER),
        "by a function": lambda n: log.log(20, LONG, number=INTEGER),
        "error": lambda n: bound.error(LONG, number=INTEGER),
        "tracked": lambda n: tracked.info(LONG, number=INTEGER),
        "arguments": lambda n: log.info("%s", LONG),
        "half a pair": lambda n: log.info("\ud800", text=LONG),
        "too long": lambda n: log.info(LONG * 40, text=LONG),
        "huge number": lambda n: log.info(LONG, number=2**70),
        "list": lambda n: log.info(LONG, number=[INTEGER]),
        "no message": wrongly(lambda: log.info(a=LONG)),
        "number for a name": wrongly(lambda: log.info(LONG, **{1: LONG})),
        "filtered": lambda n: log.trace(LONG, number=INTEGER),
    }


@pytest.mark.parametrize("around", [False, True], ids=["", "in a context"])
@pytest.mark.parametrize("sinks", [1, 3])
@pytest.mark.parametrize("way", _ways(hydra.get_logger("names only")))
def test_nothing_is_kept(log, way, sinks, around):
    """However often a way is taken, nobody holds more of what took part, nor more memory."""
    times = 300 if way in {"error", "tracked"} else 2_000
    configure(
        *[(lambda lines: None) for _ in range(sinks)], level="debug",
        queue={"records": 1000, "bytes": "1 MiB"}, control_records=False,
    )  # fmt: skip
    call = _ways(log)[way]
    parts = [LONG, FLOAT, INTEGER, log, hydra.QUEUED, hydra.FILTERED, hydra.DROPPED]

    def take():
        for n in range(times):
            call(n)
            if n % 100 == 99:
                hydra.flush(PATIENCE)

    def held():
        hydra.flush(PATIENCE)
        gc.collect()
        each = [*parts, variable.get()]
        for route in log._routes.by_level.values():
            if type(route).__name__ == "Route":
                each += [route, route.encoder, route.middle, route.prefix, route.home]
                each += [route.careful, route.numbers]
        return [sys.getrefcount(part) for part in each]

    with hydra.context(request=LONG) if around else ExitStack():
        log.debug(LONG)
        log.error(LONG)
        take()
        counts = held()
        tracemalloc.start()
        try:
            take()
            sizes = []
            # What is kept for good adds up every time; a table that grew does so once.
            for _ in range(3):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
                take()
                more = [now - then for now, then in zip(held(), counts, strict=True)]
            sizes.append(tracemalloc.get_traced_memory()[0])
            grown = min(after - before for before, after in pairwise(sizes))
        finally:
            tracemalloc.stop()

    assert [] == [each for each in more if abs(each) > 20], more
    assert grown < times * 16


@pytest.mark.parametrize("where", ["clock", "tick"])
def test_nothing_is_kept_of_a_failure(log, where):
    """What the clock or its tick raises leaves no reference behind, however often it does."""
    configure(lambda lines: None)
    log.info(LONG)
    encoder, real = ENGINE.run.encoder, ENGINE.run.encoder._on_tick
    # Each time another millisecond.
    set_clock(log, _raising if where == "clock" else count(10**18, 2_000_000).__next__)
    encoder._on_tick = _raising
    parts = [LONG, log, encoder]
    before = [sys.getrefcount(part) for part in parts]
    try:
        for _ in range(1_000):
            with pytest.raises(OSError, match="the clock stands"):
                log.info(LONG)
    finally:
        encoder._on_tick = real
    more = [sys.getrefcount(part) - then for part, then in zip(parts, before, strict=True)]

    assert [] == [each for each in more if abs(each) > 20], more


def test_freed_with_its_run(log):
    """A change of configuration leaves no route to the old run behind."""
    configure(Sink())
    log.info("one")
    log.error("two")
    encoder = route_of(log).encoder
    configure(Sink())
    log.info("three")
    hydra.flush(PATIENCE)
    gc.collect()
    routes = [each for each in gc.get_objects() if type(each).__name__ == "Route"]

    assert [] == [each for each in routes if each.encoder is encoder]
    assert route_of(log) in routes


def test_freed_out_of_a_circle(log):
    """A route that holds what holds it is found by the collector, and so is a method."""
    configure(Sink())
    log.info("m")

    class Holder:
        def __call__(self, *given):
            return None

    holder = Holder()
    holder.route = route_of(log, lost=holder)
    holder.method = type(vars(hydra.Logger.__mro__[1])["info"])(holder, 20, hydra.FILTERED)
    gone = weakref.ref(holder)
    del holder
    gc.collect()

    assert gone() is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"middle": "text"}, TypeError),
        ({"prefix": None}, TypeError),
        ({"queues": []}, TypeError),
        ({"numbers": 1}, TypeError),
        ({"context": None}, TypeError),
        ({"home": None}, TypeError),
        ({"room": "much"}, TypeError),
        ({"room": 2**100}, OverflowError),
        ({"appends": ()}, ValueError),
        ({"queues": (None,) * 17, "entries": (None,) * 17, "appends": (None,) * 17}, ValueError),
    ],
    ids=lambda value: "" if isinstance(value, type) else "+".join(value),
)
def test_parts_of_the_wrong_kind(log, other, said):
    """What cannot work is refused when the route is made."""
    configure(Sink())
    log.info("m")

    with pytest.raises(said):
        route_of(log, **other)


def test_parts_that_are_missing(log):
    """Each part is needed; the message names the one that is not there."""
    configure(Sink())
    log.info("m")
    with pytest.raises(TypeError, match="Route needs the keyword"):
        type(route_of(log))()


@pytest.mark.parametrize("room", [-1, 0, 10**9])
def test_room_that_makes_no_sense(log, room):
    """Too much room is cut to what the buffer holds; without any, everything is left to Python."""
    sink = Sink()
    configure(sink, control_records=False)
    log.info("m")
    route = route_of(log, room=room)
    for length in (10, 3_900, 4_000, 4_050, 4_100, 9_000):
        assert hydra.QUEUED is route(log, "x" * length, (), {})
    closed()

    assert [1, 10, 3_900, 4_000, 4_050, 4_100, 9_000] == [len(each) for each in sink.messages]


# -- failures


def test_clock_that_raises(log):
    """What the clock raises goes on to the caller, and costs no number."""
    sink = Sink()
    configure(sink)
    log.info("before")
    set_clock(log, _raising)
    for method in (log.info, log.error):
        with pytest.raises(OSError, match="the clock stands"):
            method("not logged")
    stats = closed()

    assert 1 == stats.accepted


def test_clock_without_memory(log):
    """A clock that finds no memory costs the record, which is counted, and raises nothing."""

    def time_ns():
        raise MemoryError

    configure(Sink())
    log.info("before")
    set_clock(log, time_ns)

    assert hydra.DROPPED is log.info("lost")
    stats = closed()
    assert {("info", "no_memory"): 1} == stats.drops


def test_interrupted_at_the_tick(log):
    """A Ctrl-C in the only Python code of a compiled call reaches the caller; no number is gone."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    sink = Sink()
    configure(sink)
    log.info("before")
    encoder = ENGINE.run.encoder
    real = encoder._on_tick
    before = signal.signal(signal.SIGUSR1, interrupt)
    encoder._on_tick = lambda: signal.raise_signal(signal.SIGUSR1)
    encoder.moment = (0, encoder.moment[1])
    try:
        with pytest.raises(KeyboardInterrupt):
            log.info("not logged")
    finally:
        encoder._on_tick = real
        signal.signal(signal.SIGUSR1, before)
    log.info("after")
    closed()

    assert ["before", "after"] == sink.messages
    proven(sink.lines)


def _fail(error):
    def fail(*given):
        raise error

    return fail


@pytest.mark.parametrize("first", [True, False])
def test_queue_that_takes_no_line(log, first):
    """Where one queue finds no memory, the other has the line, and the drop is counted."""
    one, two = Sink(), Sink()
    configure(one, two)
    log.info("before")
    appends = list(route_of(log).appends)
    appends[0 if first else 1] = _fail(MemoryError())
    route = route_of(log, appends=tuple(appends))
    for _ in range(3):
        assert hydra.QUEUED is route(log, "half", (), {})
    stats = closed()

    assert {("info", "no_memory"): 3} == stats.drops
    assert sorted([4, 1]) == sorted([len(one.messages), len(two.messages)])
    proven(one.lines)
    proven(two.lines)


def test_no_queue_takes_the_line(log):
    """Where no queue finds memory, the receipt says that the record is dropped."""
    sink = Sink()
    configure(sink)
    log.info("before")

    assert hydra.DROPPED is route_of(log, appends=(_fail(MemoryError()),))(log, "lost", (), {})
    stats = closed()
    assert {("info", "no_memory"): 1} == stats.drops
    proven(sink.lines)


class Queue:
    """What a route sees of a queue whose writer sleeps; notes in *rung* that it was rung."""

    __slots__ = ("_answer", "idle", "limit")

    def __init__(self, rung: list[Queue], error: type[BaseException] | None = None) -> None:
        self.idle, self.limit = True, 10
        self._answer = rung, error

    def ring(self) -> None:
        rung, error = self._answer
        rung.append(self)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_loss_that_cannot_be_noted(log, error):
    """The other queues are noted and rung all the same; a Ctrl-C goes on, no memory does not."""
    told, rung = [], []

    def lost(number, place):
        told.append(place)
        raise error

    configure(Sink(), Sink())
    log.info("before")
    route = route_of(
        log,
        queues=tuple(Queue(rung) for _ in range(3)),
        entries=(deque(), deque(), taken := deque()),
        appends=(_fail(MemoryError()), _fail(MemoryError()), taken.append),
        lost=lost,
    )
    with ExitStack() if error is MemoryError else pytest.raises(error):
        assert hydra.QUEUED is route(log, "m", (), {})

    assert [0, 1] == told
    assert 3 == len(rung)
    assert 1 == len(taken)


def test_bell_without_memory(log):
    """A queue that cannot be rung for want of memory has the record; the others are rung."""
    rung = []

    configure(Sink(), Sink())
    log.info("before")
    entries = (deque(), deque())
    route = route_of(
        log,
        queues=tuple(Queue(rung, MemoryError) for _ in entries),
        entries=entries,
        appends=tuple(each.append for each in entries),
    )

    assert hydra.QUEUED is route(log, "m", (), {})
    assert [1, 1, 2] == [*map(len, entries), len(rung)]


def test_error_whose_stream_finds_no_memory(log):
    """An ERROR that C could not hand over is handed over by the Python function."""
    sink = Sink()
    configure(sink)
    log.error("before")
    route = route_of(log, ERROR, send=_fail(MemoryError()))

    assert route(log, "failed", (), {}).wait(PATIENCE).delivered
    closed()
    assert ["before", "failed"] == sink.messages


def test_no_collection(log):
    """A compiled call starts no collection, for that may run anything in the middle of it."""
    sink, ran = Sink(), []
    configure(sink, control_records=False)
    log = log.bind(shop=1)
    now = time_ns()

    def collected(phase, info):
        ran.append(phase)

    with hydra.context(request=2):
        log.info("there is a run")
        set_clock(log, lambda: now)
        for _ in range(3):
            log.info("m")
        thresholds = gc.get_threshold()
        gc.callbacks.append(collected)
        gc.set_threshold(1)
        try:
            for _ in range(200):
                log.info("m")
        finally:
            gc.set_threshold(*thresholds)
            gc.callbacks.remove(collected)
    closed()

    assert [] == ran
    assert [(1, 2)] * 204 == [(record["shop"], record["request"]) for record in sink.records]


# -- signals


@pytest.fixture(name="alarm")
def _alarm():
    """Have a function called by a timer, in the middle of what goes on: once, or each time."""
    handle = None
    before = signal.signal(signal.SIGALRM, lambda *given: handle and handle())

    def after(seconds, function, again=0.0):
        nonlocal handle
        handle = function
        signal.setitimer(signal.ITIMER_REAL, seconds, again)

    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    handle = None
    signal.signal(signal.SIGALRM, before)


def _numbers(lines):
    """Return the numbers in the ids of ordinary *lines*, in the order of the lines."""
    ids = [line.rpartition(b',"id":"')[2] for line in lines if b'"hydra.ledger"' not in line]
    return [int(each.partition(b"r-")[2].rstrip(b'"}\n')) for each in ids]


def test_handler_that_logs(log, alarm, left):
    """However often a handler logs between compiled calls, numbers are in order and without gap."""
    sink = Sink()
    # A handler must not wait for room: there is always some.
    configure(sink, queue={"records": 50_000, "bytes": "64 MiB"})
    log.info("before", n=0)
    left.clear()
    beats = calls = 0

    def beat():
        nonlocal beats
        beats += 1
        log.info("beat", n=beats)

    alarm(0.000_3, beat, again=0.000_3)
    while beats < 1_000:
        calls += 1
        log.info("main", n=calls)
        if calls % 10_000 == 0:
            hydra.flush(PATIENCE)
    alarm(0, None)
    stats = balanced(closed())

    assert {} == stats.drops
    assert list(range(1, calls + beats + 2)) == _numbers(sink.lines)
    assert sorted(sink.messages) == ["beat"] * beats + ["before"] + ["main"] * calls
    assert [] == left


def test_handler_that_raises(log, alarm, left):
    """A call that a handler cuts short has queued its record, or taken no number."""

    class Stop(Exception):
        pass

    def stop():
        raise Stop

    sink = Sink()
    # A handler must not wait for room: there is always some.
    configure(sink, queue={"records": 50_000, "bytes": "64 MiB"})
    log.info("before", n=0)
    left.clear()
    calls = stops = 0
    while stops < 300:
        try:
            alarm(0.000_5 + stops * 1e-6, stop)
            while True:
                calls += 1
                log.info("main", n=calls)
                if calls % 10_000 == 0:
                    hydra.flush(PATIENCE)
        except Stop:
            stops += 1
    hydra.flush(PATIENCE)
    stats = balanced(closed())

    assert {} == stats.drops
    assert list(range(1, stats.accepted + 1)) == _numbers(sink.lines)
    assert calls - stops <= stats.accepted - 1 <= calls
    # A flush that is cut short may leave a full queue, which is Python's to wait for.
    assert len(left) < calls / 10
