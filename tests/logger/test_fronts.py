"""
Fronts: layers named in the call, each front with files, counts and a close of its own.
"""

from __future__ import annotations

import copy
import enum
import gc
import json
import os
import pickle
import threading
import warnings
import weakref

import pytest

import hydra
from hydra.config import load, scoped
from hydra.engine import ENGINE, _waiting
from hydra.engine._reading import together
from tests.contract import kit
from tests.contract.kit import LEDGER, PATIENCE, Sink

pytestmark = pytest.mark.integration

FRONTS = (hydra.HydraLogger, hydra.AsyncHydraLogger)
METHODS = {
    "trace": "trace", "debug": "debug", "info": "info", "warning": "warning", "warn": "warning",
    "error": "error", "critical": "critical", "fatal": "critical", "exception": "error",
}  # fmt: skip


def layered(path, **more) -> dict:
    """Return a configuration with the layer API in one file and everything else in another."""
    return {
        "level": "trace",
        "destinations": [{"type": "file", "name": "rest", "path": str(path / "rest.log")}],
        "layers": {
            "API": {
                "destinations": [{"type": "file", "name": "app", "path": str(path / "api.log")}]
            }
        },
    } | more


def records(path) -> list[dict]:
    """Return what was logged into the file at *path*, without control records."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [line for line in lines if line["logger"] != LEDGER]


def messages(path) -> list[str]:
    """Return the messages of the records in the file at *path*."""
    return [each["message"] for each in records(path)]


def run_of(front):
    """Return the run in force of the scope of *front*."""
    return front._lease.scope.run


def closed(front) -> hydra.Stats:
    """Close *front*, of either kind, and return its stats after checking that they balance."""
    front._lease.scope.close(PATIENCE)
    return kit.balanced(front.stats())


@pytest.fixture(name="front", params=FRONTS, ids=lambda kind: kind.__name__)
def _front(request, tmp_path):
    return request.param(layered(tmp_path))


# -- calls


def test_every_level(front, call_style, tmp_path):
    """Each method logs at its level into the layer's file, called plainly or awaited."""

    async def scenario(call):
        for method in METHODS:
            receipt = await call(getattr(front, method)("API", "%s placed", method, n=1))

            assert isinstance(receipt, hydra.Receipt)
        await call(front.log(25, "API", "by number"))
        await call(front.log("debug", "API", "by name"))

    call_style.run(scenario)
    closed(front)
    found = records(tmp_path / "api.log")

    assert [*METHODS.values(), "level25", "debug"] == [each["level"] for each in found]
    assert [*(f"{name} placed" for name in METHODS), "by number", "by name"] == [
        each["message"] for each in found
    ]
    assert {"API"} == {each["logger"] for each in found}
    assert [] == records(tmp_path / "rest.log")


def test_one_position_is_the_message(front, tmp_path):
    """A message alone goes to the default layer, whatever it looks like."""
    front.info("API")
    front.log("info", "100 %s")
    closed(front)

    assert ["API", "100 %s"] == messages(tmp_path / "rest.log")
    assert {"default"} == {each["logger"] for each in records(tmp_path / "rest.log")}


@pytest.mark.parametrize("name", ["default", "DEFAULT"])
def test_default_layer_is_configured(name, tmp_path):
    """A layer called default, in either spelling, takes what names no layer or an unknown one."""
    config = layered(tmp_path)
    config["layers"][name] = {"destinations": [{"type": "file", "path": str(tmp_path / "d.log")}]}
    front = hydra.HydraLogger(config)
    front.info("alone")
    with pytest.warns(hydra.HydraWarning, match="no layer 'TYPO'"):
        front.info("TYPO", "astray")
    closed(front)

    assert [(name, "alone"), ("TYPO", "astray")] == [
        (each["logger"], each["message"]) for each in records(tmp_path / "d.log")
    ]
    assert [] == records(tmp_path / "rest.log")


def test_layer_as_a_keyword(front, tmp_path):
    """With the keyword `layer` every position is message and arguments."""
    front.info("paid %s of %s", 3, 4, layer="API")
    front.info("plain", layer=None)
    closed(front)

    assert ["paid 3 of 4"] == messages(tmp_path / "api.log")
    assert ["plain"] == messages(tmp_path / "rest.log")
    assert all("layer" not in each for each in records(tmp_path / "api.log"))


def test_fields_and_extra(front, tmp_path):
    """`extra=` and other keywords are fields; the control keywords do what they do elsewhere."""
    front.info("API", "placed", extra={"order": 1, "both": "extra"}, both="call", user="x")
    try:
        raise ValueError("no")
    except ValueError:
        front.exception("API", "failed", stack_info=True)
        front.exception("API", "without", exc_info=None)
    closed(front)
    placed, failed, without = records(tmp_path / "api.log")

    assert (1, "call", "x") == (placed["order"], placed["both"], placed["user"])
    assert ("ValueError", "no") == (failed["exception"]["type"], failed["exception"]["message"])
    assert "test_fields_and_extra" in failed["stack"]
    assert "exception" not in without


def test_call_site_is_the_caller(tmp_path):
    """A front never shows up as the place that a record was logged at."""
    front = hydra.HydraLogger(layered(tmp_path, callsite=True))
    front.info("API", "here")
    front.exception("API", "and here", exc_info=None)
    closed(front)

    assert ["test_call_site_is_the_caller"] * 2 == [
        each["code.function.name"] for each in records(tmp_path / "api.log")
    ]


def test_layers_below_a_layer(front, tmp_path):
    """A layer holds for the names below it, as for loggers, and nobody is warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        front.info("API.v2", "below")
    closed(front)

    assert [] == caught
    assert [("API.v2", "below")] == [
        (each["logger"], each["message"]) for each in records(tmp_path / "api.log")
    ]


def test_unknown_layer(front, tmp_path):
    """A layer that is not configured falls to the default, with one warning and its own name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(3):
            front.error("APl", "record %s", n)

    assert ["no layer 'APl'" in str(each.message) for each in caught] == [True]
    closed(front)
    assert ["record 0", "record 1", "record 2"] == messages(tmp_path / "rest.log")
    assert {"APl"} == {each["logger"] for each in records(tmp_path / "rest.log")}


def test_layers_made_of_data(front, tmp_path):
    """However many layers are made up, nothing is lost, and memory and warnings stay bounded."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1_100):
            front.info(f"user-{n}", "seen")
            front.info("API", "known")

    assert 100 == len(caught)
    assert 1_000 == len(front._loggers)
    assert {"API", "user-0"} < set(front._loggers)
    # One more is that of the logger that was made last and is not kept.
    assert 1_001 >= len(front._lease.scope._leased)
    closed(front)
    assert 1_100 == len(records(tmp_path / "rest.log"))
    assert 1_100 == len(records(tmp_path / "api.log"))


class Layer(enum.StrEnum):
    """Layers, as a program may keep them."""

    API = "API"


class Mute:
    """What cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError


def test_layers_that_are_no_text(front, tmp_path):
    """A call never raises for what it is given as a layer; an enumeration's member is its text."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        front.info(Layer.API, "as a member")
        for odd in (7, ["list"], None, Mute(), "", "\ud800"):
            front.info(odd, "odd")
    closed(front)

    assert [("API", "as a member")] == [
        (each["logger"], each["message"]) for each in records(tmp_path / "api.log")
    ]
    assert 6 == len(messages(tmp_path / "rest.log"))


def test_receipts(front, call_style, tmp_path):
    """Receipts are those of any call: shared ones below error, one of its own from there on."""

    async def scenario(call):
        plain = await call(front.info("API", "plain"))
        failed = await call(front.error("API", "failed"))

        assert hydra.QUEUED is plain
        assert failed.id is not None
        assert hydra.Durability.QUEUED is not failed.durability

    call_style.run(scenario)
    quiet = hydra.HydraLogger(layered(tmp_path, level="error"), name="quiet")
    assert hydra.FILTERED is quiet.info("API", "not wanted")
    closed(front)
    closed(quiet)


def test_logger_of_a_layer(front, tmp_path):
    """A front gives out loggers of its layers, with everything that loggers can do."""
    log = front.get_logger("API", service="web")
    receipt = log.bind(user=7).tracked().info("placed")
    front.get_logger().info("default")

    assert receipt.wait(PATIENCE)
    closed(front)
    (record,) = records(tmp_path / "api.log")
    assert ("API", "web", 7) == (record["logger"], record["service"], record["user"])
    assert ["default"] == messages(tmp_path / "rest.log")


# -- scopes


def test_two_fronts_with_one_layer_name(tmp_path):
    """Fronts with the same layer and destination names have files, counts and closes apart."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = hydra.HydraLogger(layered(tmp_path / "one"))
    two = hydra.AsyncHydraLogger(layered(tmp_path / "two"))
    one.info("API", "to one")
    two.info("API", "to two")
    two.info("API", "to two again")

    assert 1 == closed(one).accepted
    assert run_of(one).gone
    assert not run_of(two).closed
    two.info("API", "open still")
    assert 3 == closed(two).accepted
    assert ["to one"] == messages(tmp_path / "one" / "api.log")
    assert ["to two", "to two again", "open still"] == messages(tmp_path / "two" / "api.log")


def test_close_leaves_everything_else_alone(front, tmp_path):
    """The close of a front closes neither the module's scope nor waits for its sinks."""
    sink = Sink()
    kit.configure(sink)
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    log.info("waits")
    front.info("API", "done")

    assert 0 == closed(front).pending
    assert ["done"] == messages(tmp_path / "api.log")
    assert [] == sink.messages
    sink.open()
    kit.quiet()
    assert ["hostage", "waits"] == sink.messages


def test_after_close_calls_write_directly(front, tmp_path):
    """What is logged after the close is in the file when the call returns."""
    front.info("API", "before")

    assert {"direct"} == {each.mode for each in closed(front).destinations.values()}
    front.info("API", "after")
    assert ["before", "after"] == messages(tmp_path / "api.log")
    assert 2 == closed(front).delivered


def test_initialize_opens_again(call_style, tmp_path):
    """After a close `initialize` puts the configuration into force again; before, nothing."""

    async def life(front):
        before = run_of(front)
        assert front is await front.initialize()
        assert before is run_of(front)
        front.info("API", "first")
        assert (await front.close()).balanced
        await front.initialize()
        assert before is not run_of(front)
        front.info("API", "second")
        assert (await front.aclose()).balanced
        async with front as same:
            assert front is same
            same.info("API", "third")
            assert 1 == (await front.flush()).delivered

    def plainly(front):
        with front.initialize() as same:
            same.info("API", "first")
            assert 1 == same.flush().delivered
        assert front is front.initialize()
        front.info("API", "second")
        assert front.close().balanced
        with front:
            front.info("API", "third")

    async def scenario(call):
        if call_style.on_loop:
            await life(hydra.AsyncHydraLogger(layered(tmp_path)))
        else:
            plainly(hydra.HydraLogger(layered(tmp_path)))

    call_style.run(scenario)

    assert ["first", "second", "third"] == messages(tmp_path / "api.log")


def test_the_engine_covers_all_scopes(front, tmp_path):
    """Flush, stats, metrics and close of the module hold for the records of every front."""
    sink = Sink()
    kit.configure(sink)
    hydra.info("module")
    front.info("API", "front")
    stats = kit.balanced(hydra.flush(PATIENCE))

    assert 2 == stats.accepted == stats.delivered
    assert {"app", f"{front.name}/app", f"{front.name}/rest"} == set(stats.destinations)
    assert f'hydra_delivered_total{{destination="{front.name}/app"}} 1' in hydra.metrics_text()
    assert ["front"] == messages(tmp_path / "api.log")
    kit.closed()
    assert run_of(front).gone
    front.initialize() if isinstance(front, hydra.HydraLogger) else front._lease.scope.reopen()
    front.info("API", "again")
    closed(front)
    assert ["front", "again"] == messages(tmp_path / "api.log")


def test_stats_of_several_scopes_are_added_up():
    """The stats of all scopes are sums, and no destination hides another of its name."""
    one = hydra.HydraLogger(destinations=[kit.destination(Sink())], name="same")
    two = hydra.HydraLogger(destinations=[kit.destination(Sink())], name="same")
    kit.configure(Sink())
    one.info("x")
    two.error("y")
    hydra.info("z")
    parts = [kit.balanced(each) for each in (one.stats(), two.stats())]
    hydra.flush(PATIENCE)
    stats = kit.balanced(hydra.stats())

    assert ["same/app", "same-2/app", "app"] == list(stats.destinations)
    assert list(stats.destinations) == [each.name for each in stats.destinations.values()]
    assert 3 == stats.accepted
    assert two.stats().journal.segments == stats.journal.segments > 0
    assert os.sep + "same" not in str(stats.journal.directory)
    assert not together([("a", parts[0]), ("", broken(parts[1]))]).balanced
    closed(one)
    closed(two)


def broken(stats: hydra.Stats) -> hydra.Stats:
    """Return *stats* as they would be if something were lost."""
    import msgspec

    return msgspec.structs.replace(stats, balanced=False)


def test_two_fronts_on_one_path(tmp_path):
    """Two fronts may write one file at the same time: both deliver, and every line is whole."""
    path = tmp_path / "shared.log"
    destinations = [{"type": "file", "path": str(path)}]
    fronts = [hydra.HydraLogger(destinations=destinations, name=name) for name in ("one", "two")]
    begin = threading.Barrier(2)

    def log(front):
        begin.wait()
        for n in range(2_000):
            front.info("%s %s", front.name, n, layer=None, padding="x" * (n % 300))

    threads = [threading.Thread(target=log, args=(front,)) for front in fronts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for front in fronts:
        assert 2_000 == closed(front).delivered

    for name in ("one", "two"):
        expected = [f"{name} {n}" for n in range(2_000)]
        assert expected == [each for each in messages(path) if each.startswith(name)]
    runs = {json.loads(line)["id"].partition(".")[0] for line in path.read_bytes().splitlines()}
    for run in runs:
        kit.proven(path.read_bytes().splitlines(), run)
    assert 2 == len(runs)


def test_calls_inside_the_sink_of_another_scope():
    """A sink that logs to a front whose queue is full does not wait: the record is dropped."""
    stuck, answers = Sink(), []
    front = hydra.HydraLogger(
        destinations=[kit.destination(stuck)], queue={"records": 1, "block_timeout": 30}
    )
    kit.block_writer(stuck, front)
    front.info("fills the queue")

    def sink(lines):
        answers.append(front.info("from a sink"))

    hydra.configure(destinations=[kit.destination(sink)], control_records=False)
    receipt = hydra.get_logger().tracked().info("module")
    settled = receipt.wait(PATIENCE / 2).settled
    stuck.open()

    assert settled
    assert [hydra.DROPPED] == answers
    assert 0 == closed(front).destinations["app"].blocked_seconds
    kit.closed()


# -- the end of a front


def ended(run) -> bool:
    """Wait until *run* has let go of everything."""
    return _waiting.wait(run._notify_gone, PATIENCE)


def test_dropped_without_a_close(tmp_path):
    """A front that is let go of drains, writes its close record, and ends its threads and files."""
    front = hydra.HydraLogger(layered(tmp_path))
    for n in range(100):
        front.info("API", "record %s", n)
    front.error("API", "the last")
    run, scope = run_of(front), weakref.ref(front._lease.scope)
    del front

    assert ended(run)
    assert [*(f"record {n}" for n in range(100)), "the last"] == messages(tmp_path / "api.log")
    kit.proven((tmp_path / "api.log").read_bytes().splitlines())
    del run
    hydra.stats()
    gc.collect()
    assert scope() is None


def test_dropped_before_it_was_used(tmp_path):
    """A front that logged nothing leaves nothing behind."""
    front = hydra.HydraLogger(layered(tmp_path))
    run = run_of(front)
    del front

    assert run.gone
    assert [ENGINE] == ENGINE.scopes()


def test_dropped_while_its_sink_hangs():
    """What a dropped front has queued is waited for by the close of the engine."""
    sink = Sink()
    front = hydra.HydraLogger(destinations=[kit.destination(sink)])
    kit.block_writer(sink, front)
    front.info("queued")
    del front

    assert 2 == hydra.stats().pending
    sink.open()
    kit.closed()
    assert ["hostage", "queued"] == sink.messages


def test_its_logger_keeps_it_open(tmp_path):
    """As long as somebody holds a logger of a front, its queues and threads are at work."""
    front = hydra.HydraLogger(layered(tmp_path))
    log = front.get_logger("API").bind(user=7)
    run = run_of(front)
    del front
    log.info("still served")

    assert not run.closed
    assert "thread" == run.services["app"].mode.value
    del log
    assert ended(run)
    assert ["still served"] == messages(tmp_path / "api.log")


def test_copies_and_pickles(front):
    """A copy is the front itself; a front cannot be sent elsewhere, nor can its loggers."""
    assert front is copy.copy(front) is copy.deepcopy(front)
    for each in (front, front.get_logger("API")):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(each)
    closed(front)


# -- configuration


@pytest.mark.parametrize("kind", FRONTS)
def test_wrong_configuration(kind, tmp_path):
    """A front with mistakes is not made, all of them are told, and nothing is left behind."""
    with pytest.raises(hydra.ConfigurationError) as caught:
        kind({"level": "x", "nonsense": 1})

    assert {"level", "nonsense"} == {problem.path for problem in caught.value.problems}
    gc.collect()
    assert [ENGINE] == ENGINE.scopes()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "x" * 64, 7])
def test_wrong_name(name, tmp_path):
    """A name that cannot be part of a file name is refused."""
    with pytest.raises(hydra.ConfigurationError) as caught:
        hydra.HydraLogger(layered(tmp_path), name=name, app="shop")

    assert ["name"] == [problem.path for problem in caught.value.problems]


def test_every_shape_of_configuration(tmp_path):
    """A front takes a mapping, settings, a path, or keywords, as `configure` does."""
    path = tmp_path / "front.json"
    path.write_text(json.dumps(layered(tmp_path)))
    given = [
        {"config": layered(tmp_path)},
        {"config": load(layered(tmp_path))},
        {"config": path},
        {"file": str(path)},
        layered(tmp_path),
    ]
    for keywords in given:
        front = hydra.HydraLogger(**keywords)
        front.info("API", "here")
        closed(front)

    assert ["here"] * len(given) == messages(tmp_path / "api.log")


def test_names_by_place(tmp_path):
    """Without a name, a front is called after its app and places: never by chance or order."""
    settings = load(layered(tmp_path), keywords={"app": "shop"})
    name, of_scope = scoped(settings)

    same = scoped(load(layered(tmp_path, queue={"records": 7}, app="shop")))

    assert (name, of_scope.app) == (same[0], same[1].app)
    assert f"shop.{name}" == of_scope.app
    for other in (
        layered(tmp_path / "else", app="shop"),
        layered(tmp_path, app="stock"),
        {"app": "shop", "destinations": [kit.destination(Sink())]},
    ):
        assert name != scoped(load(other))[0]
    long = scoped(load(layered(tmp_path), keywords={"app": "x" * 64}))[1].app
    assert 64 == len(long)


def test_name_is_part_of_the_state(tmp_path, monkeypatch):
    """Journal and held records of a front are kept under its app and name."""
    front = hydra.HydraLogger(layered(tmp_path), app="shop", name="web")
    front.error("API", "failed")

    assert f"{os.sep}shop.web{os.sep}" in front.stats().journal.directory
    assert "<HydraLogger 'web'>" == repr(front)
    closed(front)
