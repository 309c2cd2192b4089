"""
Build: from a merged mapping to `Settings`, or to the list of all that is wrong.

Rule 1: every problem is found in one go; what cannot be read is left out, and
nothing is built in the end.
Rule 2: names, paths and layers are compared only once all destinations are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ..core.exceptions import Problem
from . import _defaults as default
from . import _shapes as shapes
from ._names import Names
from ._options import DESTINATION, FALLBACK, LAYER, SETTINGS, TABLES, Option
from ._settings import (
    DestinationSettings,
    FallbackSettings,
    HookSettings,
    JournalSettings,
    LayerSettings,
    QueueSettings,
    RedactSettings,
    Settings,
)
from ._values import EnvText, RefusedError

_S = TypeVar("_S", bound=Struct)
_MARKS: Final = (("path", "file"), ("sink", "sink"), ("stream", "console"))
_LONGEST_LAYER: Final = 200


def build(
    given: Mapping[str, object], *, app: str, color: str | None = None
) -> tuple[Settings | None, list[Problem]]:
    """
    Return the settings that *given* makes, or None, and all problems found.

    Args:
        given: The merged mapping of all sources.
        app: The name of the application where none is given.
        color: The colour choice of consoles that have none of their own.
    """
    reader = _Reader(color)
    settings = reader.settings(given, app)
    return (None if reader.problems else settings), reader.problems


class _Reader:
    """One run through a configuration, gathering problems on the way."""

    def __init__(self, color: str | None) -> None:
        self.problems: list[Problem] = []
        self._color = color
        self._names = Names(self._problem)

    def settings(self, given: Mapping[str, object], app: str) -> Settings:
        values = self._options(SETTINGS, given, "")
        queue = self._queue(values.pop("queue", {}), "queue", QueueSettings())
        shared: list[DestinationSettings] = []
        if "destinations" in values:
            shared = self._destinations(values["destinations"], "destinations", queue)
        else:
            shared = self._destinations([{"type": "console"}], "destinations", queue)
        values["destinations"] = tuple(shared)
        if "layers" in values:
            values["layers"] = self._layers(values["layers"], shared, queue)
        values["journal"] = self._journal(values.get("journal", {}))
        redact = self._options(TABLES["redact"], values.get("redact", {}), "redact")
        values["redact"] = _made(RedactSettings, redact)
        hooks = self._options(TABLES["hooks"], values.get("hooks", {}), "hooks")
        values["hooks"] = _made(HookSettings, hooks)
        values.setdefault("app", app)
        return _made(Settings, {"queue": queue, **values})

    def _options(self, table: tuple[Option, ...], given: object, path: str) -> dict[str, object]:
        """Return what *given* says about the options of *table*, parsed."""
        if not isinstance(given, Mapping):
            self._problem(path, "must be a table of options", given)
            return {}
        values: dict[str, object] = {}
        options = {option.name: option for option in table}
        for key, value in given.items():
            option = options.get(key)
            where = f"{path}.{key}" if path else str(key)
            if option is None:
                self._unknown(where, str(key), value, tuple(options))
            elif value is not None:
                try:
                    values[option.name] = option.parse(value)
                except RefusedError as refused:
                    self._problem(where, str(refused), value, refused.choices)
        return values

    def _queue(self, given: object, path: str, base: QueueSettings) -> QueueSettings:
        values = self._options(TABLES["queue"], shapes.opened(given), path)
        records = values.get("records")
        if isinstance(records, int) and "reserve" not in values:
            values["reserve"] = records // default.QUEUE_RESERVE_SHARE
        return replace(base, **values)

    def _spilling(
        self, queue: QueueSettings, own: object, draft: Mapping[str, object], where: str
    ) -> QueueSettings:
        """Return *queue*, which must not spill where the destination holds nothing."""
        fallbacks = draft.get("fallback")
        holds = (
            any(fallback.type == "file" for fallback in fallbacks)
            if isinstance(fallbacks, tuple)
            else draft["type"] in ("file", "sink")
        )
        if queue.when_full != "spill" or holds:
            return queue
        if isinstance(own, Mapping) and own.get("when_full") is not None:
            self._problem(
                f"{where}.queue.when_full",
                "needs a fallback of type file, which holds what is spilled",
                "spill",
            )
        return replace(queue, when_full="drop_new")

    def _journal(self, given: object) -> JournalSettings:
        journal = _made(JournalSettings, self._options(TABLES["journal"], given, "journal"))
        if journal.quota < 2 * journal.segment:
            self._problem(
                "journal.quota",
                f"must have room for two segments ({2 * journal.segment} bytes)",
                journal.quota,
            )
        return journal

    def _destinations(
        self,
        given: object,
        path: str,
        queue: QueueSettings,
        shared: Mapping[str, DestinationSettings] | None = None,
    ) -> list[DestinationSettings]:
        items = shapes.elements(given)
        if not isinstance(items, (list, tuple)):
            self._problem(path, "must be a list of destinations", given)
            return []
        # In place of what a name refers to stands the very object, in its place.
        found: list[DestinationSettings | dict[str, object]] = []
        drafts: list[tuple[str, dict[str, object]]] = []
        for index, item in enumerate(items):
            same = _referred(item, shared or {})
            if same is not None:
                found.append(same)
                continue
            where = f"{path}[{index}]"
            draft = self._draft(DESTINATION, shapes.element(item), where)
            drafts.append((where, draft))
            found.append(draft)
            if "fallback" in draft:
                draft["fallback"] = self._fallbacks(draft["fallback"], f"{where}.fallback")
            if "queue" in draft:
                own = shapes.opened(draft["queue"])
                draft["queue"] = self._spilling(
                    self._queue(own, f"{where}.queue", queue), own, draft, where
                )
        self._names.give(drafts)
        for where, draft in drafts:
            self._names.claim(where, draft)
            self._strategy(where, draft)
        return [
            item if isinstance(item, DestinationSettings) else _made(DestinationSettings, item)
            for item in found
        ]

    def _draft(self, table: tuple[Option, ...], given: object, path: str) -> dict[str, object]:
        """Return the options of one destination or fallback, its type settled."""
        values = self._options(table, given, path)
        options = {option.name: option for option in table}
        types = options["type"].choices
        written = given if isinstance(given, Mapping) else {}
        if "type" not in values:
            marks = (kind for mark, kind in _MARKS if written.get(mark) is not None)
            guess = next((kind for kind in marks if kind in types), None)
            if guess is None:
                if isinstance(given, Mapping) and written.get("type") is None:
                    self._problem(f"{path}.type", "is required here", None, types)
                values["type"] = "stderr"
                return values
            values["type"] = guess
        kind = str(values["type"])
        for name in tuple(values):
            only = options[name].only
            if only and kind not in only:
                self._problem(
                    f"{path}.{name}", f"is an option of {' and '.join(only)}, not of {kind}", None
                )
                del values[name]
        if kind == "sink" and written.get("sink") is None:
            self._problem(f"{path}.sink", "is required for a sink", None)
        if table is FALLBACK and kind == "file":
            self._fallback_file(path, values)
        if table is DESTINATION:
            if kind == "file" and written.get("path") is None:
                self._problem(f"{path}.path", "is required for a file", None)
            self._rendering(kind, values)
        return values

    def _fallback_file(self, path: str, values: dict[str, object]) -> None:
        """Report options of a fallback file that do not go together."""
        hold = values.get("hold", default.HOLD)
        if not hold and "path" not in values:
            self._problem(f"{path}.path", "is required for a file that does not hold", None)
        name, usual = ("format", default.FORMAT) if hold else ("quota", default.FALLBACK_QUOTA)
        # What a settings object says by itself says nothing.
        if values.get(name, usual) != usual:
            kind = (
                "a file with hold = false, or of stderr and sink" if hold else "a file that holds"
            )
            self._problem(f"{path}.{name}", f"is an option of {kind}", values.pop(name))

    def _strategy(self, where: str, draft: Mapping[str, object]) -> None:
        """Report a strategy that the fallbacks do not fit."""
        settings = _made(DestinationSettings, dict(draft))
        name, copies, quorum = settings.strategy, settings.copies, settings.quorum
        if name in {"mirror", "fastest", "quorum"} and copies == 1:
            self._problem(
                f"{where}.strategy",
                f"{name} needs a second copy among the fallbacks: a sink, or a file with "
                "hold = false",
                name,
                ("failover", "spool"),
            )
        elif name == "spool" and not settings.holds:
            self._problem(
                f"{where}.strategy",
                "spool needs a fallback of type file that holds",
                name,
                ("failover",) if copies == 1 else ("failover", "mirror", "fastest", "quorum"),
            )
        if quorum is not None and name != "quorum":
            self._problem(
                f"{where}.quorum", f"is an option of strategy quorum, not of {name}", quorum
            )
        elif quorum is not None and quorum > copies > 1:
            self._problem(
                f"{where}.quorum",
                f"must not be more than the {copies} copies",
                quorum,
                tuple(str(number) for number in range(1, copies + 1)),
            )

    def _rendering(self, kind: str, values: dict[str, object]) -> None:
        if kind in ("console", "stderr"):
            values.setdefault("format", default.CONSOLE_FORMAT)
        elif values.get("format") == "auto":
            values["format"] = default.FORMAT
        if kind == "console" and self._color is not None:
            values.setdefault("color", self._color)

    def _fallbacks(self, given: object, path: str) -> tuple[FallbackSettings, ...]:
        items = shapes.elements(given)
        if not isinstance(items, (list, tuple)):
            self._problem(path, "must be a list of fallbacks", given)
            return ()
        drafts = [
            self._draft(FALLBACK, shapes.element(item), f"{path}[{index}]")
            for index, item in enumerate(items)
        ]
        for draft in drafts:
            if draft["type"] != "stderr" and draft.get("format") == "auto":
                draft["format"] = default.FORMAT
        made = [_made(FallbackSettings, draft) for draft in drafts]
        for index, fallback in enumerate(made):
            if fallback.reserve is not None and fallback.reserve > fallback.quota:
                self._problem(
                    f"{path}[{index}].reserve",
                    f"must not exceed the quota ({fallback.quota} bytes)",
                    fallback.reserve,
                )
        return tuple(made)

    def _layers(
        self, given: object, shared: list[DestinationSettings], queue: QueueSettings
    ) -> dict[str, LayerSettings]:
        if not isinstance(given, Mapping):
            self._problem("layers", "must be a table of layers by name", given)
            return {}
        layers: dict[str, LayerSettings] = {}
        by_name = {destination.name: destination for destination in shared}
        for key, item in given.items():
            path = f"layers.{key}"
            if not _is_logger(key):
                self._problem(
                    path, "must be the name of a logger: printable, no empty part between dots", key
                )
                continue
            values = self._options(LAYER, shapes.layer(item), path)
            if "destinations" in values:
                values["destinations"] = tuple(
                    self._destinations(
                        values["destinations"], f"{path}.destinations", queue, by_name
                    )
                )
            layers[str(key)] = _made(LayerSettings, values)
        return layers

    def _unknown(self, path: str, key: str, value: object, names: tuple[str, ...]) -> None:
        from difflib import get_close_matches

        near = get_close_matches(key.lower(), names, 1, 0.6)
        if near:
            self._problem(path, f'is no option; did you mean "{near[0]}"?', value)
        else:
            self._problem(path, "is no option", value, names)

    def _problem(
        self, path: str, message: str, value: object, choices: tuple[str, ...] = ()
    ) -> None:
        if isinstance(value, EnvText):
            message = f"{message} [from {value.variable}]"
            value = str(value)
        self.problems.append(Problem(path=path, message=message, value=value, choices=choices))


def _made(cls: type[_S], values: Mapping[str, object]) -> _S:
    """Return a *cls* of parsed *values*; their types were settled by the option tables."""
    return cls(**values)


def _referred(
    item: object, shared: Mapping[str, DestinationSettings]
) -> DestinationSettings | None:
    """Return the destination that *item* names, or is, among those of the whole."""
    if isinstance(item, str):
        return shared.get(item)
    if isinstance(item, DestinationSettings) and shared.get(item.name) == item:
        return shared[item.name]
    return None


def _is_logger(key: object) -> bool:
    return (
        isinstance(key, str)
        and 0 < len(key) <= _LONGEST_LAYER
        and key.isprintable()
        and all(part.strip() for part in key.split("."))
    )
