"""
Options: the one table of everything that can be configured.

Rule 1: parsing, the search for unknown names, the types of environment variables
and the tables of the reference page all read this table; the defaults stand in the
settings classes, under the same names.
Rule 2: an option with `only` belongs to destinations of these types; given for
another type it is a mistake and is reported, never ignored.
"""

from __future__ import annotations

from typing import Final, get_args

from msgspec import Struct

from . import _defaults as default
from . import _settings as types
from . import _values as values


class Option(Struct, frozen=True):
    """
    One option of one table.

    Args:
        name: The key in mappings and files, and the keyword.
        kind: What may be written, in a word or two for the reference page.
        parse: Turns what was given into the value.
        doc: One sentence or two for the reference page.
        choices: The words that may be written, where that is a list.
        only: The types of destination or fallback that have this option.
        default: The default in words, where it depends on something else.
    """

    name: str
    kind: str
    parse: values.Parser
    doc: str
    choices: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    default: str = ""


def _nested(value: object) -> object:
    """Stand in for the parser of an option whose value has a table of its own."""
    return value


def _choice(name: str, alias: object, doc: str, **more: str | tuple[str, ...]) -> Option:
    choices: tuple[str, ...] = get_args(alias)
    only = more.get("only", ())
    return Option(
        name,
        "choice",
        values.choice(*choices),
        doc,
        choices=choices,
        only=only if isinstance(only, tuple) else (only,),
        default=str(more.get("default", "")),
    )


SETTINGS: Final = (
    Option(
        "app",
        "name",
        values.name,
        "The name of the application, part of the names of journal and state files.",
        default="the name of the program",
    ),
    Option("level", "level", values.level, "Records below this level are not made."),
    Option(
        "destinations",
        "list of destinations",
        _nested,
        "Where records go. An empty list switches all output off.",
        default="one console on standard error",
    ),
    Option(
        "layers",
        "table of layers",
        _nested,
        "By logger name: what differs for that logger and those below it.",
        default="none",
    ),
    Option("queue", "queue", _nested, "The queue of each destination.", default="see Queue"),
    Option("journal", "journal", _nested, "The journal of the run.", default="see Journal"),
    Option("redact", "redact", _nested, "Masking of secrets.", default="see Redact"),
    Option("hooks", "hooks", _nested, "Functions that are told of events.", default="see Hooks"),
    Option(
        "processors",
        "list of callables",
        values.processors,
        "Callables `(logger, method, event_dict)`, run in order at each call. Python only.",
        default="none",
    ),
    Option(
        "strict",
        "bool",
        values.flag,
        "Raise where a guarantee cannot be given (no usable state directory), instead of one "
        "warning.",
    ),
    Option(
        "control_records",
        "bool",
        values.flag,
        "Write what was dropped, and totals at the close, into each destination. Without them "
        "the end of a file cannot be audited.",
    ),
    Option("callsite", "bool", values.flag, "Add file, line and function of the call."),
    Option(
        "exit_timeout",
        "duration",
        values.duration(),
        "The longest time that the end of the process waits for destinations.",
    ),
    Option(
        "signals",
        "bool",
        values.flag,
        "Flush on SIGTERM and SIGINT, then hand on to the handler that was there before.",
    ),
    Option(
        "live_stats",
        "bool",
        values.flag,
        "Publish statistics once a second in the state directory, on a thread of its own, for "
        "`hydra doctor --watch`.",
    ),
    Option(
        "state_dir",
        "path",
        values.path,
        "Where journals and held records are kept, in a directory for each app.",
        default="the first usable, see State directory",
    ),
)

DESTINATION: Final = (
    Option(
        "name",
        "name",
        values.name,
        "The name in statistics, journal and control records; unique.",
        default="from path or sink",
    ),
    _choice(
        "type",
        types.DestinationType,
        "What the destination is.",
        default="file with a path, sink with a sink, console with a stream",
    ),
    Option(
        "path",
        "path",
        values.file_path,
        "The file. Relative to the working directory at the time of `configure`.",
        only=("file",),
        default="required",
    ),
    Option("mode", "octal", values.mode, "Permission bits of a new file.", only=("file",)),
    _choice(
        "stream", types.Stream, "The standard stream that a console writes to.", only="console"
    ),
    _choice(
        "format",
        types.Format,
        "`json` is the canonical line, `text` the line for people, `plain` the same without "
        "colours; `auto` is `text` on a terminal and `json` elsewhere.",
        default="auto for console and stderr, json otherwise",
    ),
    _choice("color", types.Color, "Colours in text; `auto` on a terminal only.", only="console"),
    Option(
        "level",
        "level",
        values.level,
        "Records below this level do not go to this destination.",
        default="the level of the logger",
    ),
    _choice(
        "strategy",
        types.Strategy,
        "How destination and fallbacks are used, and when a record counts as delivered; see "
        "[choose a strategy](../how-to/strategies.md).",
    ),
    Option(
        "quorum",
        "count",
        values.count(1),
        "With `strategy` `quorum`: how many copies make a record delivered.",
        default="more than half of the copies",
    ),
    Option(
        "timeout",
        "duration",
        values.duration(0.001),
        "The longest time for one attempt to write a batch.",
    ),
    Option(
        "retries",
        "count",
        values.count(0),
        "Further attempts on the same tier before the next one is tried.",
    ),
    Option(
        "fallback",
        "list of fallbacks",
        _nested,
        "What is tried, in order, when the destination fails; an empty list means nothing is.",
        default="the standard chain of the type",
    ),
    Option(
        "queue",
        "queue",
        _nested,
        "The queue of this destination; what is not given is as in `queue`.",
        default="as `queue`",
    ),
    _choice(
        "writer",
        types.WriterKind,
        "Who writes: a thread, a task on the engine's event loop, or whichever suits.",
    ),
    Option(
        "sink",
        "tier or callable",
        values.sink,
        "A tier, or a plain or async callable that takes a list of lines (bytes). Python only.",
        only=("sink",),
        default="required",
    ),
    Option(
        "batch",
        "count",
        values.count(1),
        "The most records handed over in one write.",
        default=f"{default.BATCH}, for a file of JSON lines {default.FILE_BATCH}",
    ),
    Option(
        "replay_rate",
        "count",
        values.count(1),
        "The most held records per second that it gets when it is back, and of what it "
        "missed each copy. New records do not count.",
        default="as many as it takes",
    ),
    Option(
        "dead_letters",
        "size",
        values.size(default.LARGEST_RECORD),
        "The most bytes of its [dead letters](../how-to/dead-letters.md), which are records that "
        "it refused for good. Beyond that, records below error are dropped and declared.",
    ),
)

FALLBACK: Final = (
    _choice(
        "type",
        types.FallbackType,
        "What the fallback is; a file holds records for replay.",
        default="file with a path, sink with a sink",
    ),
    Option(
        "path",
        "path",
        values.file_path,
        "The beginning of the names of the held files, or the log file with `hold` false.",
        only=("file",),
        default="in the state directory",
    ),
    Option(
        "hold",
        "bool",
        values.flag,
        "Whether the file holds records for replay. With false it is a log file, one more copy "
        "of the destination.",
        only=("file",),
    ),
    _choice(
        "format",
        types.Format,
        "As for destinations; a file that holds always has canonical lines.",
    ),
    Option(
        "sink",
        "tier or callable",
        values.sink,
        "As for destinations. Python only.",
        only=("sink",),
        default="required",
    ),
    Option(
        "quota",
        "size",
        values.size(default.JOURNAL_SMALLEST_SEGMENT),
        "The most bytes the held files may take. What exceeds it goes to the next fallback, or is "
        "dropped and declared.",
        only=("file",),
    ),
    Option(
        "reserve",
        "size",
        values.size(0),
        "How much of `quota` only records of level error and above may use.",
        only=("file",),
        default="a quarter of `quota`",
    ),
)

LAYER: Final = (
    Option(
        "level", "level", values.level, "The level of the layer.", default="as the configuration"
    ),
    Option(
        "destinations",
        "list of destinations",
        _nested,
        "The destinations of the layer; a text that is the name of a destination of the whole "
        "configuration stands for that one.",
        default="as the configuration",
    ),
)

QUEUE: Final = (
    Option("records", "count", values.count(1), "The most records that wait in a queue."),
    Option(
        "bytes",
        "size",
        values.size(default.LARGEST_RECORD),
        "The most bytes that wait in a queue.",
    ),
    Option(
        "reserve",
        "count",
        values.count(0),
        "Further records of level error and above that a full queue still takes.",
        default="a tenth of `records`",
    ),
    _choice(
        "when_full",
        types.WhenFull,
        "What becomes of records below error that find the queue full. `block` waits up to "
        "`block_timeout`, then drops new records until there is room; `drop_new` drops them at "
        "once; `drop_old` drops the oldest one instead; `shed` drops trace and debug from 60 % "
        "on, info from 80 %, the rest at 100 %; `spill` has them held in the first fallback file, "
        "and is `drop_new` where there is none. Drops are counted and declared.",
    ),
    Option(
        "block_timeout",
        "duration",
        values.duration(),
        "The longest time that a call off the event loop waits for room.",
    ),
)

JOURNAL: Final = (
    Option(
        "enabled",
        "bool",
        values.flag,
        "Whether records of level error and above are journaled before the call returns.",
        default="on as soon as a destination is not a console",
    ),
    Option("dir", "path", values.path, "Where segments are kept.", default="the state directory"),
    Option(
        "quota",
        "size",
        values.size(2 * default.JOURNAL_SMALLEST_SEGMENT),
        "The most bytes that the journal of an app may take; at least two segments.",
    ),
    Option(
        "segment",
        "size",
        values.size(default.JOURNAL_SMALLEST_SEGMENT),
        "The size of one segment; each is allocated as a whole.",
    ),
    Option(
        "sync_interval",
        "duration",
        values.duration(0.001),
        "The longest time between two syncs to disk.",
    ),
)

REDACT: Final = (
    Option("enabled", "bool", values.flag, "Whether secrets are masked."),
    Option(
        "keys",
        "list of texts",
        values.words,
        "Names of fields to mask besides the standard ones.",
        default="none",
    ),
    Option("mask", "text", values.text, "What is written in place of a secret."),
)

HOOKS: Final = (
    Option(
        "on_pressure",
        "function",
        values.hook,
        "Given a `PressureEvent` when a queue is 80 % full, and when it is half empty again.",
        default="none",
    ),
    Option(
        "on_drop",
        "function",
        values.hook,
        "Given a `DropEvent` after records were dropped; once a second and destination at most, "
        "and at the close.",
        default="none",
    ),
    Option(
        "on_failover",
        "function",
        values.hook,
        "Given a `FailoverEvent` when a fallback takes what a destination did not.",
        default="none",
    ),
    Option(
        "on_recovery",
        "function",
        values.hook,
        "Given a `RecoveryEvent` when the destination itself takes records again.",
        default="none",
    ),
)

TABLES: Final[dict[str, tuple[Option, ...]]] = {
    "settings": SETTINGS,
    "destination": DESTINATION,
    "fallback": FALLBACK,
    "layer": LAYER,
    "queue": QUEUE,
    "journal": JOURNAL,
    "redact": REDACT,
    "hooks": HOOKS,
}
CLASSES: Final[dict[str, type[Struct]]] = {
    "settings": types.Settings,
    "destination": types.DestinationSettings,
    "fallback": types.FallbackSettings,
    "layer": types.LayerSettings,
    "queue": types.QueueSettings,
    "journal": types.JournalSettings,
    "redact": types.RedactSettings,
    "hooks": types.HookSettings,
}


def defaults(table: str) -> dict[str, object]:
    """Return the default of each option of *table* that has a fixed one."""
    from msgspec.structs import fields

    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in fields(CLASSES[table])
        if not field.required
    }
