"""
Where the process tells us that it forks, ends, or is told to end.

Rule 1: hooks are registered once per process, and none is ever taken from the
application: signal handlers are chained, and only when asked for.
Rule 2: nothing at exit imports, starts a thread or needs an event loop.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

    from ._engine import Engine

_registered: set[int] = set()
_handled: dict[int, object] = {}
# How the names of files end that we lock, and what the system adds to a file without a name.
_LOCKED: Final = (".j", ".held", ".live")
_DELETED: Final = " (deleted)"
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")


def watch_forks(engine: Engine) -> None:
    """Have *engine* told of forks; of those that Python makes, that is."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=engine.park,
            after_in_parent=engine.unparked,
            after_in_child=engine.forked,
        )


def register(engine: Engine) -> None:
    """Have *engine* closed when the process ends, whichever way Python lets it end."""
    if os.getpid() in _registered:
        return
    _registered.add(os.getpid())
    atexit.register(at_exit, engine)
    _finalize_worker(engine)


def at_exit(engine: Engine) -> None:
    """Drain within the exit timeout; what no tier takes is counted, what the journal has stays."""
    timeout = engine.exit_timeout
    if timeout is not None:
        engine.close(timeout)


def close_inherited(prefixes: tuple[str, ...]) -> None:
    """
    In a forked child: close every descriptor of a locked file that begins with one of *prefixes*.

    A thread of the parent may have been about to make such a file, or to take
    one over, so that no object here knows the descriptor; and while the child
    had it open, the lock would outlive its owner. Where the system does not tell
    what is open, nothing is done.
    """
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return
    for number in numbers:
        try:
            path = os.readlink(f"/proc/self/fd/{number}").removesuffix(_DELETED)
            # The application may keep files of its own in the same directory.
            if path.startswith(prefixes) and path.endswith(_LOCKED):
                os.close(int(number))
        except OSError:
            """The descriptor that the list itself was read from."""


def in_child(engine: Engine) -> None:
    """
    After a fork, in the child: see to its end.

    A worker of `multiprocessing` leaves by `os._exit` after running its own
    finalisers, and forgets those it inherited; so ours is put in from one of
    the functions that it runs at its start.
    """
    _registered.clear()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(engine, _finalize_worker)


def _finalize_worker(engine: Engine) -> None:
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, at_exit, args=(engine,), exitpriority=-100)


def install_signal_handlers(engine: Engine) -> None:
    """
    Drain before a signal ends the process; the exit status stays what it would be.

    Handlers that were there before are called afterwards. Off the main thread
    nothing is installed: Python does not allow it.
    """
    import signal

    def handle(number: int, frame: FrameType | None) -> None:
        at_exit(engine)
        before = _handled.get(number)
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is None or number in _handled:
            continue
        before = signal.getsignal(number)
        if before is signal.SIG_IGN:
            continue
        try:
            signal.signal(number, handle)
        except ValueError:
            return
        _handled[number] = before
