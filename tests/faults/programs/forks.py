"""
Fork while many threads log, as often as asked for; each child logs and ends.

    forks.py STATE PATH FORKS

Prints one line of JSON: what the children saw of what they must not have
inherited, how many of them hung, and how long the forks took.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import hydra

THREADS = 8
RECORDS = 4


def main(state: str, path: str, forks: int) -> None:
    """Log from eight threads, fork from the main one."""
    hydra.configure(
        app="shop",
        level="debug",
        state_dir=state,
        journal={"segment": "128 KiB"},
        destinations=[{"name": "app", "type": "file", "path": path}],
    )
    over = threading.Event()
    counts = [0] * THREADS
    threads = [
        threading.Thread(target=log_on, args=(over, counts, number)) for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    took: list[float] = []
    hung = 0
    inherited: list[str] = []
    for fork in range(forks):
        told, tell = os.pipe()
        began = time.perf_counter()
        pid = os.fork()
        if not pid:
            be_child(state, fork, tell)
        took.append(time.perf_counter() - began)
        os.close(tell)
        with os.fdopen(told) as pipe:
            inherited += json.loads(pipe.read() or '["the child said nothing"]')
        _, status = os.waitpid(pid, 0)
        hung += os.waitstatus_to_exitcode(status) == -signal.SIGALRM
    over.set()
    for thread in threads:
        thread.join()
    hydra.close()
    took.sort()
    print(
        json.dumps(
            {
                "counts": counts,
                "hung": hung,
                "inherited": inherited,
                "median": took[len(took) // 2],
                "worst": took[-1],
                "balanced": hydra.stats().balanced,
            }
        )
    )


def log_on(over: threading.Event, counts: list[int], number: int) -> None:
    """Log without a pause until *over*, mostly below ERROR."""
    log = hydra.get_logger(f"shop.{number}")
    while not over.is_set():
        counts[number] += 1
        n = counts[number]
        (log.error if n % 10 == 0 else log.info)(f"p.{number}.{n}")
        if n % 50 == 0:
            # The file shall stay small; what counts is that threads are at work.
            over.wait(0.005)


def be_child(state: str, fork: int, tell: int) -> None:
    """Look at what was inherited, log four records and end in one of several ways."""
    signal.alarm(20)
    inherited = []
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        # A directory that a thread of the parent was forcing to the disk holds no lock.
        if os.path.isfile(path) and os.readlink(path).startswith(state):
            inherited.append(os.readlink(path))
    os.write(tell, json.dumps(inherited).encode())
    os.close(tell)
    log = hydra.get_logger("child")
    for n in range(RECORDS):
        (log.error if n % 2 else log.info)(f"c.{fork}.{n}")
    if fork % 2:
        hydra.flush(10.0)
        os._exit(0)
    hydra.close(10.0)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
