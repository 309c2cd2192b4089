"""
Where segments lie: in the directories given, else where the configuration puts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..config import Settings, load
from ..config._state import Candidate, candidates
from ._leftovers import Place
from .audit._sources import shown


def places_of(settings: Settings, environ: Mapping[str, str]) -> list[Place]:
    """
    Return the places that processes with *settings* leave segments in, there or not.

    All candidates for the state directory are looked at, not only the one in use
    now: the place that was usable when a process died may be another one.
    """
    state = candidates(
        settings.app,
        settings.state_dir,
        environ,
        os.geteuid(),
        lambda: os.path.expanduser("~"),
    )
    found = [Place(each.path) for each in state if isinstance(each, Candidate)]
    if settings.journal.dir:
        found.insert(0, Place(settings.journal.dir))
    of_layers = (each.destinations or () for each in settings.layers.values())
    for destination in (*settings.destinations, *(each for some in of_layers for each in some)):
        # A fallback file may stand in /var/tmp: only what bears its name is ours.
        found += [
            Place(os.path.dirname(each.path), os.path.basename(each.path))
            for each in destination.fallback or ()
            if each.path
        ]
    return list(dict.fromkeys(found))


def existing(places: Iterable[Place]) -> list[Place]:
    """Return those of *places* whose directories are there."""
    return [place for place in places if os.path.isdir(place.directory)]


class Search(NamedTuple):
    """The places to look at, and those of the configuration that are not there."""

    places: list[Place]
    absent: list[Place]

    def __str__(self) -> str:
        """Say where it is looked, for whoever misses something."""
        said = f"looked in {_names(self.places)}" if self.places else "looked nowhere"
        return f"{said}; not there: {_names(self.absent)}" if self.absent else said


def search(directories: Iterable[str], config: str | None, environ: Mapping[str, str]) -> Search:
    """
    Look for *directories*; when there are none, for where the configuration puts segments.

    Raises:
        ConfigurationError: If the configuration is needed and wrong.
    """
    given = [Place(directory) for directory in directories]
    if given:
        return Search(given, [])
    found = places_of(load(file=config, environ=environ), environ)
    there = existing(found)
    return Search(there, [place for place in found if place not in there])


def _names(places: Iterable[Place]) -> str:
    return ", ".join(
        shown(each.directory if each.prefix is None else f"{each.directory}/{each.prefix}.*")
        for each in places
    )
