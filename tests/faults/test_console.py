"""
A console that is closed, broken, full or a terminal, and what others see of our writing to it.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import textwrap
import time

import pytest

from tests.sinks._kit import ROOT, numbers, records, run_program, start_program

pytestmark = pytest.mark.faults

LOG = """
    import sys, time
    import hydra
    hydra.configure(app="t", level="debug", queue={"block_timeout": 0.3}, destinations=[
        {"type": "console", "stream": sys.argv[1], "format": "json", "name": "console"}])
    log = hydra.get_logger("shop")
    for n in range(100):
        log.info("ordinary", n=n)
    began = time.monotonic()
    for n in range(100, 120):
        log.error("grave", n=n)
    slow = time.monotonic() - began
    assert slow < 1.0, slow
    stats = hydra.close(0.3)
    assert stats.balanced, stats
    sys.exit(0 if stats.accepted == 120 else 9)
"""


def program(source, *args, before="", **options):
    """Run *source* by a shell that first does *before*, such as closing a descriptor."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HYDRA_STATE_DIR": os.environ["HYDRA_STATE_DIR"],
    }
    command = f'exec {sys.executable} -c "$0" "$@" {before}'
    return subprocess.run(
        ["sh", "-c", command, textwrap.dedent(source), *map(str, args)],
        env=environment,
        capture_output=True,
        timeout=20,
        check=False,
        **options,
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_reach_no_caller(stream, closed):
    """With its descriptors closed a program logs on undisturbed, and every record is counted."""
    done = program(LOG, stream, before=closed)

    assert 0 == done.returncode
    reached = done.stdout if stream == "stdout" else done.stderr
    other = {"stdout": ">&-", "stderr": "2>&-"}[stream]
    if other not in closed:
        assert list(range(120)) == numbers(records(reached.splitlines()))


def test_closed_standard_output_falls_to_standard_error():
    """What standard output does not take appears on standard error, which is its fallback."""
    done = program(LOG, "stdout", before=">&-")

    assert list(range(120)) == numbers(records(done.stderr.splitlines()))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_reader_that_has_gone_reaches_no_caller(stream):
    """A pipe without a reader raises nothing and kills nobody."""
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if stream == "stdout" else "stdout"
    try:
        pipes = {stream: writing, other: subprocess.PIPE}
        done = run_program(textwrap.dedent(LOG), stream, **pipes)
    finally:
        os.close(writing)

    assert 0 == done.returncode
    if stream == "stdout":
        assert list(range(120)) == numbers(records(done.stderr.splitlines()))
    else:
        assert b"" == done.stdout


def test_program_without_sys_stderr():
    """The descriptor counts: `sys.stderr` may be None or closed."""
    source = """
        import sys
        sys.stderr = None
        import hydra
        log = hydra.get_logger("shop")
        log.warning("first", n=0)
        log.error("second", n=1)
        hydra.close()
    """
    done = run_program(textwrap.dedent(source))

    assert [0, 1] == numbers(records(done.stderr.splitlines()))


@pytest.mark.parametrize("level", ["error", "critical"])
def test_error_off_the_loop_is_written_when_the_call_returns(level):
    """Without a journal, off a loop, an ERROR is in the pipe before the next statement runs."""
    source = """
        import os, sys
        import hydra
        hydra.configure(app="t", destinations=[{"type": "console", "format": "json"}])
        log = hydra.get_logger("shop")
        receipt = getattr(log, sys.argv[1])("grave", n=0)
        settled = receipt.wait(0).settled
        os.write(1, b"%d %s" % (settled, receipt.durability.value.encode()))
        os._exit(0)
    """
    done = run_program(textwrap.dedent(source), level)

    assert (b"1 S", 0) == (done.stdout, done.returncode)
    assert [0] == numbers(records(done.stderr.splitlines()))


@pytest.mark.parametrize("style", ["asyncio", "trio"])
def test_error_on_the_loop_is_tried_at_once(style):
    """On a loop one attempt without waiting is made: there is room, so the line is out."""
    source = """
        import os, sys
        import hydra
        hydra.configure(app="t", destinations=[{"type": "console", "format": "json"}])
        log = hydra.get_logger("shop")

        async def main():
            receipt = log.error("grave", n=0)
            os.write(1, receipt.durability.value.encode())
            os._exit(0)

        if sys.argv[1] == "asyncio":
            import asyncio
            asyncio.run(main())
        else:
            import trio
            trio.run(main)
    """
    done = run_program(textwrap.dedent(source), style)

    assert (b"S", 0) == (done.stdout, done.returncode)
    assert [0] == numbers(records(done.stderr.splitlines()))


FULL = """
    import os, sys, time
    import hydra
    on_loop = sys.argv[1] == "loop"
    hydra.configure(
        app="t", queue={"block_timeout": 0.3},
        destinations=[{"type": "console", "stream": "stdout", "format": "json",
                       "timeout": 5.0, "fallback": []}])
    log = hydra.get_logger("shop")
    # The pipe is full before we begin, and without a helping hand it stays so.
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, b"x" * 4095 + b"\\n")
    except BlockingIOError:
        pass
    os.set_blocking(1, True)

    def calls():
        slowest = 0.0
        receipts = []
        for n in range(3):
            began = time.monotonic()
            receipts.append(log.error("grave", n=n))
            slowest = max(slowest, time.monotonic() - began)
        states = "".join(receipt.durability.value for receipt in receipts)
        os.write(2, f"{slowest:.3f} {states}\\n".encode())

    if on_loop:
        import asyncio

        async def main():
            calls()

        asyncio.run(main())
    else:
        calls()
    os.write(2, b"stalled\\n")
    sys.stdin.read()
    stats = hydra.close(5.0)
    os.write(2, f"{stats.balanced} {stats.accepted} {stats.delivered} {stats.dropped}\\n".encode())
"""


@pytest.mark.parametrize(("where", "bound"), [("loop", 0.1), ("thread", 0.3 + 0.4)])
def test_full_pipe_holds_a_caller_no_longer_than_it_agreed_to(where, bound):
    """
    An ERROR into a full pipe does not wait on a loop, and off it for the block timeout at most;
    its receipt says that it is queued only. Once the pipe is read, everything arrives.
    """
    with start_program(FULL, where) as running:
        slowest, states = running.stderr.readline().split()
        assert b"stalled\n" == running.stderr.readline()
        out, err = running.communicate(b"", timeout=20)

    assert float(slowest) < bound
    assert b"QQQ" == states
    assert b"True 3 3 0\n" == err
    lines = [line for line in out.splitlines() if not line.startswith(b"xxx")]
    assert [0, 1, 2] == numbers(records(lines))


def test_shared_flags_are_left_alone():
    """Whatever happens on the console, the flags of the shared descriptions stay as they were."""
    reading, writing = os.pipe()
    again, second = os.pipe()
    try:
        before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (writing, second)]
        seen = []
        source = """
            import sys, os
            import hydra
            hydra.configure(app="t", queue={"block_timeout": 0.1}, exit_timeout=0.5, destinations=[
                {"type": "console", "stream": "stdout", "timeout": 0.2, "format": "json"}])
            log = hydra.get_logger("shop")
            for n in range(2000):
                log.info("ordinary " + "x" * 100, n=n)
            log.error("grave", n=2000)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=second,
        ) as running:
            deadline = time.monotonic() + 20
            while running.poll() is None and time.monotonic() < deadline:
                seen.append([fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (writing, second)])
                select.select([], [], [], 0.001)
        after = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (writing, second)]
    finally:
        for fd in (reading, writing, again, second):
            os.close(fd)

    assert 0 == running.returncode
    assert before == after
    assert all(before == flags for flags in seen)


def test_terminal_gets_no_control_bytes_of_the_application():
    """On a terminal the only control bytes are our own colours and the newline."""
    source = """
        import hydra
        hydra.configure(app="t", destinations=[{"type": "console", "color": "never"}])
        log = hydra.get_logger("shop\\x1b[31m")
        evil = "".join(map(chr, range(0x20))) + "\\x7f" + "".join(map(chr, range(0x80, 0xa0)))
        log.error(evil + "\\x1b]52;c;aGk=\\x07" + "\\u2028\\u202e", **{"key": evil}, n=1)
        try:
            raise ValueError(evil)
        except ValueError:
            log.exception("with \\r trace")
        hydra.close()
    """
    master, terminal = os.openpty()
    try:
        running = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
        )
        os.close(terminal)
        out = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:
                break
            if not chunk:
                break
            out += chunk
        assert 0 == running.wait(20)
    finally:
        os.close(master)

    # The line discipline makes \r\n of each newline.
    text = out.replace(b"\r\n", b"\n").decode()
    assert "key" in text
    assert [] == [
        hex(ord(char))
        for char in text
        if (ord(char) < 0x20 and char != "\n")
        or 0x7F <= ord(char) < 0xA0
        or char in "\u2028\u2029\u202e"
    ]
