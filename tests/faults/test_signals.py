"""
A signal ends the process, or interrupts it.
"""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.faults.programs import PATIENCE, World

pytestmark = pytest.mark.faults

WITH_SIGNALS = """
import os, sys, signal, hydra
{before}
hydra.configure(app="shop", level="debug", signals=True, state_dir={state!r},
                destinations=[{{"name": "app", "type": "file", "path": {path!r}}}])
log = hydra.get_logger("shop")
log.info("info"); log.error("error")
{after}
"""
FATAL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def _run_with_signals(world, *, before="", after=""):
    source = WITH_SIGNALS.format(
        state=str(world.state), path=str(world.path), before=before, after=after
    )
    return world.run(source, start=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=str)
def test_default_action(tmp_path, number):
    """
    Without handlers of ours a signal does what it always did; the ERROR is kept.
    """
    world = World(tmp_path)
    process = world.popen("""
    import time
    log.error("kept"); print("ready", flush=True)
    while True: time.sleep(1)
    """)
    assert "ready\n" == process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    world.recover()

    assert -number == process.returncode
    assert (number == signal.SIGINT) == ("KeyboardInterrupt" in err)
    assert ["kept"] == world.messages()
    assert [] == world.directories()


@pytest.mark.parametrize("number", FATAL, ids=str)
def test_handlers_asked_for(tmp_path, number):
    """
    With `signals` a fatal signal drains first; the status stays what it would be.
    """
    world = World(tmp_path)
    ended = _run_with_signals(world, after=f"os.kill(os.getpid(), {int(number)})")

    assert -number == ended.status
    assert (number == signal.SIGINT) == ("KeyboardInterrupt" in ended.stderr)
    assert ["info", "error"] == world.messages()
    assert [] == world.directories()


def test_former_handler_is_called(tmp_path):
    """
    A handler that was there before is called afterwards, with what it expects.
    """
    world = World(tmp_path)
    before = """
def mine(number, frame):
    print(number, frame is not None)
    sys.exit(7)
signal.signal(signal.SIGTERM, mine)
"""
    ended = _run_with_signals(world, before=before, after="os.kill(os.getpid(), signal.SIGTERM)")

    assert ("15 True\n", "", 7) == (ended.stdout, ended.stderr, ended.status)
    assert ["info", "error"] == world.messages()
    assert [] == world.directories()


def test_process_that_survives_its_signal(tmp_path):
    """
    When the former handler lets the process live, later records are kept too.
    """
    world = World(tmp_path)
    before = "signal.signal(signal.SIGTERM, lambda number, frame: None)"
    after = "os.kill(os.getpid(), signal.SIGTERM); log.info('later'); log.error('later error')"
    ended = _run_with_signals(world, before=before, after=after)

    assert ("", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["info", "error", "later", "later error"] == world.messages()
    assert [] == world.directories()


def test_ignored_signal_stays_ignored(tmp_path):
    """
    A signal that the process ignores (nohup) is none of ours.
    """
    world = World(tmp_path)
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    after = "os.kill(os.getpid(), signal.SIGHUP); log.info('later')"
    ended = _run_with_signals(world, before=before, after=after)

    assert ("", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["info", "error", "later"] == world.messages()


def test_configured_off_the_main_thread(tmp_path):
    """
    Python allows handlers in the main thread only; elsewhere none is installed, and nothing raised.
    """
    world = World(tmp_path)
    ended = world.run(f"""
    import threading
    def configure():
        hydra.configure(app="shop", signals=True, state_dir={str(world.state)!r},
                        destinations=[{{"name": "app", "type": "file",
                                        "path": {str(world.path)!r}}}])
    thread = threading.Thread(target=configure); thread.start(); thread.join()
    log.info("one")
    import signal
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """)

    assert ("True\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["one"] == world.messages()


def test_handler_that_logs_in_the_middle_of_calls(tmp_path):
    """
    A handler at 200 Hz that logs while the main thread logs: no hang, each record once.
    """
    world = World(tmp_path)
    ended = world.run("""
    import signal
    beats = 0
    def beat(number, frame):
        global beats
        # One that interrupts another has a number of its own.
        beats = mine = beats + 1
        log.info(f"beat {mine}"); log.error(f"error beat {mine}")
    signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    n = 0
    while beats < 100:
        n += 1
        (log.error if n % 4 == 0 else log.info)(f"main {n}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    hydra.close()
    print(n, beats, hydra.stats().balanced)
    """)
    assert (0, "") == (ended.status, ended.stderr)
    n, beats, balanced = ended.stdout.split()
    expected = [f"main {k}" for k in range(1, int(n) + 1)]
    expected += [f"{word} {k}" for k in range(1, int(beats) + 1) for word in ("beat", "error beat")]

    assert "True" == balanced
    assert Counter(expected) == Counter(world.messages())
    assert [] == world.twice()
    assert [] == world.directories()


def test_exception_out_of_a_handler_in_the_middle_of_calls(tmp_path):
    """
    A handler that raises cuts calls short anywhere; the ledger still balances, no lock stays taken.
    """
    world = World(tmp_path)
    ended = world.run("""
    import signal
    class Stop(KeyboardInterrupt): pass
    def stop(number, frame): raise Stop
    signal.signal(signal.SIGALRM, stop)
    n = stops = 0
    returned = []
    while stops < 150:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0003 + stops * 0.000007)
            while True:
                n += 1
                if n % 3 == 0:
                    log.error(f"e{n}"); returned.append(n)
                else:
                    log.info(f"i{n}")
        except Stop:
            stops += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    stats = hydra.close()
    print(stats.balanced, stats.pending, stats.dropped)
    print(*returned)
    """)
    assert (0, "") == (ended.status, ended.stderr)
    first, returned = ended.stdout.splitlines()
    messages = Counter(world.messages())

    assert ["True", "0"] == first.split()[:2]
    assert [] == [n for n in returned.split() if messages[f"e{n}"] != 1]
    assert [] == world.twice()
    # A segment may have been cut short in the making; the next start removes it.
    world.recover()

    assert messages == Counter(world.messages())
    assert [] == world.directories()


def test_asyncio_program_that_is_interrupted(tmp_path):
    """
    Ctrl-C ends `asyncio.run` as ever, and what the tasks logged is in the file.
    """
    world = World(tmp_path)
    ended = world.run("""
    import asyncio, signal
    from hydra.engine import ENGINE
    async def work(n):
        await log.info(f"info {n}"); await log.error(f"error {n}")
        await asyncio.sleep(30)
    async def main():
        tasks = [asyncio.create_task(work(n)) for n in range(3)]
        # CPython forgets that it was Ctrl-C when another thread imports meanwhile, as the
        # one of the engine's loop does while it starts.
        while not ENGINE.run.loop._ready: await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.gather(*tasks)
    asyncio.run(main())
    """)

    assert -signal.SIGINT == ended.status
    assert "KeyboardInterrupt" in ended.stderr
    assert [f"{word} {n}" for word in ("error", "info") for n in range(3)] == sorted(
        world.messages()
    )
    assert [] == world.twice()
    assert [] == world.directories()


def test_out_of_memory_killer(tmp_path):
    """
    What the kernel kills for want of memory has kept its ERRORs.
    """
    from pathlib import Path

    group = Path("/sys/fs/cgroup/memory") / f"hydra-test-{tmp_path.name}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(96 << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no memory control group to be had: {error}")
    world = World(tmp_path)
    try:
        ended = world.run(f"""
        open("{group}/cgroup.procs", "w").write(str(os.getpid()))
        log.error("kept")
        hoard = []
        while True: hoard.append(bytearray(b"x" * (4 << 20)))
        """)
    finally:
        group.rmdir()
    world.recover()

    assert -signal.SIGKILL == ended.status
    assert ["kept"] == world.messages()
    assert [] == world.directories()
