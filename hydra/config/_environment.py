"""
Environment: what `HYDRA_*` and a few common variables say.

Rule 1: two underscores go one table or list down: `HYDRA_QUEUE__RECORDS` is
`queue.records`, `HYDRA_DESTINATIONS__0__PATH` the path of the first destination.
Rule 2: an empty variable is not set.
Rule 3: a variable whose first word is no option belongs to somebody else (Kubernetes
puts `HYDRA_PORT` into every pod beside a service of that name) and is left alone,
unless it is a slip of the pen away from an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from ..core.exceptions import Problem
from . import _shapes as shapes
from ._options import SETTINGS
from ._values import EnvText, RefusedError, json_of

Tree: TypeAlias = "dict[str, EnvText | Tree]"

PREFIX: Final = "HYDRA_"
FILE: Final = "HYDRA_CONFIG"
PRESET: Final = "HYDRA_PRESET"
_SLIP: Final = 0.8
_FALSE: Final = ("0", "false", "no", "off")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)

_ROOT: Final = "settings"
_OPTION: Final = "option"
_BELOW: Final[dict[str, dict[str, str]]] = {
    _ROOT: {
        "queue": "queue",
        "journal": "journal",
        "redact": "redact",
        "hooks": "hooks",
        "destinations": "destinations",
        "layers": "layers",
    },
    "layers": {"*": "layer"},
    "layer": {"destinations": "destinations"},
    "destinations": {"*": "destination"},
    "destination": {"fallback": "fallbacks", "queue": "queue"},
    "fallbacks": {"*": "fallback"},
}
"""What stands where: for each kind of thing, the kinds of what it holds."""


def ambient_level(environ: Mapping[str, str]) -> EnvText | None:
    """Return what `LOG_LEVEL` says, if anything."""
    level = environ.get("LOG_LEVEL", "")
    return EnvText(level, "LOG_LEVEL") if level.strip() else None


def ambient_color(environ: Mapping[str, str]) -> str | None:
    """Return the choice of colours that `NO_COLOR` and `FORCE_COLOR` make, if any."""
    if environ.get("NO_COLOR"):
        return "never"
    forced = environ.get("FORCE_COLOR", "").strip().lower()
    if not forced:
        return None
    return "never" if forced in _FALSE else "always"


def overlaid(
    lower: Mapping[str, object], environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, object]:
    """
    Return *lower* with the options of *environ* put over it.

    Whole values come first (`HYDRA_DESTINATIONS`), then what lies in them, so that
    an element can be mended by its index. *problems* takes what is misspelt,
    malformed JSON, and an index beyond the end of a list.
    """
    tree = _tree(environ, problems)
    whole: dict[str, object] = {}
    for word, node in tree.items():
        text = node if isinstance(node, EnvText) else node.pop("", None)
        if isinstance(text, EnvText):
            whole[word] = _value(text, _kind(_ROOT, word), word, problems)
    deeper: Tree = {word: node for word, node in tree.items() if not isinstance(node, EnvText)}
    return _branch(shapes.merged(lower, whole), deeper, _ROOT, "", problems)


def _tree(environ: Mapping[str, str], problems: list[Problem]) -> Tree:
    tree: Tree = {}
    names = {option.name for option in SETTINGS}
    for variable in sorted(environ):
        value = environ[variable]
        if not variable.startswith(PREFIX) or variable in (FILE, PRESET) or not value.strip():
            continue
        words = variable.removeprefix(PREFIX).lower().split("__")
        if words[0] not in names:
            near = _near(words[0], (*names, "config", "preset"))
            if near:
                meant = PREFIX + near.upper()
                problems.append(
                    Problem(path=variable, message=f"is no option; did you mean {meant}?")
                )
            continue
        node = tree
        for word in words[:-1]:
            below = node.get(word)
            if not isinstance(below, dict):
                # A whole value is kept under the empty word, below what mends it.
                below = {} if below is None else {"": below}
                node[word] = below
            node = below
        node[words[-1]] = EnvText(value, variable)
    return tree


def _near(word: str, names: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches

    alike = [name for name in names if name.count("_") == word.count("_")]
    return next(iter(get_close_matches(word, sorted(alike), 1, _SLIP)), None)


def _value(text: EnvText, kind: str, path: str, problems: list[Problem]) -> object:
    """Return *text*, or what it holds if it is JSON where a table or a list may stand."""
    if kind == _OPTION or text.strip()[:1] not in ("{", "["):
        return text
    try:
        return json_of(text)
    except RefusedError as refused:
        problems.append(Problem(path=path, message=f"{refused} [from {text.variable}]"))
        return None


def _kind(above: str, word: str) -> str:
    """Return what stands under *word* in something of the kind *above*."""
    below = _BELOW.get(above, {})
    return below.get("*") or below.get(word, _OPTION)


def _put(
    lower: object, node: EnvText | Tree, kind: str, path: str, problems: list[Problem]
) -> object:
    """Return what stands at *path*: *lower*, overlaid by *node*."""
    whole = node if isinstance(node, EnvText) else node.get("")
    if isinstance(whole, EnvText):
        value = _value(whole, kind, path, problems)
        if kind in shapes.SECTIONS:
            lower = shapes.joined(shapes.section(kind, lower), shapes.section(kind, value))
        elif kind == "layer":
            lower = shapes.joined(shapes.layer(lower), shapes.layer(value))
        else:
            lower = value
    if isinstance(node, EnvText):
        return lower
    below = {word: item for word, item in node.items() if word}
    if kind in ("destinations", "fallbacks"):
        return _list(shapes.elements(lower), below, kind, path, problems)
    if kind in shapes.SECTIONS:
        lower = shapes.section(kind, lower)
    elif kind == "layer":
        lower = shapes.layer(lower)
    elif kind in ("destination", "fallback"):
        lower = shapes.element(lower)
    return _branch(lower if isinstance(lower, Mapping) else {}, below, kind, path, problems)


def _branch(
    lower: Mapping[str, object], tree: Tree, kind: str, path: str, problems: list[Problem]
) -> dict[str, object]:
    result = dict(lower)
    for word, node in tree.items():
        # Variables are upper case, names of layers may be anything.
        key = next((name for name in result if str(name).lower() == word), word)
        where = f"{path}.{key}" if path else key
        put = _put(result.get(key), node, _kind(kind, word), where, problems)
        if put is not None:
            result[key] = put
    return result


def _list(given: object, tree: Tree, kind: str, path: str, problems: list[Problem]) -> list[object]:
    result = list(given) if isinstance(given, (list, tuple)) else []
    for word in sorted(tree, key=lambda word: (len(word), word)):
        where = f"{path}[{word}]"
        if not _INDEX.fullmatch(word) or int(word) > len(result):
            message = f"has no place in a list of {len(result)}"
            problems.append(Problem(path=where, message=message))
            continue
        index = int(word)
        if index == len(result):
            result.append({})
        result[index] = _put(result[index], tree[word], _kind(kind, word), where, problems)
    return result
