"""
The console tier: standard output or standard error, without ever hanging on it.

Rule 1: nobody may read at the other end, and a paused terminal is no reason to
stop a program. A write waits for room up to its timeout, then gives up.
Rule 2: the descriptor belongs to others too; its flags are not touched.
Rule 3: what counts is the descriptor's number, looked at before each batch.
`sys.stderr` may be None, replaced or closed without any effect here.
"""

from __future__ import annotations

import errno
import stat as kinds
from typing import Final, Literal

from ..batch import Batch
from ..clock import SYSTEM_CLOCK, Clock
from ..outcomes import DELIVERED, Outcome
from ..system import SYSTEM, FileFacts, System
from ..tier import Kind
from ._lines import NEWLINE, Render, chunk_end, is_torn, judge, render_lines
from ._ways import ATOMIC, Way, careful, is_not_possible, nowait, reopen, send, ways_for

_NUMBERS: Final = {"stdout": 1, "stderr": 2}
# How often in a row room may be gone again before the next write gets to it.
_FRUITLESS: Final = 100


class StreamTier:
    """
    Write lines to a descriptor that was inherited: a console, a pipe, a file.

    Pipes, terminals and sockets are written without blocking: by a flag of the
    call, or through a descriptor of our own on the same thing. A file that the
    shell redirected to is written at the offset it shares with the program's own
    output. Lines up to 4096 bytes are never torn on a pipe.

    Closed descriptors and pipes without a reader end in `Retryable`. A number that
    is closed and taken by another file cannot be told from a redirection.

    Args:
        stream: "stdout", "stderr" or the number of a descriptor. It is not closed.
        render: Makes the bytes to write out of a line; None writes it as it is.
            What it raises leaves `write`, an Exception as a `RenderError`.
        name: Label in statistics and receipts; None takes the stream's.
        timeout: Seconds that one `write` may wait for room, all together.
        system: The system calls to use.
        clock: Measures the timeout.

    Raises:
        ValueError: If *stream* is another word or a negative number, or *timeout*
            is negative.
    """

    kind = Kind.FINAL

    def __init__(
        self,
        stream: int | Literal["stdout", "stderr"] = "stderr",
        *,
        render: Render | None = None,
        name: str | None = None,
        timeout: float = 1.0,
        system: System = SYSTEM,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        number = _NUMBERS.get(stream, -1) if isinstance(stream, str) else stream
        if number < 0:
            raise ValueError(f"stream must be 'stdout', 'stderr' or a descriptor, not {stream!r}")
        if timeout < 0:
            raise ValueError(f"timeout must not be negative, but is {timeout}")
        self.name = name or (stream if isinstance(stream, str) else f"fd{stream}")
        self.timeout = timeout
        self._number = number
        self._render = render
        self._system = system
        self._clock = clock
        self._target: tuple[int, int, int] | None = None
        self._ways: tuple[Way, ...] = ()
        self._own: int | None = None
        self._torn = False

    def write(self, batch: Batch) -> Outcome:
        """
        Write *batch*, waiting for room up to the timeout.

        Returns:
            `Delivered`; `Partial` with the lines written whole, the others
            retryable; or `Retryable` when there are none.
        """
        pieces = render_lines(batch, self._render)
        data = b"".join(pieces)
        if not data:
            return DELIVERED
        written, error = self._push(data, self.timeout)
        if error is not None and not isinstance(error, BlockingIOError):
            # Start over next time: a terminal that hung up is dead for who holds it.
            self.close()
        return judge(pieces, len(data), written, error)

    def has_room(self) -> bool:
        """Return whether a write would be taken now, at least in part. Any thread may ask."""
        try:
            return self._system.wait_writable(self._number, 0.0)
        except (OSError, ValueError):
            # Closed, or a number that cannot be asked for: the write will tell.
            return True

    def close(self) -> None:
        """Close the descriptor of our own, if there is one. Idempotent; `write` reopens."""
        self._ways = ()
        own, self._own = self._own, None
        if own is not None:
            self._system.close(own)

    def abandon(self) -> None:
        """Let go, in a forked child, of what was opened before the fork."""
        self.close()

    def _push(self, data: bytes, seconds: float) -> tuple[int, OSError | None]:
        """Return how many bytes of *data* were taken, and what stopped the rest."""
        error: OSError | None = None
        lead = done = 0
        try:
            limit = self._look()
            if self._torn:
                lead, data = 1, NEWLINE + data
            patience = _Patience(self._clock, seconds)
            while done < len(data):
                chunk = data[done : chunk_end(data, done, limit or len(data))]
                try:
                    taken = self._put(chunk)
                except BlockingIOError as full:
                    if not patience.lasts(self._system, self._number):
                        error = full
                        break
                else:
                    patience.renew()
                    self._torn = is_torn(chunk, taken, self._torn)
                    done += taken
        except OSError as failure:
            error = failure
        return max(0, done - lead), error

    def _put(self, data: bytes) -> int:
        """Write once, by the best way that the descriptor knows."""
        ways = self._ways
        for n, way in enumerate(ways, 1):
            try:
                taken = self._by(way, data)
            except OSError as error:
                if n == len(ways) or not is_not_possible(error):
                    raise
            else:
                if n > 1:
                    self._ways = ways[n - 1 :]
                if taken > 0:
                    return taken
                break
        # Also when it was closed meanwhile: no way is left then.
        raise OSError(errno.EIO, "a write took nothing and gave no error")

    def _by(self, way: Way, data: bytes) -> int:
        fd = self._number
        match way:
            case Way.PLAIN:
                return self._system.write(fd, data)
            case Way.NOWAIT:
                return nowait(fd, data)
            case Way.REOPEN:
                if self._own is None:
                    self._own = reopen(self._system, fd)
                return self._system.write(self._own, data)
            case Way.SEND:
                return send(fd, data)
            case _:
                return careful(self._system, fd, data)

    def _look(self) -> int:
        """
        Find out what the number leads to now.

        Returns:
            How many bytes to write at once at most; 0 for any number.
        """
        facts = self._system.fstat(self._number)
        target = _key(facts)
        if target != self._target:
            self.close()
            self._torn = False
            self._target = target
        if not self._ways:
            self._ways = ways_for(facts)
        return 0 if self._ways[0] is Way.PLAIN else ATOMIC

    def __repr__(self) -> str:
        return f"<StreamTier {self.name} [fd {self._number}]>"


class _Patience:
    """
    How long a write goes on waiting for room.

    Args:
        clock: Measures it.
        seconds: From now on.
    """

    __slots__ = ("_clock", "_end", "_fruitless", "_seconds")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._end = clock.monotonic() + seconds if seconds else 0.0
        self._fruitless = 0

    def lasts(self, system: System, fd: int) -> bool:
        """Wait for room; return False when the time is up or waiting is no use."""
        self._fruitless += 1
        if not self._seconds or self._fruitless > _FRUITLESS:
            return False
        left = self._end - self._clock.monotonic()
        return left > 0 and system.wait_writable(fd, left)

    def renew(self) -> None:
        """Take note that bytes were taken."""
        self._fruitless = 0


def _key(facts: FileFacts) -> tuple[int, int, int]:
    return facts.st_dev, facts.st_ino, kinds.S_IFMT(facts.st_mode)
