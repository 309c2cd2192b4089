"""
Where segments lie: in the directories given, else where the configuration puts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ..config import Settings, load
from ..config._state import Candidate, candidates
from ._leftovers import Place


def places_of(settings: Settings, environ: Mapping[str, str]) -> list[Place]:
    """
    Return the places that processes with *settings* leave segments in, if there.

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
    return [place for place in dict.fromkeys(found) if os.path.isdir(place.directory)]


def places(
    directories: Iterable[str], config: str | None, environ: Mapping[str, str]
) -> list[Place]:
    """
    Return *directories* as places; when there are none, where the configuration says.

    Raises:
        ConfigurationError: If the configuration is needed and wrong.
    """
    given = [Place(directory) for directory in directories]
    return given or places_of(load(file=config, environ=environ), environ)
