"""
Standard output as a pipe that nobody reads for five seconds, under load.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

import pytest

from hydra.queue import Fifo, Parked
from tests.sinks._kit import start_program

pytestmark = pytest.mark.faults

ID = re.compile(rb'"id":"([a-z0-9]+)\.(\d+[rgc])-(\d+)"}$')

PROGRAM = """
    import asyncio, json, os, sys, time
    import hydra

    STALL, RATE = float(sys.argv[2]), 20_000
    beats = []

    async def sink(lines):
        return None

    extra = [hydra.Destination(sink, name="other")] if sys.argv[1] == "loop" else []

    def configure(level):
        hydra.configure(app="t", level=level, destinations=[
            {"name": "console", "type": "console", "stream": "stdout", "format": "json",
             "fallback": []}, *extra])

    def kept_waiting():
        # Seconds for which threads of ours could have run, had other programs let
        # them. On a machine to itself this stands still.
        total = 0
        for task in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{task}/schedstat") as file:
                    total += int(file.read().split()[1])
            except OSError:
                pass
        return total / 1e9

    async def heart():
        worst, last, waited = 0.0, time.perf_counter(), kept_waiting()
        while True:
            await asyncio.sleep(0.001)
            now, meanwhile = time.perf_counter(), kept_waiting()
            worst = max(worst, now - last - (meanwhile - waited))
            beats[:] = [worst]
            last, waited = time.perf_counter(), meanwhile

    async def load(log, seconds):
        beats[:] = [0.0]
        beating = asyncio.create_task(heart())
        began, sent = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            for _ in range(min(int(spent * RATE) - sent, 200)):
                (log.error if sent % 100 == 99 else log.info)("ordinary", n=sent)
                sent += 1
            await asyncio.sleep(0.001)
        beating.cancel()
        return beats[0], sent

    async def main():
        log = hydra.get_logger("shop")
        configure("info")
        await load(log, 0.3)
        hydra.configure(app="t", destinations=[])
        off, _ = await load(log, 1.5)
        configure("info")
        on, sent = await load(log, STALL)
        os.write(2, json.dumps([off, on, sent]).encode() + b"\\n")
        await asyncio.to_thread(sys.stdin.read)
        await hydra.aclose(20)
        stats = hydra.stats()
        found = stats.destinations["console"]
        os.write(2, json.dumps([stats.balanced, found.accepted, found.delivered,
                                found.dropped, found.pending]).encode() + b"\\n")

    asyncio.run(main())
"""


class Counting:
    """An entry that counts how often its line is looked at."""

    looks = 0

    @property
    def line(self):
        """Be a line of a hundred bytes."""
        Counting.looks += 1
        return b"x" * 100


def test_room_for_a_parked_line_is_known_without_counting_them_all():
    """Parking a line in front of a full queue does not walk over all that are parked."""
    fifo, entry = Fifo(10, 0, 1 << 20), Counting()
    kept = []
    for _ in range(900):
        assert fifo.can_park(100)
        kept.append(Parked(entry))
        fifo.parked.append(kept[-1])
    for _ in range(100):
        fifo.can_park(100)

    assert Counting.looks < 2_000


@pytest.mark.parametrize("engine", ["thread", "loop"])
def test_pipe_that_nobody_reads_for_five_seconds(engine):
    """
    Logging does not hold up the loop, and what is missing once the pipe is read was counted and
    is declared in the log. How many milliseconds it adds, `make bench` measures.
    """
    with start_program(PROGRAM, engine, "5") as running:
        off, on, sent = json.loads(running.stderr.readline())
        out, err = running.communicate(b"", timeout=40)
    balanced, accepted, delivered, dropped, pending = json.loads(err)

    assert on - off < 0.25
    assert (True, sent, 0) == (balanced, accepted, pending)
    assert accepted == delivered + dropped
    assert sent > 20_000

    # The run before it had the same pipe, and is not what is measured.
    runs: dict[bytes, list[bytes]] = defaultdict(list)
    for line in out.splitlines():
        key = ID.search(line)
        assert key is not None, line
        runs[key[1]].append(line)
    lines = max(runs.values(), key=len)
    seen: dict[str, set[int]] = defaultdict(set)
    declared = 0
    for line in lines:
        key = ID.search(line)
        stream, number = key[2].decode(), int(key[3])
        if stream.endswith("c"):
            declared += json.loads(line)["count"]
        else:
            assert number not in seen[stream]
            seen[stream].add(number)
    assert delivered == sum(map(len, seen.values()))
    assert dropped == declared
