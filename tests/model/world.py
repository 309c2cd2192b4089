"""
A small world for the model: processes, files and sinks, all in memory, and an oracle.

Rule 1: nothing here has a thread, sleeps, or touches the real file system. Writers
are pumped by hand, a watchdog steps in when a tier asks for it in the middle of
its call.
Rule 2: the oracle believes nobody. What is delivered is read from the files and
from the sinks; what was accepted and what was promised is noted at the call.
Rule 3: everything random comes from one generator, so a seed tells all.
"""

from __future__ import annotations

import errno
import gc
from asyncio.events import _set_running_loop
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Final

import pytest

from fallbacks import DELIVERED, Batch, Delivered, Kind, Partial, Permanent, Retryable, Unknown
from fallbacks.dead_letters import Letter, decode
from fallbacks.outcomes import Outcome
from fallbacks.testing import FakeClock, FaultyFilesystem, FaultyProcess, Killed
from hydra.config._settings import (
    DestinationSettings,
    FallbackSettings,
    JournalSettings,
    QueueSettings,
    Settings,
)
from hydra.config._state import Candidate
from hydra.core.ids import identify, weigh
from hydra.core.levels import level_name, level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build
from hydra.engine._receipts import DROPPED, FILTERED, QUEUED, Durability, OwnReceipt, Receipt
from hydra.engine._run import Run
from hydra.queue import Barrier

LEVELS: Final = (5, 10, 20, 30, 40, 50)
ROOT: Final = "/hydra-model"
APP: Final = f"{ROOT}/app.log"
TWO: Final = f"{ROOT}/two.log"
AUX: Final = f"{ROOT}/aux.log"
DEAD: Final = f"{ROOT}/spool/net.dead"
FILES: Final = {"app": APP, "two": TWO, "aux": AUX}
"""What stands in files; `two` is the second copy of `app`, where it has one."""
NAMES: Final = ("app", "net", "aux")
STRATEGIES: Final = ("failover", "failover", "mirror", "quorum", "fastest", "spool")
POLICIES: Final = ("block", "drop_new", "drop_old", "shed", "spill")
POISON: Final = b'"poison":true'
"""A record with it is refused by every sink, for good."""
_TAG: Final = logger_tag("model")

WRITE_FAULTS: Final = (
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("open", errno.EMFILE),
    ("open", errno.EIO),
    ("fdatasync", errno.EIO),
    ("allocate", errno.ENOSPC),
    ("map", errno.ENODEV),
    ("link", errno.EIO),
    ("rename", errno.EIO),
    ("unlink", errno.EIO),
    ("sync_directory", errno.EIO),
    ("close", errno.EIO),
    ("lock", errno.ENOLCK),
    ("makedirs", errno.EACCES),
)
READ_FAULTS: Final = (
    # A file that may be written and not read is not looked up: a line may come twice.
    ("open", errno.EACCES),
    ("pread", errno.EIO),
    ("map_read", errno.EIO),
    ("listdir", errno.EIO),
    ("stat", errno.EACCES),
    ("fstat", errno.EIO),
    ("*", errno.EIO),
)
PATHS: Final = (None, None, APP, TWO, AUX, "*.held", "*.dead", "*.j")
MODES: Final = (
    "up", "down", "raise", "prefix", "partial", "lost", "got_lost", "hang", "hang_first", "refuse",
)  # fmt: skip


@dataclass(slots=True)
class Issued:
    """One record as it was accepted."""

    line: bytes
    level: int
    destinations: tuple[str, ...]
    run: str
    promised: bool = False
    """Whether the call said that the record is in the kernel."""


class Sink:
    """A receiver that outlives processes: it has what it took."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refused: set[bytes] = set()
        self.mode = "up"


class SinkTier:
    """The way of one process to a `Sink`."""

    kind = Kind.FINAL

    def __init__(self, process: Process, destination: str, sink: Sink, name: str) -> None:
        self.name = name
        self._process = process
        self._destination = destination
        self._sink = sink

    def write(self, batch: Batch) -> Outcome:
        """Do as the sink's mode says."""
        if self._process.dead:
            raise Killed
        sink, lines = self._sink, batch.lines
        poison = {at for at, line in enumerate(lines) if POISON in line}
        if poison and sink.mode == "partial":
            chosen = [at for at in range(len(lines)) if at not in poison]
            sink.taken += [lines[at] for at in chosen]
            return Partial(chosen, Permanent("poison"))
        if poison and sink.mode not in {"down", "raise", "lost"}:
            return Permanent("poison")
        match sink.mode:
            case "down":
                return Retryable("down")
            case "raise":
                raise SystemExit(1)
            case "prefix":
                sink.taken += lines[: len(lines) // 2]
                return Delivered(len(lines) // 2)
            case "partial":
                chosen = range(0, len(lines), 2)
                sink.taken += [lines[i] for i in chosen]
                return Partial(chosen)
            case "lost":
                return Unknown("lost")
            case "got_lost":
                sink.taken += lines
                return Unknown("lost after all was taken")
            case "refuse":
                sink.refused.update(key for line in lines if (key := identify(line)))
                return Permanent("refused")
            case "hang_first":
                self._process.rescue(self._destination)
                sink.taken += lines
            case "hang":
                sink.taken += lines
                self._process.rescue(self._destination)
            case _:
                sink.taken += lines
        return DELIVERED

    def close(self) -> None:
        """Nothing to let go of."""


class Slow:
    """A `System` in which a write may take so long that the watchdog steps in."""

    def __init__(self, inner: FaultyProcess, process: Process, unsure: set[bytes]) -> None:
        self._inner = inner
        self._process = process
        self.hang: tuple[str, str] | None = None
        self.unsure = unsure

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write; the next one to the file that was chosen hangs first."""
        hang = self.hang
        file = self._inner._files.get(fd)
        if hang is None or file is None or not file.path.startswith(hang[1]):
            return self._inner.write(fd, data)
        self.hang = None
        self.unsure.update(key for line in bytes(data).splitlines() if (key := identify(line)))
        taken = self._inner.write(fd, data)
        self._process.rescue(hang[0])
        return taken


@dataclass
class Process:
    """One simulated process and the run that is in force in it."""

    pid: int
    view: FaultyProcess
    run: Run
    slow: Slow
    retired: list[Run] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def dead(self) -> bool:
        """Whether it was killed."""
        return self.view._dead

    @property
    def runs(self) -> list[Run]:
        """Its runs, the one in force last."""
        return [*self.retired, self.run]

    def rescue(self, destination: str) -> None:
        """Be the watchdog of a call under way: it has outlived its deadline."""
        for run in self.runs:
            service = run.services.get(destination)
            if service is not None and service.chain.ticket.section is not None:
                service.rescue()


class World:
    """
    Processes, files, sinks and the oracle.

    Args:
        seed: Decides everything.
        strict: Leave out what may rightly repeat or drop a record: failing
            reads, and sinks that refuse everything for good.
        strategy: The only one of the destination called app, if it has one; None:
            drawn as well, and in half of the worlds for each configuration anew.
    """

    def __init__(self, seed: int, *, strict: bool, strategy: str | None = None) -> None:
        self.random = Random(seed)
        self.strict = strict
        self.strategy = strategy or self.random.choice(
            (None, *STRATEGIES)[: self.random.choice((1, 7))]
        )
        self.clock = FakeClock()
        self.fs = FaultyFilesystem(seed=seed)
        self.fs.makedirs(f"{ROOT}/state/model")
        self.sinks = {"net": Sink(), "last": Sink()}
        self.issued: dict[bytes, Issued] = {}
        self.processes: list[Process] = []
        self.killed_runs: set[str] = set()
        self.unsure: set[bytes] = set()
        self.dropped: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.rotated: list[str] = []
        self.operations = 0
        self.trace: list[str] = []
        self._pids = iter(range(1000, 1 << 30))
        self._run_names = (f"{n:012d}" for n in range(1, 1 << 30))
        self._sequence = 0
        self.start()

    # -- processes

    def settings(self) -> tuple[Settings, Process]:
        """Return a configuration drawn at random, and the process it is for."""
        random = self.random
        pid = next(self._pids)
        view = self.fs.process(pid)
        process = Process.__new__(Process)
        process.view, process.pid = view, pid
        return self._settings(random, process), process

    def _settings(self, random: Random, process: Process) -> Settings:
        records = random.choice((4, 16, 1000))
        queue = QueueSettings(
            records=records,
            reserve=random.choice((1, 4, 100)),
            bytes=records * random.choice((256, 1024)),
            when_full=random.choice(POLICIES),  # type: ignore[arg-type]
            block_timeout=0.0,
        )
        batch = random.choice((1, 3, 100))
        destinations = [
            self._app(random, process, batch),
            DestinationSettings(
                name="net",
                type="sink",
                sink=SinkTier(process, "net", self.sinks["net"], "net"),
                level=random.choice((None, 20)),
                strategy=random.choice(("failover", "spool")),
                batch=batch,
                fallback=(FallbackSettings(type="file", path=f"{ROOT}/spool/net", reserve=0),),
            ),
            DestinationSettings(
                name="aux", type="file", path=AUX, level=30, batch=batch, fallback=()
            ),
        ]
        return Settings(
            app="model",
            level=5,
            state_dir=f"{ROOT}/state",
            destinations=tuple(destinations),
            queue=queue,
            journal=JournalSettings(
                dir=f"{ROOT}/journal",
                segment=random.choice((4096, 65536)),
                quota=random.choice((40_000, 1 << 22)),
            ),
            control_records=random.random() < 0.8,
        )

    def _app(self, random: Random, process: Process, batch: int) -> DestinationSettings:
        strategy = self.strategy or random.choice(STRATEGIES)
        # In the state directory, where records out of a journal go as well: another
        # path in the next configuration would leave them behind.
        quota = random.choice((20_000, 1 << 22))
        held = FallbackSettings(type="file", quota=quota, reserve=random.choice((0, quota // 4)))
        last = FallbackSettings(
            type="sink", sink=SinkTier(process, "app", self.sinks["last"], "last")
        )
        two = FallbackSettings(type="file", hold=False, path=TWO)
        fallback = {
            "failover": random.choice(((held,), (held, last), (held, last), (last,))),
            "spool": (held,),
        }.get(strategy, (two, held))
        return DestinationSettings(
            name="app",
            type="file",
            path=APP,
            strategy=strategy,  # type: ignore[arg-type]
            quorum=random.choice((None, 1, 2)) if strategy == "quorum" else None,
            retries=random.choice((0, 1)),
            batch=batch,
            fallback=fallback,
        )

    def _build(self, process: Process, settings: Settings) -> Run:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hydra.engine._run.new_run", lambda: next(self._run_names))
            run = build(
                settings,
                system=process.slow,  # type: ignore[arg-type]
                clock=self.clock,
                threaded=False,
                probe=self._prepare,
            )
        run.start(leftovers=False)
        return run

    @staticmethod
    def _prepare(place: Candidate, _: int | None) -> str | None:
        # Always the same one: what is held in another is not looked for there.
        return None if place.origin == "state_dir" else "not in this world"

    def start(self) -> Process:
        """Start a process, which takes over what dead ones left."""
        settings, process = self.settings()
        process.retired, process.receipts = [], []
        process.slow = Slow(process.view, process, self.unsure)
        process.run = self._build(process, settings)
        self.processes.append(process)
        with self._mortal(process):
            process.run.recovery.take_over()
        return process

    def configure(self, process: Process) -> None:
        """Put another configuration into force; the old one drains and closes."""
        with self._mortal(process):
            old = process.run
            process.run = self._build(process, self._settings(self.random, process))
            process.retired.append(old)
            runs = {run.id: run for run in process.retired}
            process.run.recovery.former = runs.get
            old.retire()
            self._close_run(old)
            process.run.recovery.take_over()

    def close(self, process: Process) -> None:
        """End a process cleanly."""
        process.receipts.clear()
        gc.collect(0)
        with self._mortal(process):
            self._close_run(process.run)
        if not process.dead:
            self.check(process)
            self._bury(process)
            process.view.die()

    @staticmethod
    def _close_run(run: Run) -> None:
        run.begin_close()
        for service in run.services.values():
            service.pump()
        run.finish_close(monotonic())

    def kill(self, process: Process) -> None:
        """Kill a process."""
        self.fs.kill(process.pid)
        self._bury(process)

    def _bury(self, process: Process) -> None:
        if process not in self.processes:
            return
        self.processes.remove(process)
        for run in process.runs:
            for name, service in run.services.items():
                self.dropped[name] += service.writer.drops.total
                for (_, reason), count in service.writer.drops.counts().items():
                    self.reasons[reason] += count
                self.missed[name] += service.writer.repairs.missed
            # A run that had closed cleanly before is no loss of the kill; what it
            # left in files and journal is for the next start either way.
            if process.dead and not run.closed:
                self.killed_runs.add(run.id)
        # Its receipts must not drop anything after its death.
        for receipt in process.receipts:
            for _, parked in getattr(receipt, "_parked", ()):
                parked.claim()

    @contextmanager
    def _mortal(self, process: Process) -> Iterator[None]:
        try:
            yield
        except Killed:
            process.view.die()
        if process.dead:
            self._bury(process)

    # -- logging

    def log(
        self, process: Process, level: int, *, size: int = 10, tracked: bool = False,
        on_loop: bool = False, poison: bool = False,
    ) -> Receipt | None:  # fmt: skip
        """Log one record and note what was promised; None when the process died over it."""
        run = process.run
        self._sequence += 1
        stream = run.route("model", level)
        if stream is None:
            return FILTERED
        fields: dict[str, object] = {"seq": self._sequence, "pad": "x" * size}
        if poison:
            fields["poison"] = True
        body = run.encoder.body(
            self.clock.time_ns(), level_tag(level), _TAG, "m", EMPTY, EMPTY, fields
        )
        before = stream.issued
        receipt: Receipt | None = None
        with self._mortal(process):
            try:
                if on_loop:
                    _set_running_loop(object())  # type: ignore[arg-type]
                receipt = stream.send(body, level, tracked)
            finally:
                if on_loop:
                    _set_running_loop(None)
        names = tuple(writer.name for writer in stream.writers)
        after = stream.issued
        assert after - before <= 1, "one call took more than one number"
        assert receipt is None or after - before == 1, "a call returned without a number"
        if after > before:
            key = f"{run.id}.{stream.label}-{after}".encode()
            line = b'%b,"id":"%b"}\n' % (body, key)
            promised = receipt is not None and receipt.durability in {
                Durability.KERNEL,
                Durability.DISK,
            }
            self.issued[key] = Issued(line, level, names, run.id, promised)
            if isinstance(receipt, OwnReceipt):
                assert receipt.id == key.decode()
            else:
                assert receipt in (QUEUED, DROPPED, None)
        if receipt is not None and on_loop:
            process.receipts.append(receipt)
        return receipt

    # -- draining

    def pump(self, process: Process, names: tuple[str, ...] = NAMES) -> None:
        """Run the writers of *process* until they are idle."""
        for run in process.runs:
            for name in names:
                if not process.dead and not run.closed:
                    with self._mortal(process):
                        run.services[name].pump()

    def tend(self, process: Process) -> None:
        """Do what the keeper of the journal would do."""
        with self._mortal(process):
            process.run.keeper.tend()

    def flush(self, process: Process) -> None:
        """Put a barrier into each queue and pump: it passes unless lines had to stay."""
        passed: list[str] = []
        parked = {n for n, s in process.run.services.items() if s.queue.waiting}
        for name, service in process.run.services.items():
            service.writer.barrier(Barrier(lambda name=name: passed.append(name)))
        self.pump(process)
        if process.dead:
            return
        for name, service in process.run.services.items():
            queue = service.queue
            stays = bool(queue.entries or queue.overflow or queue.spill)
            # Parked lines are let in behind the barrier.
            fits = name in passed if not stays else name not in passed or name in parked
            assert fits, f"barrier of {name}: {passed}, stays: {stays}"

    # -- the oracle

    def check(self, process: Process) -> None:
        """At a quiet moment every delivery of a living process is accounted for."""
        if process.dead:
            return
        for run in process.runs:
            for name, service in run.services.items():
                balance = service.writer.balance()
                assert balance.lost == 0, f"{name} of {run.id}: {balance}"
                assert not service.chain.ticket.held, f"{name}: somebody kept the ticket"
                assert service.writer.job is None, f"{name}: a job was left behind"
                assert service.crashes == 0

    def content(self, name: str) -> Iterator[bytes]:
        """Yield the whole lines that stand in the destination's files, rotated ones first."""
        path = FILES[name]
        for place in [*(p for p in self.rotated if p.startswith(path)), path]:
            try:
                data = self.fs.read(place)
            except FileNotFoundError:
                continue
            yield from data.splitlines(keepends=True)

    def delivered(self, name: str) -> Counter[bytes]:
        """Return how often each id stands in the destination, every payload compared."""
        found: Counter[bytes] = Counter()
        lines = list(self.content(name) if name in FILES else self.sinks[name].taken)
        torn = 0
        for line in lines:
            key = identify(line) if line.endswith(b"\n") else None
            if key is None:
                torn += line not in (b"\n", b"")
            elif weigh(line):
                known = self.issued.get(key)
                assert known is not None, f"{name} has {key!r}, which nobody logged"
                assert known.line == line, f"{name} has {key!r} with another payload"
                destination = "app" if name in {"last", "two"} else name
                assert destination in known.destinations, f"{key!r} strayed to {name}"
                found[key] += 1
        return found

    def settle(self) -> None:
        """
        Heal everything, end all processes, and let one more recover: then nothing is pending.

        Everything promised must be at its destination, nothing dropped uncounted,
        nothing twice in a file, and a fresh record must pass.
        """
        self.heal()
        self.heal_sinks()
        for process in list(self.processes):
            if self.random.random() < 0.5:
                self.kill(process)
            else:
                self.close(process)
        # What copies still miss is given to those that this one has.
        spreads = self.strategy in {"mirror", "quorum"}
        self.strategy = self.strategy or "mirror"
        process = self.start()
        self._drain_all(process)
        fresh = {}
        for level in (30, 50):
            receipt = self.log(process, level)
            assert isinstance(receipt, Receipt)
            fresh[level] = list(self.issued)[-1]
        self._drain_all(process)
        self.check(process)
        self.close(process)
        self._audit(list(fresh.values()), spreads=spreads)

    def _drain_all(self, process: Process) -> None:
        for _ in range(60):
            self.clock.advance(61.0)
            self.flush(process)
            self.tend(process)
            assert not process.dead, "a healthy process died"
            writers = [service.writer for service in process.run.services.values()]
            if not any(writer.pending or writer.repairs.waiting for writer in writers):
                return
        pending = {n: s.writer.balance() for n, s in process.run.services.items()}
        raise AssertionError(f"never drained: {pending}")

    def _audit(self, fresh: list[bytes], *, spreads: bool) -> None:
        found = {name: self.delivered(name) for name in (*NAMES, "two", "last")}
        refused = self.sinks["net"].refused | self.sinks["last"].refused
        dead = self.dead_letters()
        missing: Counter[str] = Counter()
        lacking = 0
        for key, issued in self.issued.items():
            for name in issued.destinations:
                copies = [found[name][key] > 0]
                if name == "app":
                    copies += [found["two"][key] > 0]
                    # Safe with one of them; the other one gets it, or it is counted there. Held
                    # for both, it goes where a later configuration wants it.
                    lacking += spreads and not all(copies) and issued.run not in self.killed_runs
                there = any(copies) or (name == "app" and key in found["last"])
                if key in fresh:
                    assert there, f"{name} does not take fresh records: {key!r}"
                if there:
                    continue
                aside = name == "net" and key in dead
                if issued.promised and not aside and key not in refused and not self._may_lose():
                    raise AssertionError(
                        f"{name} lacks {key!r} ({level_name(issued.level)}), which was promised"
                    )
                if issued.run not in self.killed_runs:
                    missing[name] += 1
        for name in NAMES:
            assert missing[name] <= self.dropped[name], (
                f"{name} lacks {missing[name]} records, {self.dropped[name]} were counted"
            )
        counted = self.missed["app"] + self.dropped["app"]
        assert lacking <= counted, f"copies lack {lacking} records, {counted} were counted"
        if self.strict:
            for name in FILES:
                # A live write that was given up as hanging, and then was not, may repeat;
                # so may one whose acknowledgement failed before its file was moved away.
                excused = self.unsure | self._moved_away(name)
                counts = found[name].items()
                twice = [key for key, n in counts if n > 1 and key not in excused]
                assert not twice, f"{name} has twice: {twice[:5]}"

    def dead_letters(self) -> set[bytes]:
        """Return the ids of what was kept aside for net."""
        try:
            data = self.fs.read(DEAD)
        except FileNotFoundError:
            return set()
        letters = map(decode, data.splitlines())
        return {letter.id.encode() for letter in letters if isinstance(letter, Letter)}

    def _moved_away(self, name: str) -> set[bytes]:
        moved = [self.fs.read(p) for p in self.rotated if p.startswith(FILES[name])]
        lines = (line for data in moved for line in data.splitlines())
        return {key for line in lines if (key := identify(line))}

    def _may_lose(self) -> bool:
        return self.reasons["journal_unreadable"] > 0

    # -- faults

    def fail(self) -> None:
        """Plan a fault of the file system, once or for ever."""
        random = self.random
        faults = WRITE_FAULTS if self.strict else WRITE_FAULTS + READ_FAULTS
        operation, error = random.choice(faults)
        self.fs.fail(
            operation,
            error,
            when=random.choice((1, 1, 2, 5)),
            times=random.choice((1, 1, 2, None)),
            path=random.choice(PATHS),
        )

    def limit(self) -> None:
        """Make the disk nearly full, or its writes short."""
        if self.random.random() < 0.5:
            self.fs.set_quota(self.fs.used + self.random.choice((0, 50, 500, 5000)))
        else:
            self.fs.limit_writes(self.random.choice((7, 100, 1000)))

    def heal(self) -> None:
        """Take all faults of the file system back."""
        self.fs.heal()
        self.fs.set_quota(None)
        for process in self.processes:
            process.slow.hang = None

    def heal_sinks(self) -> None:
        """Let the sinks take everything."""
        for sink in self.sinks.values():
            sink.mode = "up"

    def trouble(self) -> None:
        """Put a sink into one of its modes."""
        modes = MODES[:-1] if self.strict else MODES
        self.random.choice(list(self.sinks.values())).mode = self.random.choice(modes)

    def rotate(self) -> None:
        """Move a file away, as logrotate does."""
        path = self.random.choice((APP, TWO, AUX))
        moved = f"{path}.{len(self.rotated) + 1}"
        try:
            self.fs.rename(path, moved)
        except OSError:
            # Nothing to move yet, or a fault that was meant for somebody else.
            return
        self.rotated.append(moved)
