"""
The settings of a scope beside the engine's own, and its name where nobody gives one.

Rule: a scope keeps journal and held records under an app of its own. So what a
process leaves behind goes to the scope that it was of, also where destinations of
several scopes have the same name.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from msgspec.structs import replace

from ..core.exceptions import ConfigurationError, Problem
from ._settings import Settings
from ._values import LONGEST_NAME, NAME

_PREFIX: Final = "front"


def scoped(settings: Settings, name: str | None = None) -> tuple[str, Settings]:
    """
    Return the name of a scope, and *settings* with the app that it keeps its state under.

    Args:
        settings: A checked configuration.
        name: The scope's name; None: one that is the same for the same app, files and
            sinks, however many scopes there are and in whichever order they are made.

    Raises:
        ConfigurationError: If *name* cannot be part of a file name, or is too long.
    """
    if name is None:
        name = _name(settings)
        # The digest in the name tells apart what is cut to the same length.
        return name, replace(settings, app=f"{settings.app[: LONGEST_NAME - len(name) - 1]}.{name}")
    app = f"{settings.app}.{name}"
    given: object = name
    if not isinstance(given, str) or not NAME.fullmatch(name) or not NAME.fullmatch(app):
        left = LONGEST_NAME - len(settings.app) - 1
        message = (
            f"must be 1 to {left} letters, digits, underscores, dots or dashes, not beginning "
            "with a dot"
        )
        raise ConfigurationError(Problem(path="name", message=message, value=given))
    return name, replace(settings, app=app)


def _name(settings: Settings) -> str:
    of_layers = (layer.destinations or () for layer in settings.layers.values())
    places = {
        f"{each.name} {each.path or _kind(each.sink)}"
        for each in (*settings.destinations, *(each for some in of_layers for each in some))
        if each.type in {"file", "sink"}
    }
    text = "\n".join((settings.app, *sorted(places)))
    return f"{_PREFIX}-{crc32(text.encode(errors='surrogateescape')):08x}"


def _kind(sink: object) -> str:
    kind = sink if hasattr(sink, "__qualname__") else type(sink)
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
