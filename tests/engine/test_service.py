"""
A writer and whoever runs it: helpers, threads that cannot be had, tiers that are all down.
"""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

import hydra
from fallbacks.breaker import State
from fallbacks.testing.fake_clock import FakeClock
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from hydra.config import load
from hydra.engine import ENGINE, _closing, _service
from hydra.engine._build import build
from hydra.queue import Barrier
from tests.sinks._kit import Sink, numbers, of, records, until

pytestmark = pytest.mark.integration


@pytest.fixture
def pumped():
    """Give a run on a file system of its own, and its only service."""
    settings = load(
        {
            "app": "t",
            "journal": {"enabled": False},
            "destinations": [
                {"name": "app", "type": "file", "path": "/logs/app.log", "fallback": []}
            ],
        }
    )
    run = build(settings, system=FaultyFilesystem(), clock=FakeClock(), threaded=False)
    yield run, run.services["app"]
    run.system.heal()
    run.begin_close()
    run.finish_close(0.0)


def send(run, n):
    """Send one ordinary record."""
    body = b'{"timestamp":"2026-01-01T00:00:00.000000Z","level":"info","logger":"s","n":%d' % n
    run.stream(("app",), guaranteed=False).send(body, 20)


def test_exception_in_a_helping_hand_puts_the_job_back(pumped, monkeypatch):
    """A signal handler that raises in the middle of a caller's help costs no record."""
    run, service = pumped
    for n in range(5):
        send(run, n)
    with monkeypatch.context() as patch:

        def interrupted(*args, **options):
            raise KeyboardInterrupt

        patch.setattr(service.chain, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            service.help()

    assert (5, True) == (service.writer.pending, service.writer.balance().balanced)
    assert not service.chain.ticket.held

    service.help()

    assert list(range(5)) == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_interrupted_probe_is_answered(pumped, monkeypatch):
    """A tier on probation whose probe is interrupted rests again, and is probed later."""
    run, service = pumped
    breaker = service.chain.plan.tiers[0].breaker
    breaker.failed(0.0)
    breaker.failed(0.0)
    breaker.hasten()
    send(run, 0)

    def interrupted(batch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service.chain.tiers[0], "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            service.help()

    assert breaker.state is State.OPEN
    run.clock.advance(100.0)
    service.help()

    assert (State.CLOSED, True) == (breaker.state, service.writer.balance().balanced)


def test_thread_that_drains_is_no_helper(pumped):
    """What is logged on a thread that drains, by a sink or a handler, waits for that drain."""
    run, service = pumped
    send(run, 0)
    service._draining.add(threading.get_ident())
    found = [service.help(), service.help(final=True)]
    service._draining.clear()

    assert ([False, False], 1) == (found, service.queue.depth)


def test_barrier_stays_behind_lines_that_had_to_stay(pumped):
    """Nobody who waits for a flush is told that lines are safe which no tier took."""
    run, service = pumped
    told = []
    run.system.fail("open", 28, times=None)
    for n in range(3):
        send(run, n)
    service.queue.entries.append(Barrier(lambda: told.append(True)))
    send(run, 3)
    service.help()

    assert ([], 4) == (told, service.writer.pending)

    run.system.heal()
    service.chain.plan.hasten()
    service.help()

    assert ([True], 0) == (told, service.writer.pending)
    assert list(range(4)) == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_helper_does_not_drain_for_others_without_end(pumped, monkeypatch):
    """A caller that helps stops when its time is up, whatever others keep adding."""
    run, service = pumped
    send(run, 0)
    real = service.chain.run
    added = []

    def busy(*args, **options):
        if len(added) < 1000:
            added.append(True)
            send(run, len(added))
        return real(*args, **options)

    monkeypatch.setattr(service.chain, "run", busy)
    service.help(seconds=0.0)

    assert 1 == len(added)


def test_few_lines_wait_for_company(pumped, monkeypatch):
    """A writer that drains ends where little is left; only what nobody adds to is taken at once."""
    run, service = pumped
    monkeypatch.setattr(service.writer, "_batch", 4)
    for n in range(10):
        send(run, n)
    with service._ticket():
        assert service._drain(service.chain.sync_tiers, patient=True, least=5)
    assert 2 == service.queue.depth
    with service._ticket():
        assert service._drain(service.chain.sync_tiers, patient=True, least=5)

    assert 0 == service.queue.depth
    assert list(range(10)) == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_call_after_the_close_asks_a_file_that_rests(pumped):
    """What is logged after the close goes to a file that is writable again, however it rests."""
    run, service = pumped
    run.begin_close()
    run.finish_close(0.0)
    run.system.fail("open", 28, times=None)
    for n in range(3):
        send(run, n)
    run.system.heal()
    resting = service.chain.plan.tiers[0].breaker.state
    send(run, 3)

    assert State.OPEN is resting
    assert {("info", "closed"): 3} == service.writer.balance().drops
    assert [3] == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_close_asks_a_file_that_rests(pumped):
    """The last drain of a close tries a file that failed a moment ago before it drops anything."""
    run, service = pumped
    run.system.fail("open", 28, times=None)
    send(run, 0)
    for _ in range(2):
        service.help()
    run.system.heal()
    resting = service.chain.plan.tiers[0].breaker.state
    run.begin_close()
    run.finish_close(0.0)

    assert State.OPEN is resting
    assert {} == service.writer.balance().drops
    assert [0] == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_call_after_the_close_does_not_wait_for_a_console_that_rests(monkeypatch):
    """A console that takes nothing costs calls after the close its timeout until it rests."""
    settings = load(
        {
            "app": "t",
            "control_records": False,
            "destinations": [{"name": "app", "type": "console"}],
        }
    )
    run = build(settings, system=FaultyFilesystem(), clock=FakeClock(), threaded=False)
    chain = run.services["app"].chain
    run.begin_close()
    run.finish_close(0.0)
    real = chain.run
    patience = []

    def watched(*args, **options):
        patience.append([tier.timeout for tier in chain.tiers])
        return real(*args, **options)

    monkeypatch.setattr(chain, "run", watched)
    for n in range(4):
        send(run, n)

    assert [True, True, False, False] == [all(each) for each in patience]
    assert [True, True, False, False] == [any(each) for each in patience]


@pytest.mark.parametrize("error", [TimeoutError(), ValueError("no"), KeyboardInterrupt()])
def test_exception_of_a_handler_in_the_callers_own_write(pumped, monkeypatch, error):
    """It reaches the application, whatever it is, and costs no record."""
    run, service = pumped
    run.begin_close()
    run.finish_close(0.0)

    def handle(*_):
        raise error

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(run.system, "write", lambda *_: signal.raise_signal(signal.SIGUSR1))
            with pytest.raises(type(error)) as raised:
                send(run, 0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    send(run, 1)

    assert error is raised.value
    assert not service.chain.ticket.held
    assert [0, 1] == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_without_threads_callers_write_themselves(monkeypatch, tmp_path):
    """Where no thread can be started, each call drains its own record."""

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_service, "start_new_thread", refuse)
    path = tmp_path / "app.log"
    hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
    log = hydra.get_logger("shop")
    for n in range(20):
        log.info("ordinary", n=n)

        assert n + 1 == len(path.read_bytes().splitlines())
    stats = hydra.close()

    assert (True, 20) == (stats.balanced, stats.delivered)


@pytest.mark.parametrize("when_full", ["drop_new", "block"])
def test_all_tiers_down(when_full, tmp_path):
    """
    With every tier down the application goes on, what is dropped is counted exactly, and after
    healing the log itself says how many records it lacks and which.
    """
    sink, last = Sink(OSError("down")), Sink(OSError("down too"))
    hydra.configure(
        app="t",
        journal={"enabled": False},
        queue={"records": 50, "when_full": when_full, "block_timeout": 0.1},
        destinations=[
            hydra.Destination(
                sink.write, name="mine", retries=0, batch=10, fallback=[{"sink": last.write}]
            )
        ],
    )
    log = hydra.get_logger("shop")
    for n in range(300):
        log.info("ordinary", n=n)
    for n in range(300, 320):
        log.error("grave", n=n)
    stats = hydra.stats()
    assert 320 == stats.accepted
    assert stats.dropped > 200
    assert stats.dropped + stats.pending == 320
    dropped = stats.dropped

    sink.heal()
    hydra.flush(5)
    until(lambda: of("mine").pending == 0, "the queue is drained")
    stats = hydra.close()

    assert (True, 320 - dropped, dropped) == (stats.balanced, stats.delivered, stats.dropped)
    found = records(sink.lines)
    reports = [record for record in found if record.get("event") == "drops"]
    assert dropped == sum(record["count"] for record in reports)
    got = set(numbers(found))
    assert 320 - dropped == len(got)
    missing = [r for record in reports for r in record["drops"]]
    assert dropped == sum(r["count"] for r in missing)
    assert all(r["to"] - r["from"] + 1 >= r["count"] for r in missing)


def test_thread_that_finds_its_writer_closed_leaves_it_alone(tmp_path):
    """A close that does not wait for the writer's thread leaves exactly one close record."""
    for turn in range(30):
        path = tmp_path / f"{turn}.log"
        hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
        log = hydra.get_logger("shop")
        for n in range(20):
            log.info("ordinary", n=n)
        hydra.close(0.0)
        log.info("after the close", n=20)

        found = read_lines(path)
        assert 1 == sum(record.get("event") == "close" for record in found)
        assert set(range(21)) >= set(numbers(found))
        assert 20 in numbers(found)
        stats = hydra.stats()
        assert stats.balanced
        assert stats.accepted == stats.delivered + stats.dropped + stats.pending


def test_line_that_comes_when_a_late_caller_is_done(pumped, monkeypatch):
    """After a close, whoever drains drops no line that another thread adds at its end."""
    run, service = pumped
    run.begin_close()
    run.finish_close(0.0)
    other = threading.Thread(target=send, args=(run, 1))
    real = service.writer.next_job

    def next_job(*args, **options):
        job = real(*args, **options)
        if job is None and not other.ident:
            other.start()
            until(lambda: service.queue.entries, "the other line is in the queue")
        return job

    monkeypatch.setattr(service.writer, "next_job", next_job)
    send(run, 0)
    other.join()

    assert 0 == service.writer.balance().dropped
    assert [0, 1] == numbers(records(run.system.read("/logs/app.log").splitlines()))


def test_loop_waits_for_its_turn_where_nobody_comes_back(pumped):
    """A task's late call to a run that was replaced does not leave its line to another's turn."""
    run, service = pumped
    run.retire()
    run.finish_close(0.0)
    home, run.home[0] = run.home[0], 1
    service.chain.ticket.acquire()
    threading.Timer(0.05, service.chain.ticket.release).start()

    async def main():
        send(run, 0)

    asyncio.run(main())
    run.home[0] = home

    assert [0] == numbers(records(run.system.read("/logs/app.log").splitlines()))


@pytest.mark.parametrize("mode", ["new", "thread", "loop"])
def test_ring_that_is_late_for_the_close(mode, tmp_path):
    """A caller that meant to ring for the writer of before leaves the mode of after alone."""
    path = tmp_path / "app.log"
    writer = "loop" if mode == "loop" else "thread"
    hydra.configure(
        app="t",
        destinations=[{"name": "app", "type": "file", "path": str(path), "writer": writer}],
    )
    service = ENGINE.run.services["app"]
    log = hydra.get_logger("shop")
    if mode != "new":
        log.info("ordinary", n=0)
        until(lambda: of("app").mode == mode, f"the writer is in the mode {mode}")
    ring = service.queue.ring
    hydra.close()
    ring()
    for n in range(1, 4):
        log.info("after the close", n=n)

        assert n in numbers(read_lines(path))
    assert ("direct", 0) == (of("app").mode, hydra.stats().pending)


def test_thread_that_finds_its_writer_closed_writes_what_is_queued(pumped):
    """A line that found the writer awake rings for nobody; who was awake sees to it."""
    run, service = pumped
    run.begin_close()
    run.finish_close(0.0)
    service.queue.idle = False
    send(run, 0)
    left = service.writer.pending

    def bow_out():
        service._draining.add(threading.get_ident())
        service.chain.ticket.acquire()
        service.bow_out()
        service._draining.discard(threading.get_ident())

    thread = threading.Thread(target=bow_out)
    thread.start()
    thread.join()

    assert (1, 0) == (left, service.writer.pending)
    assert [0] == numbers(records(run.system.read("/logs/app.log").splitlines()))


@pytest.mark.parametrize(
    ("calls", "waited"),
    [
        ("hangs", 1.0),
        ("goes from one call to another", 5.0),
        ("is between two calls", 5.0),
        ("closes", 1.0),
    ],
)
def test_wait_for_a_former_writer(pumped, monkeypatch, calls, waited):
    """One that moves gets the whole timeout to finish, one that hangs in a call does not."""
    _, former = pumped
    now = [0.0]
    ticket = former.chain.ticket

    def wait_closed(seconds):
        now[0] += seconds
        if calls == "goes from one call to another":
            ticket.enter(9.0)
        return calls == "closes"

    if calls == "hangs":
        ticket.enter(9.0)
    monkeypatch.setattr(_closing, "monotonic", lambda: now[0])
    monkeypatch.setattr(former, "wait_closed", wait_closed)
    former.wait_finished()
    ticket.section = None

    assert waited == now[0]


def test_recovery_that_begins_after_the_close(tmp_path):
    """A closed run does not take over, and count again, what it has left in its own held files."""
    settings = load(
        {
            "app": "t",
            "state_dir": str(tmp_path),
            "destinations": [{"name": "app", "type": "file", "path": str(tmp_path / "no" / "app")}],
        }
    )
    (tmp_path / "no").write_bytes(b"a file where a directory should be")
    run = build(settings, threaded=False)
    service = run.services["app"]
    run.begin_close()
    run.finish_close(0.0)
    send(run, 0)
    service.close_own()
    before = service.writer.balance()
    run.recovery.take_over()
    after = service.writer.balance()

    assert (1, 1, True) == (before.routed, before.pending, before.balanced)
    assert before == after


def read_lines(path):
    """Return the records of a file that has no torn lines."""
    return records(path.read_bytes().splitlines())


def test_thread_of_a_crashed_service_goes_on(monkeypatch, tmp_path):
    """A bug of ours in the writer's thread is counted and costs no record."""
    path = tmp_path / "app.log"
    hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
    log = hydra.get_logger("shop")
    from hydra.engine import ENGINE

    service = ENGINE.run.services["app"]
    real, crashed = service.chain.run, threading.Event()

    def buggy(*args, **options):
        if not crashed.is_set():
            crashed.set()
            raise ZeroDivisionError
        return real(*args, **options)

    monkeypatch.setattr(service.chain, "run", buggy)
    for n in range(5):
        log.info("ordinary", n=n)
    stats = hydra.flush(5)

    assert (True, 5, 1) == (stats.balanced, stats.delivered, of("app").crashes)
    assert list(range(5)) == numbers(read_lines(path))
