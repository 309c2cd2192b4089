from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hydra.engine import _bell
from hydra.engine._bell import Bell, Once
from tests.sinks._kit import until

pytestmark = pytest.mark.unit

PATIENCE = 10.0


class Threads:
    """Starts threads when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        self.allowed = True
        self.waiting: list[Callable[[], object]] = []

    def start(self, work: Callable[[], object], arguments: tuple[object, ...]) -> int:
        """Take *work*, as `start_new_thread` does."""
        if not self.allowed:
            raise RuntimeError("can't start new thread")
        self.waiting.append(work)
        return 1

    def run(self) -> None:
        """Run the oldest thread to its end."""
        self.waiting.pop(0)()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """Return the threads that start from now on."""
    found = Threads()
    monkeypatch.setattr(_bell, "start_new_thread", found.start)
    return found


def test_there_is_one_at_a_time(threads: Threads) -> None:
    """
    While there is one, none is started; when it has ended, the next call starts another.
    """
    once = Once(lambda: None)

    assert (True, True) == (once.start(), once.start())
    assert (1, True) == (len(threads.waiting), once.running)
    threads.run()
    assert not once.running
    assert (True, 1) == (once.start(), len(threads.waiting))


def test_no_thread_to_be_had(threads: Threads) -> None:
    """
    What could not be started does not count as running: the next call tries again.
    """
    once = Once(lambda: None)
    threads.allowed = False

    assert (False, False) == (once.start(), once.running)
    threads.allowed = True
    assert (True, 1) == (once.start(), len(threads.waiting))


def test_work_that_came_too_late(threads: Threads) -> None:
    """
    What came in when the thread had looked for the last time is found by another one.
    """
    todo = ["early"]
    done: list[str] = []
    once = Once(lambda: done.append(todo.pop()), more=lambda: bool(todo))
    once.start()
    todo.insert(0, "late")
    threads.run()

    assert (["early"], 1) == (done, len(threads.waiting))
    threads.run()
    assert (["early", "late"], []) == (done, threads.waiting)


def test_main_that_raises(threads: Threads) -> None:
    """
    A thread that ends by an error has ended: another one may start.
    """

    def fail() -> None:
        raise ZeroDivisionError

    once = Once(fail)
    once.start()
    with pytest.raises(ZeroDivisionError):
        threads.run()

    assert (False, True, 1) == (once.running, once.start(), len(threads.waiting))


def test_waiting_for_the_end(threads: Threads) -> None:
    """
    Who waits is told when the thread has ended and no other is needed; not before, nor never.
    """
    more = [True, False]
    once = Once(lambda: None, more=lambda: more.pop(0) if more else False)

    assert once.wait_ended(0)
    once.start()
    assert not once.wait_ended(0)
    threads.run()
    assert not once.wait_ended(0)
    threads.run()
    assert once.wait_ended(0)


def test_waiting_beside_the_end() -> None:
    """
    A thread that ends wakes who waits for it.
    """
    gate = Bell()
    once = Once(gate.wait)
    once.start()
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(once.wait_ended(PATIENCE)))
    waiting.start()
    until(lambda: once._ended, "somebody waits")
    gate.ring()
    waiting.join(PATIENCE)

    assert [True] == told
