"""
An executor over daemon threads of our own, for calls that may hang for ever.

Rule 1: no thread before the first call, and none that an exit waits for; the
executor of the standard library is joined at exit and hangs there with its calls.
Rule 2: a thread that is stuck can be dropped; what waits behind it moves on to a
new one.
Rule 3: imported only by whoever needs it: `concurrent.futures` loads logging.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class _Call:
    """A call and the future that waits for its result."""

    __slots__ = ("_future", "_run")

    def __init__(self, future: Future[T], run: Callable[[], T]) -> None:
        # The two agree on a type that nobody else needs to know.
        self._future: Future[object] = cast("Future[object]", future)
        self._run: Callable[[], object] = run

    def make(self) -> None:
        """Make the call, unless it was cancelled, and give its result to the future."""
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            result = self._run()
        except BaseException as error:
            # Whatever it is, SystemExit included, belongs to the one who waits.
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def cancel(self) -> None:
        """Tell the one who waits that the call is not made."""
        self._future.cancel()
        self._future.set_running_or_notify_cancel()


class _Crew:
    """One generation of threads and the calls that wait for them."""

    __slots__ = ("calls", "outstanding", "threads")

    def __init__(self) -> None:
        self.calls: SimpleQueue[_Call | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.outstanding = 0

    def waiting(self) -> list[_Call]:
        """Take the calls that no thread has begun."""
        calls = []
        try:
            while True:
                calls.append(self.calls.get_nowait())
        except Empty:
            return [call for call in calls if call is not None]

    def dismiss(self) -> None:
        """Have each thread end once the calls before this moment are done."""
        for _ in self.threads:
            self.calls.put(None)


class DaemonExecutor(Executor):
    """
    Run calls on owned daemon threads. Thread-safe.

    Choose it for calls into a file system that may never answer: neither
    `replace` nor the exit of the interpreter waits for them. After a fork the
    child starts with no threads and no calls.

    Args:
        threads: How many calls may run at once; at least 1.
        name: Prefix of the threads' names.

    Raises:
        ValueError: If *threads* is below 1.
    """

    def __init__(self, threads: int = 1, name: str = "fallbacks-io") -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._limit = threads
        self._name = name
        self._lock = threading.Lock()
        self._crew = _Crew()
        self._dropped: list[threading.Thread] = []
        self._started = 0
        self._closed = False
        _EXECUTORS.add(self)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Have *fn* called on one of the threads.

        Raises:
            RuntimeError: After `shutdown`, or when the first thread cannot be started.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"executor {self._name} is shut down")
            self._hand(_Call(future, partial(fn, *args, **kwargs)))
        return future

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits; calls on dropped threads do not count."""
        return self._crew.outstanding > 0

    @property
    def alive(self) -> int:
        """How many threads run, the dropped ones that are still stuck included."""
        with self._lock:
            return sum(thread.is_alive() for thread in (*self._crew.threads, *self._dropped))

    def replace(self) -> int:
        """
        Drop the present threads; calls that have not begun go to new ones.

        A dropped thread ends when its call returns, and answers that call's
        future still. Use it when a call is stuck and others must go on.

        Returns:
            How many calls were left to the dropped threads.
        """
        with self._lock:
            old, self._crew = self._crew, _Crew()
            waiting = old.waiting()
            self._drop(old)
            for call in waiting:
                self._hand(call)
            return old.outstanding - len(waiting)

    def park(self, timeout: float) -> bool:
        """
        End the threads if they are idle, so that a fork finds none.

        The next `submit` starts them again.

        Args:
            timeout: Seconds to wait for them to end, all together.

        Returns:
            Whether none runs now. False at once when a call runs or waits.
        """
        with self._lock:
            if self._crew.outstanding:
                return False
            old, self._crew = self._crew, _Crew()
            self._drop(old)
        self._join(timeout)
        return self.alive == 0

    def shutdown(
        self,
        wait: bool = True,
        *,
        cancel_futures: bool = False,
        timeout: float | None = None,
    ) -> None:
        """
        Take no more calls; those taken are still made. Idempotent.

        Args:
            wait: Wait for the threads to end.
            cancel_futures: Cancel the calls that have not begun.
            timeout: Seconds to wait at most; None waits without bound. A thread
                that is stuck then is left behind, see `alive`.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                if cancel_futures:
                    for call in self._crew.waiting():
                        self._crew.outstanding -= 1
                        call.cancel()
                self._crew.dismiss()
        if wait:
            self._join(timeout)

    def _hand(self, call: _Call) -> None:
        crew = self._crew
        if len(crew.threads) < min(crew.outstanding + 1, self._limit):
            self._start_thread(crew)
        crew.outstanding += 1
        crew.calls.put(call)

    def _drop(self, crew: _Crew) -> None:
        crew.dismiss()
        self._dropped = [thread for thread in self._dropped if thread.is_alive()]
        self._dropped += crew.threads

    def _start_thread(self, crew: _Crew) -> None:
        self._started += 1
        thread = threading.Thread(
            target=self._work,
            args=(crew,),
            name=f"{self._name}-{self._started}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had. One is enough to have the call made, if later.
            if not crew.threads:
                raise
            return
        crew.threads.append(thread)

    def _work(self, crew: _Crew) -> None:
        while (call := crew.calls.get()) is not None:
            call.make()
            # Or an idle thread would keep the last call's arguments alive.
            del call
            with self._lock:
                crew.outstanding -= 1

    def _join(self, timeout: float | None) -> None:
        with self._lock:
            threads = [*self._crew.threads, *self._dropped]
        end = None if timeout is None else monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(None if end is None else max(0.0, end - monotonic()))

    def _after_fork(self) -> None:
        # The lock may have been held by a thread that does not exist here.
        self._lock = threading.Lock()
        self._crew = _Crew()
        self._dropped = []

    def __repr__(self) -> str:
        return f"<DaemonExecutor {self._name} [{self._limit} threads]>"


class Lane(Executor):
    """
    One client's calls on an executor, so that it can tell whether its own are out.

    Args:
        executor: Where the calls run; others may use it too.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._last: Future[object] | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have *fn* called; the client makes one call after another."""
        future = self.executor.submit(fn, *args, **kwargs)
        self._last = cast("Future[object]", future)
        return future

    @property
    def busy(self) -> bool:
        """Whether the last call has not returned."""
        return self._last is not None and not self._last.done()

    def then(self, act: Callable[[], object]) -> None:
        """Call *act* when the last call returns, at once when none is out."""
        if self._last is None:
            act()
        else:
            self._last.add_done_callback(lambda _: act())


_EXECUTORS: weakref.WeakSet[DaemonExecutor] = weakref.WeakSet()


def _after_fork() -> None:
    for executor in list(_EXECUTORS):
        executor._after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
