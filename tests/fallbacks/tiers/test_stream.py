from __future__ import annotations

import errno
import fcntl
import os
import pty
import resource
import signal
import socket
import termios
import tty
from types import SimpleNamespace

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Partial, Retryable
from fallbacks.system import PosixSystem
from fallbacks.testing.fake_clock import FakeClock
from fallbacks.tier import Kind, SyncTier
from fallbacks.tiers import StreamTier, _ways
from fallbacks.tiers._ways import Way

pytestmark = pytest.mark.integration

LINES = [b"%04d" % n + b"x" * 95 + b"\n" for n in range(2000)]


class Waiting(PosixSystem):
    """A system whose waits for room take no time and do *act*."""

    __slots__ = ("act", "clock", "ready", "waits")

    def __init__(self, act=None, *, ready=True):
        self.act = act
        self.ready = ready
        self.clock = FakeClock()
        self.waits = 0

    def wait_writable(self, fd, seconds):
        if seconds == 0:
            return super().wait_writable(fd, 0)
        self.waits += 1
        if self.act is None:
            self.clock.advance(seconds)
            return False
        self.act()
        return self.ready


def status_flags(fd):
    """Return the flags that all holders of the open file share."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)


@pytest.fixture
def pipe():
    """Return a pipe: the end to read, the end to write."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            assert fd == ends[0]


@pytest.fixture
def terminal():
    """Return a raw terminal: its master, its slave."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.fixture
def sockets():
    """Return two connected sockets."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def tier_on():
    """Return a maker of stream tiers, which are closed after the test."""
    made = []

    def make(fd, **options):
        made.append(StreamTier(fd, **options))
        return made[-1]

    yield make
    for tier in made:
        tier.close()


def only(monkeypatch, *ways):
    """Have descriptors written in these ways, as on a platform that has no other."""
    monkeypatch.setattr(_ways, "WAYS", ((lambda mode: True, ways),))


def drain(fd, size=1 << 20):
    """Read what is there now."""
    os.set_blocking(fd, False)
    parts = []
    try:
        while part := os.read(fd, size):
            parts.append(part)
    except (BlockingIOError, OSError):
        pass
    return b"".join(parts)


def test_names_and_protocol():
    """
    Streams are named; other numbers are called after their descriptor.
    """
    assert isinstance(StreamTier(), SyncTier)
    assert (Kind.FINAL, "stderr", 2) == (StreamTier().kind, StreamTier().name, StreamTier()._number)
    assert ("stdout", 1) == (StreamTier("stdout").name, StreamTier("stdout")._number)
    assert ("fd7", "x") == (StreamTier(7).name, StreamTier(7, name="x").name)
    assert "<StreamTier stderr [fd 2]>" == repr(StreamTier())


@pytest.mark.parametrize("options", [{"stream": "stdin"}, {"stream": -1}, {"timeout": -1.0}])
def test_nonsense_is_refused(options):
    """
    What is no stream and no duration is an error at once.
    """
    with pytest.raises(ValueError, match=r"stdin|-1"):
        StreamTier(**options)


def test_pipe_gets_the_lines(pipe, tier_on):
    """
    Lines come out of a pipe as they are, rendered where a renderer is given.
    """
    outcomes = [
        tier_on(pipe[1]).write(Batch([b"one\n"])),
        tier_on(pipe[1], render=bytes.upper).write(Batch([b"two\n"])),
        tier_on(pipe[1]).write(Batch([])),
    ]

    assert [DELIVERED] * 3 == outcomes
    assert b"one\nTWO\n" == drain(pipe[0])


@pytest.mark.parametrize("ways", [(Way.NOWAIT,), (Way.REOPEN,), (Way.CAREFUL,)])
def test_full_pipe_takes_whole_lines_and_gives_up(pipe, tier_on, monkeypatch, ways):
    """
    An undrained pipe costs the timeout once; what is in it is what is claimed.
    """
    only(monkeypatch, *ways)
    flags = status_flags(pipe[1])
    system = Waiting()
    tier = tier_on(pipe[1], system=system, clock=system.clock, timeout=2.5)
    outcome = tier.write(Batch(LINES))
    data = drain(pipe[0])
    whole = data.count(b"\n")

    assert isinstance(outcome, Partial)
    assert list(range(whole)) == list(outcome.indices)
    assert isinstance(outcome.rest.error, BlockingIOError)
    assert b"".join(LINES).startswith(data)
    assert 1002.5 == system.clock.monotonic()
    assert flags == status_flags(pipe[1])
    if ways != (Way.CAREFUL,):
        assert data.endswith(b"\n")


def test_full_pipe_without_timeout_is_left_at_once(pipe, tier_on):
    """
    A timeout of nothing makes a single attempt.
    """
    system = Waiting()
    tier = tier_on(pipe[1], system=system, clock=system.clock, timeout=0.0)
    first = tier.write(Batch(LINES))
    second = tier.write(Batch(LINES))

    assert isinstance(first, Partial)
    assert isinstance(second, Retryable)
    assert 0 == system.waits


def test_pipe_that_is_read_meanwhile_gets_all(pipe, tier_on):
    """
    As long as somebody reads, a batch of any size goes through.
    """
    got = []
    system = Waiting(lambda: got.append(os.read(pipe[0], 1 << 16)))
    tier = tier_on(pipe[1], system=system, clock=system.clock)
    outcome = tier.write(Batch(LINES))
    got.append(drain(pipe[0]))

    assert DELIVERED is outcome
    assert b"".join(LINES) == b"".join(got)
    assert system.waits > 1


def test_torn_line_is_ended_before_the_next(pipe, tier_on):
    """
    A line over the pipe's atomic size may be cut; the next begins on its own line.
    """
    system = Waiting()
    tier = tier_on(pipe[1], system=system, clock=system.clock)
    line = b"y" * 200_000 + b"\n"
    outcome = tier.write(Batch([line]))
    torn = drain(pipe[0])
    after = tier.write(Batch([b"one\n"]))

    assert isinstance(outcome, Retryable)
    assert line.startswith(torn)
    assert 0 < len(torn) < len(line)
    assert DELIVERED is after
    assert b"\none\n" == drain(pipe[0])


def test_newline_alone_is_no_line(pipe, tier_on, monkeypatch):
    """
    When only the newline after a torn line got through, nothing was delivered.
    """
    tier = tier_on(pipe[1], timeout=0.0)
    tier.write(Batch([b"y" * 200_000 + b"\n"]))
    drain(pipe[0])
    monkeypatch.setattr("fallbacks.tiers.stream.nowait", lambda fd, data: os.write(fd, data[:1]))
    real = tier._put
    calls = iter([real])

    def once(data):
        for put in calls:
            return put(data)
        raise BlockingIOError

    monkeypatch.setattr(tier, "_put", once)
    outcome = tier.write(Batch([b"one\n"]))

    assert isinstance(outcome, Retryable)
    assert b"\n" == drain(pipe[0])


def test_room_that_is_always_gone_again_ends_the_wait(pipe, tier_on):
    """
    A descriptor that says it has room and takes nothing does not spin for long.
    """
    system = Waiting(lambda: None)
    tier = tier_on(pipe[1], system=system, clock=system.clock)
    tier.write(Batch(LINES))
    system.waits = 0
    outcome = tier.write(Batch(LINES))

    assert isinstance(outcome, Retryable)
    assert 100 == system.waits


def test_wait_is_over_when_the_clock_says_so(pipe, tier_on):
    """
    All waits of one write share one timeout.
    """
    system = Waiting(lambda: system.clock.advance(0.4))
    tier = tier_on(pipe[1], system=system, clock=system.clock, timeout=1.0)
    tier.write(Batch(LINES))

    assert 3 == system.waits


def test_reader_gone_is_retryable(pipe, tier_on):
    """
    EPIPE is an outcome, not a signal and not an exception.
    """
    os.close(pipe[0])
    outcome = tier_on(pipe[1]).write(Batch([b"one\n"]))

    assert isinstance(outcome.error, BrokenPipeError)


def test_closed_descriptor_is_retryable(pipe, tier_on):
    """
    With 2>&- there is nothing to write to, and nobody to complain to.
    """
    spare = os.dup(pipe[1])
    tier = tier_on(spare)
    tier.write(Batch([b"one\n"]))
    os.close(spare)
    outcome = tier.write(Batch([b"two\n"]))

    assert errno.EBADF == outcome.error.errno


def test_descriptor_put_elsewhere_is_followed(pipe, tier_on, tmp_path):
    """
    After dup2, as pytest and daemons do it, lines go where the number leads now.
    """
    number = os.dup(pipe[1])
    tier = tier_on(number, timeout=0.0)
    tier.write(Batch([b"y" * 200_000 + b"\n"]))
    with (tmp_path / "out").open("wb") as file:
        os.dup2(file.fileno(), number)
    tier.write(Batch([b"two\n"]))
    os.close(number)

    assert b"two\n" == (tmp_path / "out").read_bytes()


def test_redirected_file_shares_its_offset(tier_on, tmp_path):
    """
    With `> file` the program's own output and the lines do not overwrite each other.
    """
    path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    tier = tier_on(fd)
    os.write(fd, b"print 1\n")
    tier.write(Batch([b"log 1\n"]))
    os.write(fd, b"print 2\n")
    tier.write(Batch(LINES))
    os.close(fd)

    assert b"print 1\nlog 1\nprint 2\n" + b"".join(LINES) == path.read_bytes()


def test_redirected_file_at_its_limit(tier_on, tmp_path):
    """
    A file that takes a part is torn, and the next write starts a new line.
    """
    path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    tier = tier_on(fd)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, limits[1]))
    try:
        outcome = tier.write(Batch(LINES[:5]))
        full = tier.write(Batch(LINES[:5]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    tier.write(Batch([b"end\n"]))
    os.close(fd)

    assert [0, 1] == list(outcome.indices)
    assert errno.EFBIG == outcome.rest.error.errno
    assert errno.EFBIG == full.error.errno
    assert b"".join(LINES[:2]) + LINES[2][:50] + b"\nend\n" == path.read_bytes()


def test_terminal_that_is_paused_does_not_hang(terminal, tier_on):
    """
    Nobody reads the terminal: lines up to its buffer, then the timeout; flags as before.
    """
    master, slave = terminal
    flags = status_flags(slave)
    system = Waiting()
    tier = tier_on(slave, system=system, clock=system.clock)
    outcome = tier.write(Batch(LINES))
    data = drain(master)

    assert isinstance(outcome, Partial)
    assert list(range(data.count(b"\n"))) == list(outcome.indices)
    assert (Way.REOPEN, Way.CAREFUL) == tier._ways
    assert flags == status_flags(slave)


def test_terminal_stopped_by_its_user_resumes(terminal, tier_on):
    """
    After Ctrl-S nothing goes through and nothing hangs; after Ctrl-Q it goes on.
    """
    master, slave = terminal
    system = Waiting()
    tier = tier_on(slave, system=system, clock=system.clock)
    termios.tcflow(slave, termios.TCOOFF)
    stopped = tier.write(Batch([b"one\n"]))
    termios.tcflow(slave, termios.TCOON)
    resumed = tier.write(Batch([b"two\n"]))

    assert isinstance(stopped, Retryable)
    assert DELIVERED is resumed
    assert b"two\n" == drain(master)


def test_terminal_that_hung_up_is_opened_anew(tier_on):
    """
    The descriptor of our own does not outlive its terminal.
    """
    master, slave = pty.openpty()
    tier = tier_on(slave)
    tier.write(Batch([b"one\n"]))
    os.close(master)
    outcome = tier.write(Batch([b"two\n"]))
    own = tier._own
    os.close(slave)

    assert errno.EIO == outcome.error.errno
    assert own is None


def test_master_side_is_not_opened_again(terminal, tier_on):
    """
    Opening the master side anew would make another terminal.
    """
    master, slave = terminal
    tier = tier_on(master)
    outcome = tier.write(Batch([b"one\n"]))

    assert DELIVERED is outcome
    assert (Way.CAREFUL,) == tier._ways
    assert b"one\n" == drain(slave)


@pytest.mark.parametrize("ways", [(Way.NOWAIT,), (Way.SEND,), (Way.CAREFUL,)])
def test_full_socket_does_not_hang(sockets, tier_on, monkeypatch, ways):
    """
    A socket, as systemd gives one, is written to as far as it has room.
    """
    only(monkeypatch, *ways)
    mine, theirs = sockets
    flags = status_flags(mine.fileno())
    system = Waiting()
    tier = tier_on(mine.fileno(), system=system, clock=system.clock)
    outcome = tier.write(Batch(LINES * 3))
    data = drain(theirs.fileno())

    assert isinstance(outcome, Partial)
    assert list(range(data.count(b"\n"))) == list(outcome.indices)
    assert flags == status_flags(mine.fileno())


def test_default_timeout_of_sockets_changes_no_flags(sockets, tier_on, monkeypatch):
    """
    With a default timeout Python would make the shared socket non-blocking.
    """
    only(monkeypatch, Way.SEND, Way.CAREFUL)
    mine, theirs = sockets
    mine.setblocking(True)
    flags = status_flags(mine.fileno())
    monkeypatch.setattr(socket, "getdefaulttimeout", lambda: 5.0)
    tier = tier_on(mine.fileno())
    tier.write(Batch([b"one\n"]))

    assert (Way.CAREFUL,) == tier._ways
    assert flags == status_flags(mine.fileno())
    assert b"one\n" == drain(theirs.fileno())


@pytest.mark.parametrize(("path", "expected"), [("/dev/null", None), ("/dev/full", errno.ENOSPC)])
def test_devices(tier_on, path, expected):
    """
    Other devices are not opened again: written where they take it, else retryable.
    """
    fd = os.open(path, os.O_WRONLY)
    outcome = tier_on(fd).write(Batch([b"one\n"]))
    os.close(fd)

    assert expected == (None if outcome is DELIVERED else outcome.error.errno)


def test_directory_as_a_stream_is_retryable(tier_on, tmp_path):
    """
    Whatever the number leads to, the answer is an outcome.
    """
    fd = os.open(tmp_path, os.O_RDONLY)
    tier = tier_on(fd, timeout=0.0)
    outcome = tier.write(Batch([b"one\n"]))
    os.close(fd)

    assert isinstance(outcome, Retryable)


def test_platform_without_the_flag_uses_the_next_way(pipe, tier_on, monkeypatch):
    """
    Where RWF_NOWAIT is unknown, a pipe is opened again.
    """
    monkeypatch.delattr(os, "RWF_NOWAIT")
    tier = tier_on(pipe[1])
    outcomes = [tier.write(Batch([b"one\n"])), tier.write(Batch([b"two\n"]))]

    assert [DELIVERED] * 2 == outcomes
    assert (Way.REOPEN, Way.CAREFUL) == tier._ways
    assert b"one\ntwo\n" == drain(pipe[0])


def test_without_proc_room_is_asked_for(pipe, tier_on, monkeypatch):
    """
    Where a descriptor cannot be opened again, little is written at a time.
    """

    class NoProc(PosixSystem):
        __slots__ = ()

        def open(self, path, flags, mode=0o600):
            raise FileNotFoundError(errno.ENOENT, "no /proc", path)

    monkeypatch.delattr(os, "RWF_NOWAIT")
    tier = tier_on(pipe[1], system=NoProc())
    outcome = tier.write(Batch(LINES[:20]))

    assert DELIVERED is outcome
    assert (Way.CAREFUL,) == tier._ways
    assert b"".join(LINES[:20]) == drain(pipe[0])


def test_proc_that_leads_elsewhere_is_not_believed(pipe, tier_on, monkeypatch):
    """
    A descriptor opened again must be the same thing.
    """

    class Elsewhere(PosixSystem):
        __slots__ = ()

        def open(self, path, flags, mode=0o600):
            return os.open("/dev/null", os.O_WRONLY)

    monkeypatch.delattr(os, "RWF_NOWAIT")
    before = len(os.listdir("/proc/self/fd"))
    tier_on(pipe[1], system=Elsewhere()).write(Batch([b"one\n"]))

    assert before == len(os.listdir("/proc/self/fd"))
    assert b"one\n" == drain(pipe[0])


def test_write_that_takes_nothing_is_an_error(tier_on, tmp_path):
    """
    A write that reports nothing does not turn into an endless loop.
    """

    class Nothing(PosixSystem):
        __slots__ = ()

        def write(self, fd, data):
            return 0

    with (tmp_path / "out").open("wb") as file:
        outcome = tier_on(file.fileno(), system=Nothing()).write(Batch([b"one\n"]))

    assert errno.EIO == outcome.error.errno


def test_closed_in_the_middle_of_a_write(pipe, tier_on):
    """
    Closing while a write waits ends that write with what it had done.
    """
    system = Waiting(lambda: tier.close())  # noqa: PLW0108 - the tier comes later
    tier = tier_on(pipe[1], system=system, clock=system.clock)
    outcome = tier.write(Batch(LINES))

    assert isinstance(outcome, Partial)
    assert errno.EIO == outcome.rest.error.errno
    assert drain(pipe[0]).count(b"\n") == len(outcome.indices)


def test_close_closes_only_what_is_our_own(terminal, tier_on):
    """
    The inherited descriptor stays open; the tier's own goes, in a child too.
    """
    _, slave = terminal
    before = len(os.listdir("/proc/self/fd"))
    tier = tier_on(slave)
    tier.write(Batch([b"one\n"]))
    during = len(os.listdir("/proc/self/fd"))
    inheritable = os.get_inheritable(tier._own)
    tier.abandon()
    tier.close()

    assert before + 1 == during
    assert not inheritable
    assert before == len(os.listdir("/proc/self/fd"))
    assert os.isatty(slave)


def test_unknown_kinds_are_asked_for_room():
    """
    What is neither file, pipe, socket nor device is written with care.
    """
    ways = _ways.ways_for(SimpleNamespace(st_mode=0o060000))

    assert (Way.CAREFUL,) == ways
