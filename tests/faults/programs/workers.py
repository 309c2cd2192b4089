"""
Workers of multiprocessing and of a process pool, each logging into one world.

    workers.py METHOD KIND STATE PATH
"""

from __future__ import annotations

import multiprocessing
import os
import sys

import hydra


def configure(state: str, path: str) -> None:
    """Configure hydra; what each process does that is not forked."""
    hydra.configure(
        app="shop",
        level="debug",
        state_dir=state,
        destinations=[{"name": "app", "type": "file", "path": path}],
    )


def work(state: str, path: str, number: int) -> int:
    """Log an ordinary record and an ERROR, and end without a flush."""
    if multiprocessing.get_start_method() != "fork":
        configure(state, path)
    log = hydra.get_logger("worker")
    log.info(f"worker {number}")
    log.error(f"error {number}")
    return os.getpid()


def main(method: str, kind: str, state: str, path: str) -> None:
    """Run four workers of *kind* started by *method*."""
    multiprocessing.set_start_method(method)
    configure(state, path)
    hydra.get_logger("parent").error("parent")
    if kind == "process":
        workers = [multiprocessing.Process(target=work, args=(state, path, n)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print([worker.exitcode for worker in workers])
    elif kind == "pool":
        with multiprocessing.Pool(2) as pool:
            pool.starmap(work, [(state, path, n) for n in range(4)])
            pool.close()
            pool.join()
        print([0, 0, 0, 0])
    elif kind == "executor":
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as executor:
            done = [executor.submit(work, state, path, n) for n in range(4)]
            print([0 if each.result() else 1 for each in done])
    elif kind == "nested":
        worker = multiprocessing.Process(target=nest, args=(state, path))
        worker.start()
        worker.join()
        print([worker.exitcode] * 4)


def nest(state: str, path: str) -> None:
    """Be a worker that has workers."""
    workers = [multiprocessing.Process(target=work, args=(state, path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
