"""
Configuring, reconfiguring, flushing and closing, and what the ledger says of it.
"""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
import trio

import hydra
from hydra.engine import ENGINE
from tests.contract import kit

pytestmark = pytest.mark.integration


def lines_of(path):
    """Return the records of the file at *path*."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def threads():
    """Return how many threads the process has, those of the engine included."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


@pytest.mark.parametrize("kind", ["plain", "asyncio", "trio"])
def test_running_configures_and_closes(kind, sink):
    """`with hydra.running(...)` is a whole life, also when its block raises."""
    wanted = {"level": "info", "destinations": [kit.destination(sink)]}

    def plain():
        with pytest.raises(ValueError), hydra.running(wanted, control_records=True):
            hydra.info("inside")
            assert not ENGINE.run.closed
            raise ValueError

    async def on_loop():
        with pytest.raises(ValueError):
            async with hydra.running(wanted):
                await hydra.info("inside")
                raise ValueError

    {"plain": plain, "asyncio": lambda: asyncio.run(on_loop()), "trio": lambda: trio.run(on_loop)}[
        kind
    ]()

    assert ENGINE.run.closed
    assert ["inside"] == sink.messages
    assert ["close"] == [control["event"] for control in sink.controls]


def test_wrong_configuration_in_running_closes_nothing(sink):
    """When `running` cannot be entered, what was in force stays in force."""
    kit.configure(sink)
    run = ENGINE.run
    with pytest.raises(hydra.ConfigurationError), hydra.running(level="nonsense"):
        pytest.fail("entered")

    assert run is ENGINE.run
    assert not run.closed
    hydra.info("still there")
    kit.quiet()
    assert ["still there"] == sink.messages


@pytest.mark.parametrize("options", [{"level": "x"}, {"queue": {"records": -1}}, {"nonsense": 1}])
def test_configuration_error_keeps_the_old_one(options, sink, other):
    """A configuration with mistakes changes nothing at all."""
    kit.configure(sink)
    log = hydra.get_logger("shop")
    log.info("before")
    with pytest.raises(hydra.ConfigurationError):
        kit.configure(other, **options)
    log.info("after")
    kit.closed()

    assert ["before", "after"] == sink.messages
    assert [] == other.lines


def test_reconfigure_under_load_loses_nothing(tmp_path):
    """Four threads log on while the configuration changes again and again."""
    paths = [tmp_path / f"{n}.log" for n in range(2)]
    changes, each_sends = 6, 1_500
    sent = [0] * 4

    def configure(n):
        hydra.configure(
            level="info",
            destinations=[{"name": "app", "type": "file", "path": str(paths[n % 2])}],
        )

    def work(who):
        log = hydra.get_logger("shop", who=who)
        for n in range(each_sends):
            call = log.error if n % 50 == 0 else log.info
            receipt = call("n", n=n)
            assert receipt is hydra.QUEUED or receipt.id
            sent[who] = n + 1
            # A round's worth at a time, so that each change finds the threads at work.
            while n > each_sends / changes * rounds[0]:
                threading.Event().wait(0.001)

    rounds = [1]
    configure(0)
    workers = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for each in workers:
        each.start()
    for n in range(1, changes):
        while min(sent) < each_sends / changes * (n - 0.5):
            threading.Event().wait(0.001)
        configure(n)
        rounds[0] = n + 1
    for each in workers:
        each.join()
    stats = hydra.close(20)

    found = [record for path in paths for record in lines_of(path)]
    ours = [record for record in found if record["logger"] == "shop"]
    runs = {record["id"].partition(".")[0] for record in ours}
    assert changes == len(runs)
    for who in range(4):
        mine = [record["n"] for record in ours if record["who"] == who]
        assert sent[who] == len(mine) == len(set(mine))
        for path in paths:
            # Over all the runs that wrote this file, too.
            there = [r["n"] for r in lines_of(path) if r.get("who") == who]
            assert there == sorted(there)
    assert (stats.dropped, stats.pending) == (0, 0)
    assert stats.balanced
    for path in paths:
        for run in runs:
            kit.proven(path.read_bytes().splitlines(), run)


def test_same_file_twice_keeps_the_order(tmp_path):
    """The writer of the new configuration waits for the old one to finish with the file."""
    path = tmp_path / "app.log"
    for round_ in range(5):
        hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
        for n in range(200):
            hydra.info("n", n=round_ * 200 + n)
    kit.closed()

    found = [record["n"] for record in lines_of(path) if "n" in record]
    assert list(range(1000)) == found


def test_close_is_idempotent(sink):
    """Close may be called again, by many threads and on loops: there is one close record."""
    kit.configure(sink)
    for _ in range(10):
        hydra.info("n")
        hydra.error("n")
    results = []
    calls = [
        lambda: results.append(hydra.close()),
        lambda: results.append(asyncio.run(hydra.aclose())),
        lambda: results.append(trio.run(hydra.aclose)),
    ]
    callers = [threading.Thread(target=call) for call in calls * 2]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    for call in calls:
        call()

    assert {(20, 20, 0, True)} == {
        (s.accepted, s.delivered, s.pending, s.balanced) for s in results
    }
    assert 1 == len(sink.controls)
    assert [1, 10, 10] == sorted(sink.controls[0]["totals"].values())
    kit.proven(sink.lines)


def test_records_after_close_are_written_directly(tmp_path, call_style):
    """After close a call writes through the file itself, in order, and starts no thread."""
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    hydra.info("before")
    hydra.error("before")
    kit.closed()
    before = threads()

    async def scenario(call):
        seen = []
        for n in range(20):
            receipt = await call((hydra.error if n % 5 == 0 else hydra.info)("after", n=n))
            seen.append((path.read_bytes().count(b'"after"'), receipt.wait(0).settled))
        return seen

    seen = call_style.run(scenario)

    # Written when the call returns, so there is nothing left to wait for.
    assert [(n + 1, True) for n in range(20)] == seen
    assert before >= threads()
    assert list(range(20)) == [r["n"] for r in lines_of(path) if "n" in r]
    stats = kit.balanced(hydra.close())
    assert (22, 22, 0) == (stats.accepted, stats.delivered, stats.pending)


def test_threads_that_log_while_another_closes(tmp_path):
    """Every record around a close is in the file, whoever wrote it, once."""
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    start = threading.Barrier(5)

    def work(who):
        log = hydra.get_logger("shop", who=who)
        start.wait()
        for n in range(500):
            log.info("n", n=n)

    workers = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for each in workers:
        each.start()
    start.wait()
    hydra.close()
    for each in workers:
        each.join()
    stats = kit.balanced(hydra.close())

    found = [record for record in lines_of(path) if record["logger"] == "shop"]
    assert 2_000 == len(found) == len({record["id"] for record in found})
    assert (2_000, 0, 0) == (stats.delivered, stats.dropped, stats.pending)
    for who in range(4):
        assert list(range(500)) == [r["n"] for r in found if r["who"] == who]


def test_configure_after_close(sink, other):
    """A closed engine is brought back by the next configuration, with a run of its own."""
    kit.configure(sink)
    hydra.info("one")
    first = kit.run_id()
    kit.closed()
    kit.configure(other)
    hydra.info("two")

    assert first != kit.run_id()
    kit.closed()
    assert (["one"], ["two"]) == (sink.messages, other.messages)


@pytest.mark.parametrize("kind", ["plain", "asyncio", "trio"])
def test_barriers_return_stats(kind, sink):
    """Flush and close give the stats: everything accepted before is delivered by then."""
    kit.configure(sink)

    async def on_loop():
        found = []
        for n in range(5):
            await hydra.info("n")
            await hydra.error("n")
            found.append(await (hydra.aflush() if n < 4 else hydra.aclose()))
        return found

    def plain():
        found = []
        for n in range(5):
            hydra.info("n")
            hydra.error("n")
            found.append(hydra.flush() if n < 4 else hydra.close())
        return found

    run = {
        "plain": plain,
        "asyncio": lambda: asyncio.run(on_loop()),
        "trio": lambda: trio.run(on_loop),
    }
    found = run[kind]()

    assert all(isinstance(each, hydra.Stats) for each in found)
    assert [(2 * n, 2 * n, 0, True) for n in range(1, 6)] == [
        (s.accepted, s.delivered, s.pending, s.balanced) for s in found
    ]
    with pytest.raises(AttributeError):
        found[0].accepted = 1


def test_flush_gives_up_in_time(sink):
    """A flush in vain ends with its timeout, raises nothing, and the stats tell what is left."""
    kit.configure(sink)
    kit.block_writer(sink, hydra.get_logger("shop"))
    hydra.info("n")

    found = [hydra.flush(0.02), asyncio.run(hydra.aflush(0.02)), trio.run(hydra.aflush, 0.02)]

    assert [(2, 2, True)] * 3 == [(s.accepted, s.pending, s.balanced) for s in found]
    sink.open()
    assert kit.quiet().delivered == 2


def test_balance_holds_at_every_moment(sink):
    """Stats that are read while four threads log never show a loss."""
    kit.configure(sink, queue={"records": 50, "reserve": 5, "when_full": "drop_new"})
    stop = threading.Event()

    def work():
        log = hydra.get_logger("shop")
        while not stop.is_set():
            for _ in range(50):
                log.info("n")
            log.error("n")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for each in workers:
        each.start()
    readings = [hydra.stats() for _ in range(20)]
    stop.set()
    for each in workers:
        each.join()
    kit.closed()
    kit.proven(sink.lines)

    # Never negative: terminal counters are read first.
    assert all(r.accepted >= r.delivered + r.dropped for r in readings)
    assert readings == sorted(readings, key=lambda r: r.accepted)


def test_drops_are_declared_at_most_once_a_second(sink):
    """Drops are declared with ranges, levels and reasons; a second passes between two."""
    kit.configure(sink, queue={"records": 10, "reserve": 1, "when_full": "drop_new"})
    log = hydra.get_logger("shop")
    writer = ENGINE.run.services["app"].writer
    for _ in range(5):
        kit.block_writer(sink, log)
        for _ in range(10):
            log.info("fill")
        for _ in range(3):
            log.info("lost")
        log.warning("lost")
        sink.open()
        kit.quiet()
    early = [c for c in sink.controls if c["event"] == "drops"]
    total = writer.drops.total
    kit.closed()
    declared = [c for c in sink.controls if c["event"] == "drops"]

    assert 20 == total == sum(c["count"] for c in declared)
    # This takes less than a second, so all but the first are in the last one.
    assert len(early) <= 2
    assert len(declared) <= 3
    first = declared[0]
    assert ("warning", "app", "hydra.ledger") == (
        first["level"], first["destination"], first["logger"]
    )  # fmt: skip
    assert first["since"] <= first["until"] <= first["timestamp"]
    assert {"info", "warning"} == {d["level"] for c in declared for d in c["drops"]}
    assert {"queue_full"} == {d["reason"] for c in declared for d in c["drops"]}
    assert all(d["count"] <= d["to"] - d["from"] + 1 for c in declared for d in c["drops"])
    kit.proven(sink.lines)


def test_no_control_records_when_turned_off(sink):
    """`control_records=False` leaves only what the application logged."""
    kit.configure(
        sink, control_records=False, queue={"records": 10, "reserve": 1, "when_full": "drop_new"}
    )
    kit.block_writer(sink, hydra.get_logger("shop"))
    for _ in range(15):
        hydra.info("n")
    sink.open()
    stats = kit.closed()

    assert [] == sink.controls
    assert (11, 5) == (stats.delivered, stats.dropped)


def test_control_records_pass_level_filters(sink):
    """A destination for errors only still says that it was closed."""
    hydra.configure(level="error", destinations=[kit.destination(sink, level="critical")])
    hydra.error("below")
    hydra.critical("c")
    kit.closed()

    assert ["c"] == sink.messages
    assert [("close", "info")] == [(c["event"], c["level"]) for c in sink.controls]


def test_levels_per_destination_and_layer(sink, other):
    """Each record goes where its level and its logger's layer say, in gapless streams."""
    loud = kit.Sink()
    hydra.configure(
        level="info",
        destinations=[kit.destination(sink, "all"), kit.destination(other, "bad", level="warning")],
        layers={
            "loud": {"level": "trace", "destinations": [kit.destination(loud, "loud")]},
            "loud.not": {"level": "error"},
            "quiet": {"level": "critical"},
        },
    )
    for name in ("shop", "loud", "loud.child", "loud.not", "loudspeaker", "quiet"):
        log = hydra.get_logger(name)
        for level in ("trace", "info", "warning", "error", "critical"):
            log.log(level, level)
    stats = kit.closed()

    def got(where):
        return {(r["logger"], r["level"]) for r in where.records}

    usual = {
        (n, lv) for n in ("shop", "loudspeaker") for lv in ("info", "warning", "error", "critical")
    }
    strict = {("loud.not", "error"), ("loud.not", "critical"), ("quiet", "critical")}
    assert usual | strict == got(sink)
    assert {pair for pair in usual | strict if pair[1] != "info"} == got(other)
    assert {
        (n, lv)
        for n in ("loud", "loud.child")
        for lv in ("trace", "info", "warning", "error", "critical")
    } == got(loud)
    assert stats.delivered == len(sink.records) + len(other.records) + len(loud.records)
    for where in (sink, other, loud):
        kit.proven(where.lines)


# -- processors


def test_processors_run_in_order(sink):
    """Each gets what the one before returned, the message under `event`."""

    def first(log, method, event):
        assert (log.name, method) == ("shop", "info")
        return {**event, "seen": ["first"]}

    def second(log, method, event):
        event["seen"].append("second")
        event["event"] = event["event"].upper()
        return event

    kit.configure(sink, processors=[first, second])
    hydra.get_logger("shop").info("m %s", "x", a=1)
    kit.quiet()

    (record,) = sink.records
    assert ("M X", 1, ["first", "second"]) == (record["message"], record["a"], record["seen"])


def test_field_called_event_does_not_replace_the_message(sink):
    """A processor that is turned on must not cost a record its message."""
    kit.configure(sink, processors=[lambda log, method, event: event])
    hydra.info("the message", event="click", event_="taken")
    kit.quiet()

    (record,) = sink.records
    assert "the message" == record["message"]
    assert ("taken", "click") == (record["event_"], record["event__"])


class StructlogLike:
    """Stands for structlog's module, which need not be there."""

    class DropEvent(BaseException):
        """Known by its name alone."""


@pytest.mark.parametrize("how", ["None", "own", "structlog", "by name"])
def test_processors_may_drop(how, sink):
    """A record that a processor drops is suppressed: no number, no drop, counted once."""
    from hydra.processors import DropEvent

    kinds = {"own": DropEvent, "by name": StructlogLike.DropEvent}
    if how == "structlog":
        kinds[how] = pytest.importorskip("structlog").DropEvent

    def dropping(log, method, event):
        if event["event"] != "unwanted":
            return event
        if how == "None":
            return None
        raise kinds[how]

    kit.configure(sink, processors=[dropping])
    assert hydra.QUEUED is hydra.info("wanted")
    assert hydra.SAMPLED is hydra.info("unwanted")
    assert hydra.SAMPLED is hydra.error("unwanted")
    assert hydra.QUEUED is hydra.info("wanted")
    stats = kit.closed()

    assert (2, 2, 0, 2) == (stats.accepted, stats.delivered, stats.dropped, stats.suppressed)
    assert ["wanted"] * 2 == sink.messages
    kit.proven(sink.lines)


@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError, asyncio.CancelledError])
def test_failing_processors_cost_no_record(error, sink):
    """What a processor raises is shown in the record; the others still run."""

    def failing(log, method, event):
        event["half"] = True
        raise error("no")

    def after(log, method, event):
        return {**event, "after": True}

    kit.configure(sink, processors=[failing, after])
    assert hydra.QUEUED is hydra.info("m", a=1)
    kit.quiet()

    (record,) = sink.records
    assert ("m", 1, True) == (record["message"], record["a"], record["after"])
    assert f"failing: {error.__name__}" == record["processor_error"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("text", "text"),
        (b"bytes", "bytes"),
        (7, "7"),
        ([1], "[1]"),
        ({1: 2}, "m"),
        ({}, "m"),
        ({"a": 1}, "m"),
    ],
)
def test_odd_answers_of_processors(answer, said, sink):
    """A renderer's text becomes the message; no answer makes a call raise."""
    kit.configure(sink, processors=[lambda log, method, event: answer])
    assert hydra.QUEUED is hydra.info("m")
    kit.quiet()

    (record,) = sink.records
    assert said == record["message"]
