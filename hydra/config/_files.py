"""
Files: a configuration from TOML, JSON or YAML.

Rule 1: the ending of the name decides; nothing is guessed from the content.
Rule 2: only data is read. YAML comes through the safe loader, and no value of a file
is ever imported or run.
Rule 3: a file that cannot be read is one problem, with line and column.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final

from ..core.exceptions import ConfigurationError, Problem

LARGEST: Final = 1024 * 1024
"""The most bytes that a configuration file may have."""

_DEEPEST: Final = 200
"""So many brackets may stand open at once, wherever they stand; options need five."""
_BRACKET: Final = re.compile(r"[][{}]")


def read_file(path: str | os.PathLike[str]) -> Mapping[str, object]:
    """
    Return the configuration in the file at *path*; an empty file is an empty one.

    Raises:
        ConfigurationError: If the file is missing, too large, malformed, of an
            unknown kind or not a table, or if PyYAML is needed and not installed.
    """
    name = os.path.expanduser(os.fspath(path))
    parse = _KINDS.get(os.path.splitext(name)[1].lower())
    if parse is None:
        raise _error(name, "is of an unknown kind, by its ending", tuple(_KINDS))
    try:
        with open(name, "rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _error(name, f"cannot be read: {reason}") from error
    if len(content) > LARGEST:
        raise _error(name, f"is larger than {LARGEST} bytes")
    try:
        text = content.decode("utf-8-sig")
        if _depth(text) > _DEEPEST:
            # Nobody means that, and PyYAML takes minutes to find out.
            raise _error(name, "is nested too deeply")
        data = parse(text, name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise _error(name, f"is not UTF-8 (at line {line}, column {column})") from error
    except RecursionError as error:
        raise _error(name, "is nested too deeply") from error
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise _error(name, "must hold a table of options at its top")
    return data


def _depth(text: str) -> int:
    """Return how many brackets stand open at most."""
    if text.count("[") + text.count("{") <= _DEEPEST:
        return 0
    steps = (1 if each[0] in "[{" else -1 for each in _BRACKET.finditer(text))
    return max(accumulate(steps))


def _toml(text: str, name: str) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its message ends in the line and the column.
        raise _error(name, f"is not valid TOML: {error}") from error
    except ValueError as error:
        # A number with more digits than Python reads; it has no place.
        raise _error(name, f"is not valid TOML: {error}") from error


def _json(text: str, name: str) -> object:
    import json

    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"(at line {error.lineno}, column {error.colno})"
        raise _error(name, f"is not valid JSON: {error.msg} {place}") from error
    except ValueError as error:
        # As for TOML.
        raise _error(name, f"is not valid JSON: {error}") from error


def _yaml(text: str, name: str) -> object:
    try:
        import yaml
    except ImportError as error:
        hint = 'needs PyYAML, which is not installed: pip install "hydra-log[yaml]"'
        raise _error(name, hint) from error
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        # Without the cause: its text quotes the line, which may hold a secret.
        raise _error(name, f"is not valid YAML: {error.problem}{place}") from None
    except (yaml.YAMLError, ValueError) as error:
        # A forbidden character, or a date that does not exist: neither has a place.
        line = str(error).splitlines()[0]
        raise _error(name, f"is not valid YAML: {line}") from None


_KINDS: Final[dict[str, Callable[[str, str], object]]] = {
    ".toml": _toml,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _error(name: str, message: str, choices: tuple[str, ...] = ()) -> ConfigurationError:
    return ConfigurationError(Problem(path=name, message=message, choices=choices))
