"""
From settings to a run: directories, journal, chains, queues, services.
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

from fallbacks.chain import Chain
from fallbacks.clock import SYSTEM_CLOCK, Clock
from fallbacks.dead_letters import DeadLetters
from fallbacks.files import sync_file
from fallbacks.held import HeldStore
from fallbacks.journal import Journal
from fallbacks.position import Position
from fallbacks.retry import Retry
from fallbacks.strategy import Strategy
from fallbacks.system import SYSTEM, System

from ..config import FallbackSettings, HookSettings, state_directory
from ..config._defaults import FALLBACK_RESERVE_SHARE
from ..config._state import Probe
from ..core.exceptions import ConfigurationError, HydraWarning, Problem
from ..core.ids import guaranteed, identify, weigh
from ..core.line import LineEncoder
from ..metrics._live import DIRECTORY as LIVE
from ..processors import DEFAULT_KEYS, Redactor
from ..queue import Fifo
from ..sinks import Chained, Hint, chain_of
from ._control import ControlStream
from ._herald import Herald
from ._keeper import Keeper
from ._loop import EngineLoop
from ._publisher import Publisher
from ._reading import read
from ._run import Run
from ._service import Service
from ._spiller import Spiller
from ._waiting import let_way
from ._watchdog import Watchdog
from ._writer import Writer

if TYPE_CHECKING:
    from ..config import DestinationSettings, Settings

_HELD: Final = "held"
_JOURNAL: Final = "journal"
_STANDARD: Final = FallbackSettings(type="file")


def build(
    settings: Settings,
    *,
    system: System = SYSTEM,
    clock: Clock = SYSTEM_CLOCK,
    threaded: bool = True,
    probe: Probe | None = None,
) -> Run:
    """
    Return a run of *settings*, ready to be sent records; nothing is started yet.

    Args:
        settings: A checked configuration.
        system: Files and processes.
        clock: Time.
        threaded: False for tests that pump the writers themselves.
        probe: Makes a state directory ready, as for `state_directory`.

    Raises:
        ConfigurationError: If `strict` is set and there is no place for the journal.
    """
    redact = settings.redact
    redactor = Redactor((*DEFAULT_KEYS, *redact.keys), mask=redact.mask) if redact.enabled else None
    run = Run(settings, LineEncoder(redactor, on_tick=let_way), system=system, clock=clock)
    run.watchdog = Watchdog(threaded=threaded)
    if settings.hooks != HookSettings():
        run.herald = herald = Herald(settings.hooks, clock, threaded=threaded)
        run.watchdog.notice = lambda service: herald.look(service.writer)
    run.loop = EngineLoop(run.draining)
    destinations = _destinations(settings)
    run.destinations = {destination.name: destination for destination in destinations}
    places = _Places(settings, run, probe)
    run.keeper = Keeper(
        places.journal(tuple(run.destinations)),
        interval=settings.journal.sync_interval,
        settle=partial(_settle, run),
        threaded=threaded,
    )
    for destination in destinations:
        run.services[destination.name] = _service(run, destination, places, threaded=threaded)
    live = places.live()
    if live is not None:
        run.publisher = Publisher(
            live,
            app=settings.app,
            run=run.id,
            read=lambda: read([run]),
            system=system,
            clock=clock,
            threaded=threaded,
        )
    return run


def leftovers(run: Run) -> bool:
    """Return whether there are files that a dead process may have left to this run."""
    journal = run.journal_directory
    if journal is not None and _has(run, journal, "", ".j"):
        return True
    return any(_has(run, *os.path.split(prefix), ".held") for prefix in run.held_prefixes)


def _has(run: Run, directory: str, start: str, end: str) -> bool:
    try:
        names = run.system.listdir(directory)
    except OSError:
        return False
    return any(name.startswith(start) and name.endswith(end) for name in names)


def _settle(run: Run) -> bool:
    """Force the files of *run*'s destinations to the disk; return whether they are there."""
    settled = True
    for destination in run.destinations.values():
        copies = [fallback.path for fallback in destination.fallback or () if fallback.copies]
        for path in (destination.path, *copies):
            if path is None:
                continue
            try:
                sync_file(run.system, path)
            except (FileNotFoundError, NotADirectoryError):
                """Nothing was delivered to it, or somebody took it away with all it had."""
            except OSError:
                settled = False
    return settled


def _destinations(settings: Settings) -> list[DestinationSettings]:
    found = {destination.name: destination for destination in settings.destinations}
    for layer in settings.layers.values():
        found.update({d.name: d for d in layer.destinations or ()})
    return list(found.values())


def _ends(run: Run) -> dict[str, Position]:
    """Return how far the destinations' files reach now, before this run writes to them."""
    ends: dict[str, Position] = {}
    for name, destination in run.destinations.items():
        if destination.type != "file" or destination.path is None:
            continue
        try:
            facts = run.system.stat(destination.path)
        except OSError:
            # It is not there yet, or the first write will say what is wrong with it.
            continue
        ends[name] = Position(facts.st_dev, facts.st_ino, facts.st_size)
    return ends


def _no_hint() -> Position | None:
    return None


class _Places:
    """Where one run may keep journal and held files."""

    def __init__(self, settings: Settings, run: Run, probe: Probe | None) -> None:
        self._settings = settings
        self._probe = probe
        self._run = run
        wanted = settings.journal.enabled
        files = any(
            destination.type in {"file", "sink"} or destination.copies > 1
            for destination in run.destinations.values()
        )
        self._wanted = files if wanted is None else wanted
        self._state: str | None = None
        self._prefixes: dict[str, str] = {}
        if self._wanted or files or settings.live_stats:
            self._find()

    def _find(self) -> None:
        settings, run = self._settings, self._run
        found = state_directory(settings.app, explicit=settings.state_dir, probe=self._probe)
        self._state = found.path
        if found.path is not None:
            run.directories = (
                os.path.join(found.path, _HELD),
                os.path.join(found.path, _JOURNAL),
                os.path.join(found.path, LIVE),
                found.path,
            )
            return
        problem = f"no usable state directory ({found.reason})"
        if self._wanted and settings.journal.dir is None:
            said = (
                f"{problem}: records of level error and above will not survive the death of "
                "the process, and nothing is held while a destination is down"
            )
            if settings.strict:
                raise ConfigurationError(Problem("state_dir", said, settings.state_dir))
            run.journal_state = problem
            warn(said)

    def live(self) -> str | None:
        """Return where to publish statistics, if that is wanted and there is a place for it."""
        if not self._settings.live_stats:
            return None
        if self._state is None:
            self._run.live_state = "no usable state directory"
            warn("live_stats: no usable state directory, so nothing is published")
            return None
        return os.path.join(self._state, LIVE)

    def journal(self, names: tuple[str, ...]) -> Journal | None:
        """Return the journal, if one is wanted and there is a place for it."""
        settings, run = self._settings, self._run
        directory = settings.journal.dir
        if directory is None and self._state is not None:
            directory = os.path.join(self._state, _JOURNAL)
        if not self._wanted or directory is None:
            return None
        run.journal_state = "on"
        run.journal_directory = directory
        if directory not in run.directories:
            run.directories = (directory, *run.directories)
        return Journal(
            directory,
            app=settings.app,
            run=run.id,
            destinations=names,
            quota=settings.journal.quota,
            segment_bytes=settings.journal.segment,
            positions=_ends(run),
            system=run.system,
        )

    def store(
        self,
        name: str,
        fallback: FallbackSettings = _STANDARD,
        hint: Hint = _no_hint,
        copy: str = "",
    ) -> HeldStore | None:
        """
        Return the held store of the destination *name*, None where it has no place.

        With *copy* it is the one for what this copy misses.
        """
        path = fallback.path
        if path is None:
            if self._state is None:
                return None
            path = os.path.join(self._state, _HELD, name)
        # No name of a destination has this sign in it.
        mark = f"@{copy}" if copy else ""
        path += mark
        run = self._run
        run.held_prefixes.append(path)
        self._prefixes.setdefault(name, path)
        store = HeldStore(
            path,
            app=self._settings.app,
            destination=f"{name}{mark}",
            name=f"repair {copy}" if copy else "fallback",
            run=run.id,
            identify=identify,
            weigh=weigh,
            guaranteed=guaranteed,
            system=run.system,
            quota=fallback.quota,
            reserve=(
                fallback.quota // FALLBACK_RESERVE_SHARE
                if fallback.reserve is None
                else fallback.reserve
            ),
            scan=hint,
        )
        store.on_taken = run.recovery.note_taken
        return store

    def dead_letters(self, destination: DestinationSettings) -> DeadLetters | None:
        """Return where what *destination* refuses is kept: beside what is held for it."""
        name = destination.name
        prefix = self._prefixes.get(name)
        if prefix is None:
            if self._state is None:
                return None
            prefix = os.path.join(self._state, _HELD, name)
        return DeadLetters(
            prefix,
            app=self._settings.app,
            destination=name,
            quota=destination.dead_letters,
            system=self._run.system,
            clock=self._run.clock,
        )


def _service(
    run: Run, destination: DestinationSettings, places: _Places, *, threaded: bool
) -> Service:
    settings = run.settings
    name = destination.name
    chained = chain_of(
        destination,
        partial(places.store, name),
        system=run.system,
        threads_only=not threaded,
    )
    chain = Chain(
        chained.tiers,
        seconds=destination.timeout,
        strategy=_strategy(destination, chained),
        quorum=destination.quorum,
        retry=Retry(attempts=destination.retries + 1),
        primaries=chained.primaries,
        copies=chained.copies,
        repairs=chained.repairs,
        clock=run.clock,
    )
    queue = settings.queue if destination.queue is None else destination.queue
    console = destination.type in {"console", "stderr"}
    control = None
    if settings.control_records:
        label = f"{next(run.labels)}c"
        prefix = f',"id":"{run.id}.{label}-'.encode()
        control = ControlStream(prefix, label, name, run.encoder)
    # Where there is no place to hold anything, a record that does not fit is dropped.
    full = queue.when_full
    if full == "spill" and chained.store is None:
        full = "drop_new"
    writer = Writer(
        name,
        chain,
        Fifo(queue.records, queue.reserve, queue.bytes, full, queue.block_timeout),
        # A console has no holding tier in its chain; what a journal kept for it
        # while the process died still needs a place to be replayed from.
        store=chained.store or (places.store(name) if run.keeper.journal else None),
        batch=destination.most,
        clock=run.clock,
        journal=run.keeper,
        control=control,
        auditable=destination.type == "file",
        closes=not console,
        replay_rate=destination.replay_rate,
    )
    writer.herald = run.herald
    writer.doubt.reaches = chained.reaches
    if full == "spill" and chained.store is not None:
        writer.spiller = Spiller(writer.queue, chained.store, writer.tell, threaded=threaded)
    writer.rejects.dead_letters = places.dead_letters(destination)
    if chained.loop_only or destination.writer == "loop":
        run.loop.required = True
    return Service(
        writer,
        safe=chained.safe,
        watchdog=run.watchdog,
        draining=run.draining,
        loop=run.loop if len(chain.sync_tiers) < len(chain.tiers) else None,
        loop_only=chained.loop_only,
        threaded=threaded,
    )


def _strategy(destination: DestinationSettings, chained: Chained) -> Strategy:
    """Return the strategy to begin with; warn of what it cannot do for want of a directory."""
    name, strategy = destination.name, Strategy(destination.strategy)
    if strategy is Strategy.SPOOL and chained.store is None:
        warn(f"destination {name} has no place for a spool: records go to it directly")
        return Strategy.FAILOVER
    if strategy in {Strategy.MIRROR, Strategy.QUORUM} and not chained.repairs:
        warn(
            f"destination {name} has no place for what one of its copies misses: it is "
            "counted, and not repaired"
        )
    return strategy


def warn(said: str) -> None:
    """Warn about *said* once; a filter that makes warnings errors does not reach the caller."""
    try:
        warnings.warn(said, HydraWarning, stacklevel=2)
    except HydraWarning:
        os.write(2, f"hydra: {said}\n".encode())
