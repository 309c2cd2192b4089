"""
Compare checkouts: nanoseconds of a thread's own time for each kind of call.

Run it as `python -m benchmarks.compare TREE TREE...`, with the directories of two or more
checkouts, such as `git worktree` makes. Each is measured in a process of its own, in turns; the
best of all rounds counts, since other work on the machine only ever adds. What the writer does
meanwhile is not in these figures: `make bench` measures the whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

ROUNDS = 5
PROGRAM = """
import os, sys, tempfile, time
sys.path.insert(0, sys.argv[1])
import hydra
tmp = sys.argv[2]
def places(name, n):
    return [{"type": "file", "path": f"{tmp}/{name}{i}.log"} for i in range(n)]
hydra.configure(app="compare", state_dir=tmp, level="info", destinations=places("one", 1),
    layers={"two": {"destinations": places("two", 2)}, "four": {"destinations": places("four", 4)}},
    queue={"records": 400_000, "bytes": "512 MiB"})
log = hydra.get_logger("compare")
bound = log.bind(service="api", request_id="r-1")
five = dict(user="alice", amount=12.5, ok=True, region="eu-west-1")
def in_context(n):
    with hydra.context(tenant="t-1"):
        for i in range(n): log.info("order placed", order_id=i, **five)
def each(call, *fields):
    def calls(n):
        if fields:
            for i in range(n): call("order placed", order_id=i, user="alice", amount=12.5,
                                    ok=True, region="eu-west-1")
        else:
            for i in range(n): call("order placed")
    return calls
def nested(n):
    for i in range(n): log.info("order placed", order={"id": i, "tags": ["a", "b"]})
cases = [("no fields", each(log.info), 20000), ("five fields", each(log.info, 1), 20000),
    ("bound", each(bound.info, 1), 20000), ("in a context", in_context, 20000),
    ("disabled", each(log.debug), 50000), ("disabled, five fields", each(log.debug, 1), 50000),
    ("two destinations", each(hydra.get_logger("two").info, 1), 10000),
    ("four destinations", each(hydra.get_logger("four").info, 1), 10000),
    ("a nested field", nested, 5000), ("error", each(log.error, 1), 5000)]
for name, calls, n in cases:
    best = float("inf")
    for _ in range(4):
        began = time.thread_time_ns()
        calls(n)
        best = min(best, (time.thread_time_ns() - began) / n)
        hydra.flush()
    print(f"{name}\\t{best:.0f}")
hydra.close()
"""


def measured(tree: str) -> dict[str, int]:
    """Return the nanoseconds of each case in the checkout *tree*."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, tree, place],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("HYDRA_")},
        )
    return {name: int(ns) for name, ns in (line.split("\t") for line in done.stdout.splitlines())}


def main(trees: list[str]) -> None:
    """Print a table: a row for each case, a column for each checkout."""
    best: list[dict[str, int]] = [{} for _ in trees]
    for turn in range(ROUNDS):
        for tree, found in zip(trees, best, strict=True):
            for name, ns in measured(tree).items():
                found[name] = min(ns, found.get(name, ns))
        print(f"round {turn + 1} of {ROUNDS}", file=sys.stderr)
    print("| call | " + " | ".join(os.path.basename(tree.rstrip("/")) for tree in trees) + " |")
    print("|---" * (len(trees) + 1) + "|")
    for name in best[0]:
        print(f"| {name} | " + " | ".join(f"{found[name]:,}" for found in best) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m benchmarks.compare TREE...")
    main(sys.argv[1:])
