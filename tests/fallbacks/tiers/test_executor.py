from __future__ import annotations

import os
import threading

import pytest

from fallbacks.tiers._executor import DaemonExecutor, Lane, _after_fork

pytestmark = pytest.mark.integration


@pytest.fixture
def executor():
    """Return an executor that is shut down after the test."""
    executor = DaemonExecutor(name="io")
    yield executor
    executor.shutdown(timeout=5)


class Gate:
    """A call that hangs until the test opens it."""

    def __init__(self):
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, answer=None):
        self.entered.set()
        self.open.wait()
        return answer


def test_no_thread_before_the_first_call(executor):
    """
    Threads are started by the first call, as daemons.
    """
    idle = executor.alive
    thread = executor.submit(threading.current_thread).result()

    assert 0 == idle
    assert thread.daemon
    assert "io-1" == thread.name
    assert 1 == executor.alive
    assert "<DaemonExecutor io [1 threads]>" == repr(executor)


def test_calls_run_in_order_on_one_thread(executor):
    """
    With one thread each call runs after the one before it.
    """
    seen = []
    futures = [executor.submit(seen.append, n) for n in range(100)]
    for future in futures:
        future.result()

    assert list(range(100)) == seen


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_every_exception_goes_to_the_one_who_waits(executor, error):
    """
    Whatever a call raises ends neither its thread nor its caller's wait.
    """

    def fail():
        raise error

    raised = executor.submit(fail).exception()
    after = executor.submit(int, "7").result()

    assert isinstance(raised, error)
    assert 7 == after


def test_as_many_threads_as_calls_up_to_the_limit():
    """
    A second thread is started for a call that would have to wait.
    """
    executor = DaemonExecutor(threads=2)
    gates = [Gate(), Gate()]
    futures = [executor.submit(gate) for gate in gates]
    for gate in gates:
        gate.entered.wait()
    waiting = executor.submit(int)
    alive = executor.alive
    for gate in gates:
        gate.open.set()
    for future in [*futures, waiting]:
        future.result()
    executor.shutdown()

    assert 2 == alive
    assert 0 == executor.alive


def test_stuck_thread_is_replaced(executor):
    """
    What waits behind a stuck call moves to a new thread; the stuck one answers late.
    """
    gate = Gate()
    stuck = executor.submit(gate, "late")
    gate.entered.wait()
    behind = executor.submit(int, "7")
    left = executor.replace()
    result = behind.result(5)
    alive = executor.alive
    gate.open.set()

    assert 1 == left
    assert 7 == result
    assert 2 == alive
    assert "late" == stuck.result(5)


def test_replacing_idle_threads_drops_them(executor):
    """
    Without a call under way nothing is left behind.
    """
    executor.submit(int).result()
    while executor.busy:
        pass
    left = executor.replace()
    executor.submit(int).result()

    assert 0 == left


def test_parked_threads_come_back(executor):
    """
    Idle threads end when told to, and the next call starts new ones.
    """
    executor.submit(int).result()
    while executor.busy:
        pass
    parked = executor.park(5)
    alive = executor.alive
    result = executor.submit(int, "7").result()

    assert parked
    assert 0 == alive
    assert 7 == result


def test_busy_executor_is_not_parked(executor):
    """
    A call under way is not waited for.
    """
    gate = Gate()
    executor.submit(gate)
    parked = executor.park(5)
    gate.open.set()

    assert not parked


def test_shutdown_leaves_a_stuck_thread_after_its_timeout(executor):
    """
    A shutdown waits as long as it was told to, and says what is left in `alive`.
    """
    gate = Gate()
    stuck = executor.submit(gate)
    gate.entered.wait()
    behind = executor.submit(int)
    executor.shutdown(cancel_futures=True, timeout=0.01)
    alive = executor.alive
    gate.open.set()
    stuck.result()

    assert 1 == alive
    assert behind.cancelled()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int)


def test_cancelled_call_is_not_made(executor):
    """
    A call cancelled before it began is passed over.
    """
    gate, seen = Gate(), []
    executor.submit(gate)
    behind = executor.submit(seen.append, 1)
    behind.cancel()
    gate.open.set()
    executor.submit(int).result()

    assert [] == seen


def test_thread_that_cannot_start_is_reported(executor, monkeypatch):
    """
    Without any thread the call is refused; with one it waits its turn there.
    """

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    executor = DaemonExecutor(threads=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            executor.submit(int)
    busy = executor.busy
    gate = Gate()
    executor.submit(gate)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        behind = executor.submit(int, "7")
    gate.open.set()
    result = behind.result()
    executor.shutdown()

    assert not busy
    assert 7 == result


def test_shutdown_from_one_of_its_own_threads(executor):
    """
    A call may shut its executor down; it does not wait for itself.
    """
    executor.submit(executor.shutdown).result(5)
    with pytest.raises(RuntimeError):
        executor.submit(int)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_starts_afresh(executor):
    """
    A child has no threads of its parent and starts its own, even when a lock was held.
    """
    executor.submit(int).result()
    executor._lock.acquire()
    pid = os.fork()
    if pid == 0:
        code = executor.submit(int, "7").result(5)
        os._exit(code)
    executor._lock.release()
    _, status = os.waitpid(pid, 0)

    assert 7 == os.waitstatus_to_exitcode(status)


def test_threads_of_the_parent_are_forgotten(executor):
    """
    After a fork nothing of the parent's threads, calls and locks is left.
    """
    gate = Gate()
    executor.submit(gate)
    old = executor._crew
    _after_fork()
    alive, busy = executor.alive, executor.busy
    gate.open.set()
    old.dismiss()
    old.threads[0].join()

    assert (0, False) == (alive, busy)


def test_at_least_one_thread():
    """
    An executor without threads would keep every caller waiting.
    """
    with pytest.raises(ValueError, match="at least 1, not 0"):
        DaemonExecutor(threads=0)


def test_lane_knows_its_own_calls(executor):
    """
    A lane is busy with its own calls only, and tells when the last is over.
    """
    gate, seen = Gate(), []
    one, other = Lane(executor), Lane(executor)
    other.then(lambda: seen.append("at once"))
    future = one.submit(gate)
    one.then(lambda: seen.append("later"))
    busy = one.busy, other.busy
    gate.open.set()
    future.result()
    executor.submit(int).result()

    assert (True, False) == busy
    assert ["at once", "later"] == seen
    assert not one.busy
