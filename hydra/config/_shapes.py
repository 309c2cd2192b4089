"""
Shapes: the ways in which one thing may be written, brought to plain mappings.

Rule 1: nothing is checked here; what has no known shape comes back as it was, and
is reported by whoever reads it.
Rule 2: None means "not given" everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ._destination import Destination
from ._options import TABLES, defaults
from ._settings import DestinationSettings, FallbackSettings
from ._values import EnvText, split

SWITCHES: Final = ("journal", "redact")
"""Sections for which true and false stand for the option `enabled`."""
SECTIONS: Final = ("queue", "journal", "redact", "hooks")


def opened(value: object) -> object:
    """Return the mapping that a settings object or a `Destination` stands for."""
    if isinstance(value, Destination):
        return value.options
    if not isinstance(value, Struct):
        return value
    given: dict[str, object] = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, (DestinationSettings, FallbackSettings)):
        # An object has a value for each option, also for those that its type does
        # not have; they say nothing, unless somebody changed them.
        table = "destination" if isinstance(value, DestinationSettings) else "fallback"
        fixed = defaults(table)
        for option in TABLES[table]:
            foreign = bool(option.only) and value.type not in option.only
            if foreign and option.name in fixed and given[option.name] == fixed[option.name]:
                del given[option.name]
    return {name: item for name, item in given.items() if item is not None}


def section(name: str, value: object) -> object:
    """Return the mapping of the section *name*; true and false switch some of them."""
    is_switch = isinstance(value, (bool, EnvText)) and name in SWITCHES
    return {"enabled": value} if is_switch else opened(value)


def layer(value: object) -> object:
    """Return the mapping of one layer; a level alone stands for its level."""
    is_level = isinstance(value, (str, int)) and not isinstance(value, bool)
    return {"level": value} if is_level else opened(value)


def element(value: object) -> object:
    """Return the mapping of one destination or fallback; a text is a type or a path."""
    if not isinstance(value, str):
        return opened(value)
    word = value.strip().lower()
    return {"type": word} if word in ("console", "stderr") else {"type": "file", "path": value}


def elements(value: object) -> object:
    """Return the list that *value* is or stands for: one thing is a list of one."""
    if isinstance(value, EnvText):
        return split(value)
    if isinstance(value, (str, Mapping, Struct, Destination)):
        return [value]
    return value


def merged(lower: Mapping[str, object], upper: Mapping[str, object]) -> dict[str, object]:
    """
    Return *lower* overlaid by *upper*.

    Sections and layers are merged option by option; a list, destinations above all,
    is replaced as a whole.
    """
    result = dict(lower)
    for name, value in upper.items():
        if value is None:
            continue
        if name in SECTIONS:
            result[name] = joined(section(name, result.get(name)), section(name, value))
        elif name == "layers" and isinstance(value, Mapping):
            before = result.get(name)
            layers = dict(before) if isinstance(before, Mapping) else {}
            for key, item in value.items():
                if item is not None:
                    layers[key] = joined(layer(layers.get(key)), layer(item))
            result[name] = layers
        else:
            result[name] = value
    return result


def joined(lower: object, upper: object) -> object:
    """Return *lower* overlaid by *upper*, option by option where both are tables."""
    if isinstance(lower, Mapping) and isinstance(upper, Mapping):
        return {**lower, **{key: item for key, item in upper.items() if item is not None}}
    return upper
