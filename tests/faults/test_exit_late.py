"""
The interpreter shuts down, and somebody still logs.
"""

from __future__ import annotations

import json

import pytest

from tests.faults.programs import World
from tests.sinks._kit import until

pytestmark = pytest.mark.faults


def test_atexit_before_and_after_the_import(tmp_path):
    """
    Functions at exit may log, whether they run before our own or after it.
    """
    world = World(tmp_path)
    before = "import atexit\natexit.register(lambda: (log.info('last'), log.error('last error')))\n"
    after = "atexit.register(lambda: (log.info('first'), log.error('first error')))"
    ended = world.run(before + world.start + "log.info('body')\n" + after, start=False)

    assert (0, "") == (ended.status, ended.stderr)
    assert ["body", "first", "first error", "last", "last error"] == world.messages()
    assert [] == world.directories()


def test_finaliser_of_a_global(tmp_path):
    """
    `__del__` of an object that lives until the modules are cleared may log.
    """
    world = World(tmp_path)
    ended = world.run("""
    class Late:
        def __init__(self, log): self.log = log
        def __del__(self):
            self.log.info("late"); self.log.error("late error")
    late = Late(log)
    log.info("body")
    """)

    assert (0, "") == (ended.status, ended.stderr)
    assert ["body", "late", "late error"] == world.messages()
    assert [] == world.directories()


def test_daemon_thread_that_logs_to_the_end(tmp_path):
    """
    A daemon thread that logs until it is frozen costs no traceback; its returned ERRORs are kept.
    """
    world = World(tmp_path)
    ended = world.run("""
    import threading, time
    returned = []
    def chatter():
        n = 0
        while True:
            n += 1
            (log.error if n % 2 else log.info)(f"{n}")
            returned.append(n)
    import atexit
    threading.Thread(target=chatter, daemon=True).start()
    while len(returned) < 500: time.sleep(0.001)
    sys.stdout.write(str(returned[-1]))
    """)
    world.recover()
    errors = {f"{n}" for n in range(1, int(ended.stdout) + 1, 2)}

    assert (0, "") == (ended.status, ended.stderr)
    assert set() == errors - set(world.messages())
    assert [] == world.twice()
    assert [] == world.left()


def test_thread_that_outlives_main(tmp_path):
    """
    Python waits for other threads before it ends; what they log meanwhile is kept.
    """
    world = World(tmp_path)
    ended = world.run("""
    import threading
    over = threading.Event()
    def work():
        threading.main_thread().join()
        for n in range(20): log.info(f"info {n}"); log.error(f"error {n}")
    threading.Thread(target=work).start()
    log.info("main")
    """)

    assert (0, "") == (ended.status, ended.stderr)
    assert ["main", *(f"{w} {n}" for n in range(20) for w in ("info", "error"))] == world.messages()
    assert [] == world.directories()


@pytest.mark.parametrize("style", ["plain", "asyncio"])
def test_nothing_is_started_or_imported_at_exit(tmp_path, style):
    """
    From the first function at exit on: no import, no thread, whatever is still to be drained.

    Another thread may be in the middle of loading the event loop's modules; it
    is not waited for.
    """
    world = World(tmp_path)
    work = {
        "plain": "for n in range(300): log.info('info'); log.error('error')",
        "asyncio": """
import asyncio
async def main():
    for n in range(300): await log.info('info'); await log.error('error')
asyncio.run(main())
""",
    }[style]
    watch = f"""
import _thread, atexit
main = _thread.get_ident()
def watch():
    known = set(sys.modules)
    events = open({str(tmp_path / "events")!r}, "w", buffering=1)
    def hook(event, arguments):
        if _thread.get_ident() != main: return
        if event == "import" and arguments[0] not in known:
            events.write(f"import {{arguments[0]}}\\n")
        if event.startswith("_thread.start_"): events.write("thread\\n")
    sys.addaudithook(hook)
    log.info("at exit"); log.error("at exit")
"""
    # Registered last, so that it runs first.
    ended = world.run(f"{work}\n{watch}\natexit.register(watch)")
    events = (tmp_path / "events").read_text()

    assert (0, "") == (ended.status, ended.stderr)
    assert 602 == len(world.messages())
    assert "" == events
    assert [] == world.directories()


SLOW = """
import os, sys, time, hydra
def sink(lines):
    for line in lines:
        time.sleep(0.001)
        os.write(out, line)
out = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
hydra.configure(app="shop", state_dir={state!r}, exit_timeout={deadline},
                queue={{"records": 20_000}},
                destinations=[{{"name": "app", "type": "sink", "sink": sink, "batch": 200}}])
log = hydra.get_logger("shop")
for n in range(10_000):
    log.info(f"record {{n}}")
import atexit
print(time.perf_counter(), flush=True)
"""


def test_backlog_and_a_slow_sink_at_exit(tmp_path, record_property):
    """
    Ten thousand records for a sink of a millisecond each: at the deadline the rest is in a file.
    """
    import time

    world = World(tmp_path)
    source = SLOW.format(path=str(world.path), state=str(world.state), deadline=1.0)
    ended = world.run(source, start=False)
    # The clock that perf_counter reads is the same in all processes.
    seconds = time.perf_counter() - float(ended.stdout)
    record_property("seconds", seconds)
    print("exit with a backlog", seconds)
    held = [
        json.loads(line)["message"]
        for path in world.state.rglob("*.held")
        for line in path.read_bytes().splitlines()
        if not line.startswith(b'{"hydra":')
    ]
    taken = world.messages()
    everything = {f"record {n}" for n in range(10_000)}

    assert (0, "") == (ended.status, ended.stderr)
    assert everything == (set(taken) | set(held)) - {"closed"}
    # The batch that was under way at the deadline counts as unknown, so it may be in both.
    assert 200 >= len(set(taken) & set(held))
    # One second and the interpreter's own end; on a busy machine a little more.
    assert 3.0 > seconds


def test_rest_of_a_backlog_comes_at_the_next_start(tmp_path):
    """
    What a slow sink did not get before the exit it gets after the next start.
    """
    import hydra
    from hydra.engine import ENGINE

    world = World(tmp_path)
    source = SLOW.format(path=str(world.path), state=str(world.state), deadline=0.3)
    world.run(source.replace("10_000", "2_000"), start=False)
    already = set(world.messages())
    got = []
    hydra.configure(
        app="shop",
        state_dir=str(world.state),
        destinations=[{"name": "app", "type": "sink", "sink": got.extend}],
    )
    hydra.flush(20.0)
    # A flush waits for what was logged here, and a close for no replay.
    until(lambda: (now := hydra.stats()).replayed and not now.held, "all is replayed")
    stats = hydra.close(20.0)
    ENGINE.reset()
    replayed = [json.loads(line)["message"] for line in got]

    assert stats.balanced
    assert {f"record {n}" for n in range(2_000)} == already | {m for m in replayed if "record" in m}
    assert [] == world.left()


@pytest.mark.parametrize("level", ["info", "error"])
def test_no_thread_to_be_had(tmp_path, level):
    """
    Where the system grants no thread, whoever logs does the work, and nothing is lost.
    """
    world = World(tmp_path)
    tmp_path.chmod(0o777)
    tmp_path.parent.chmod(0o755)
    ended = world.run(f"""
    def refuse(*arguments): raise RuntimeError("can't start new thread")
    for name, module in list(sys.modules.items()):
        if name.startswith(("hydra.", "fallbacks.")) and hasattr(module, "start_new_thread"):
            module.start_new_thread = refuse
    for n in range(500): log.{level}(f"record {{n}}")
    print(len(os.listdir("/proc/self/task")))
    """)

    assert ("1\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert [f"record {n}" for n in range(500)] == world.messages()
    assert [] == world.directories()


def test_limit_of_processes(tmp_path):
    """
    The same with the kernel's own refusal: a user who may have no further thread.
    """
    import os

    if os.geteuid():
        pytest.skip("only root can become a user with a limit of its own")
    world = World(tmp_path)
    source = f"""
    import resource
    os.setgroups([]); os.setgid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setuid(65534)
    hydra.configure(app="shop", state_dir={str(tmp_path / "s")!r},
                    destinations=[{{"name": "app", "type": "file",
                                    "path": {str(tmp_path / "f" / "app.log")!r}}}])
    try:
        import _thread
        _thread.start_new_thread(print, ())
        print("a thread")
    except RuntimeError:
        print("none")
    for n in range(200): (log.error if n % 2 else log.info)(f"record {{n}}")
    """
    for name in ("s", "f"):
        (tmp_path / name).mkdir(mode=0o700)
        os.chown(tmp_path / name, 65534, 65534)
    for directory in (tmp_path, *tmp_path.parents):
        if directory == type(directory)("/tmp"):
            break
        directory.chmod(0o711)
    try:
        ended = world.run(source)
    finally:
        for directory in tmp_path.parents:
            if directory == type(directory)("/tmp"):
                break
            directory.chmod(0o700)
    if "a thread" in ended.stdout:
        pytest.skip("the kernel here does not limit threads")
    messages = [
        json.loads(line)["message"]
        for line in (tmp_path / "f" / "app.log").read_bytes().splitlines()
    ]

    assert ("none\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert [*(f"record {n}" for n in range(200)), "closed"] == messages
    assert [] == [each for each in (tmp_path / "s").rglob("*") if each.is_file()]


def test_control_record_that_is_held_alone(tmp_path):
    """
    A held line that counts nothing in the ledger is replayed all the same, and its file goes.
    """
    from hydra.config import load
    from hydra.engine._build import build
    from hydra.engine._pace import REPLAY_LINES

    world = World(tmp_path)
    lines = [b'{"message":"m","id":"aaaaaaaaaaaa.1r-%d"}\n' % n for n in range(1, REPLAY_LINES + 1)]
    lines.append(b'{"message":"closed","id":"aaaaaaaaaaaa.2c-1"}\n')
    keywords = {
        "app": "shop",
        "state_dir": str(world.state),
        "destinations": [{"name": "app", "type": "file", "path": str(world.path)}],
    }
    run = build(load(None, preset=None, file=None, keywords=keywords), threaded=False)
    service = run.services["app"]
    service.take_over("aaaaaaaaaaaa", lines, None)
    service.chain.ticket.acquire()
    service._drain(service.chain.sync_tiers, patient=True)
    service.chain.ticket.release()
    left = world.left()
    run.begin_close()
    run.finish_close(0.0)

    assert b"".join(lines) == world.path.read_bytes()
    assert [] == left
