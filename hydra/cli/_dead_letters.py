"""
Dead letters for `hydra replay --dead-letters`: found, listed, taken for another delivery.

Rule 1: a file of letters goes when all its lines are safe elsewhere: in the file
they were delivered to, or held for their destination. Interrupted before, the
replay is repeated.
Rule 2: only the letters of our own user, and of the versions known here, are taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fallbacks.dead_letters import Contents, Letter, Taken, prefix_of, read
from fallbacks.held import HeldStore
from fallbacks.system import SYSTEM

from ..config import Settings
from ..core.ids import identify, new_run, weigh
from ._leftovers import Place
from ._sources import Left
from .audit._sources import shown


@dataclass(frozen=True, slots=True)
class DeadFile:
    """A file of dead letters, or why it cannot be read."""

    path: str
    contents: Contents
    problem: str = ""


def dead_paths(places: Iterable[Place]) -> list[str]:
    """
    Return the files of dead letters in *places*.

    Raises:
        OSError: If a directory cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: set[str] = set()
    for place in places:
        for base, below, names in os.walk(place.directory, onerror=refuse):
            for name in names:
                prefix = prefix_of(name)
                if prefix is not None and place.prefix in (None, prefix):
                    found.add(os.path.normpath(os.path.join(base, name)))
            if place.prefix is not None:
                below.clear()
    return sorted(found)


def dead_files(places: Iterable[Place]) -> list[DeadFile]:
    """
    Return what is in the files of dead letters in *places*.

    Raises:
        OSError: If a directory cannot be read.
    """
    found: list[DeadFile] = []
    for path in dead_paths(places):
        try:
            contents = read(SYSTEM, path)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(DeadFile(path, Contents(()), error.strerror or str(error)))
            continue
        problem = "letters of a newer format in it" if contents.newer else ""
        found.append(DeadFile(path, contents, problem))
    return found


def described(letter: Letter) -> str:
    """Return one line about *letter*, for people."""
    try:
        moment = datetime.fromtimestamp(letter.time // 1_000_000_000, UTC)
        when = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        when = "at no time"  # The file says so; it may be damaged.
    parts = (when, letter.destination, letter.id or "no id", letter.tier, letter.reason)
    return shown("  ".join(parts))


@dataclass(slots=True)
class DeadSource:
    """A file of dead letters as a `Source`."""

    taken: Taken

    @property
    def lines(self) -> list[bytes]:
        """Their lines, the oldest first."""
        return [letter.line for letter in self.taken.contents.letters]

    @property
    def letters(self) -> tuple[Letter, ...]:
        """The letters, the oldest first."""
        return self.taken.contents.letters

    def finish(self) -> None:
        """As `Source.finish`."""
        self.taken.finish()

    def release(self) -> None:
        """As `Source.release`."""
        self.taken.release()


def dead_sources(
    places: Iterable[Place], destination: str | None, left: Left
) -> Iterator[DeadSource]:
    """
    Take the files of dead letters in *places*, one at a time.

    Args:
        places: Where to look.
        destination: Only the letters for this one; None: all.
        left: Counts the files that were left alone.

    Raises:
        OSError: If a directory cannot be read.
    """

    def wanted(letters: tuple[Letter, ...]) -> bool:
        return destination is None or {each.destination for each in letters} <= {destination}

    return _take(places, wanted, left)


def _take(
    places: Iterable[Place], wanted: Callable[[tuple[Letter, ...]], bool], left: Left
) -> Iterator[DeadSource]:
    """
    Take the files in *places* whose letters are *wanted*.

    Raises:
        OSError: If a directory cannot be read.
    """
    for path in dead_paths(places):
        try:
            before = read(SYSTEM, path)
            if not wanted(before.letters):
                continue
            if before.newer:
                left.count += 1
                continue
            taken = Taken(SYSTEM, path)
        except FileNotFoundError:
            continue
        except OSError:
            left.count += 1
            continue
        yield DeadSource(taken)


def hold_again(
    places: Iterable[Place],
    left: Left,
    *,
    settings: Settings | None = None,
    destination: str | None = None,
) -> list[Letter]:
    """
    Make what *places* keep aside held lines of their destinations again.

    The next start of their application delivers them.

    Args:
        places: Where to look.
        left: Counts the files that were left alone.
        settings: Leave the letters of other applications alone, and those of
            destinations that are not configured here; None: take all.
        destination: Only the letters for this one; None: all.

    Returns:
        The letters that are held now.

    Raises:
        OSError: If lines cannot be held; their letters stay where they are then.
    """

    def wanted(letters: tuple[Letter, ...]) -> bool:
        if destination is not None and any(each.destination != destination for each in letters):
            return False
        known = all(_has_owner(each, settings) for each in letters)
        left.count += not known
        return known

    held: list[Letter] = []
    for source in _take(places, wanted, left):
        try:
            for app, name in dict.fromkeys((each.app, each.destination) for each in source.letters):
                prefix = prefix_of(os.path.basename(source.taken.path))
                assert prefix is not None
                _hold(
                    os.path.join(os.path.dirname(source.taken.path), prefix),
                    app,
                    name,
                    [
                        letter.line
                        for letter in source.letters
                        if (letter.app, letter.destination) == (app, name)
                    ],
                )
            held += source.letters
            source.finish()
        finally:
            source.release()
    return held


def _has_owner(letter: Letter, settings: Settings | None) -> bool:
    """Return whether somebody would ever deliver *letter* if it were held."""
    if settings is None:
        return bool(letter.app and letter.destination)
    configured = {each.name for each in settings.destinations} | {
        each.name for layer in settings.layers.values() for each in layer.destinations or ()
    }
    return letter.app == settings.app and letter.destination in configured


def _hold(prefix: str, app: str, destination: str, lines: list[bytes]) -> None:
    run = new_run()
    store = HeldStore(
        prefix, app=app, destination=destination, run=run, identify=identify, weigh=weigh
    )
    try:
        store.import_lines(run, lines, None)
    finally:
        store.close()
