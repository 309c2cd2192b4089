r"""
The canonical line: one record as compact JSON, made once, at the call.

Rule 1: the order of keys is timestamp, level, logger, message, fields, exception, id. This
module writes all but the id, which the caller appends last: `,"id":"<run>.<stream>-<n>"}\n`.
Rule 2: fields merge as `{**bound, **context, **fields}`: place of the first, value of the
last. Fragments encoded earlier are joined only where no name occurs twice.
Rule 3: a field with a reserved name gets `_` appended until its name is free.
Rule 4: the complete line takes at most `max_bytes`; one that had to be cut says so with
`"truncated":true` as its last field.
Rule 5: `body` never raises. What is plain is encoded by one call into C; everything else, and
everything that fails there, goes the careful way. Most records never come here: what a logger
does for plain ones (see `hydra.logger`) makes the same bytes of the same parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

import msgspec
from msgspec import Struct, field

from ._fit import Encode, fit, shrink_exception
from ._names import RESERVED, Names
from .timestamps import MILLISECOND, SECOND, THREE_DIGITS, second_text
from .values import DEPTH, INT_MAX, INT_MIN, Plain, Redacts, ShowAll, Walker, clean

MAX_BYTES: Final = 65_536
MIN_BYTES: Final = 2_048
# What the id, the closing brace and the newline may take.
ID_BYTES: Final = 64
TRUNCATED: Final = b',"truncated":true'

# Longer strings go the careful way, so that nothing large is encoded only to be cut.
LONG: Final = MAX_BYTES
# Values of these types, short strings and integers of 64 bits are encoded as they are.
SCALARS: Final = frozenset({float, bool, type(None)})
_LOGGER_LIMIT: Final = 200

# Control characters that JSON may hold unescaped, and the two separators at which
# some readers split lines. Neither occurs outside a JSON string.
_CONTROL: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")

encode: Final = msgspec.json.Encoder().encode
"""Plain data as JSON. Raises for half a surrogate pair and for integers over 64 bits."""


def escape_controls(data: bytes) -> bytes:
    """Return JSON *data* with DEL, C1, U+2028 and U+2029 written as escapes."""
    if 127 in data or not data.isascii():
        return _CONTROL.sub(_escaped, data)
    return data


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def encode_plain(value: Plain) -> bytes:
    """Return plain data (see `hydra.core.values`) as compact JSON without control characters."""
    return escape_controls(encode(value))


def logger_tag(name: str) -> bytes:
    """Return the logger's *name* as `body` wants it: JSON, at most 200 characters."""
    text = str.__getitem__(name, slice(0, _LOGGER_LIMIT))
    return encode_plain(clean(text))


def logger_of(body: bytes) -> str:
    """Return the logger's name out of a *body* that was made by `LineEncoder.body`."""
    name: str = msgspec.json.decode(body + b"}")["logger"]
    return name


class Fragment(Struct, frozen=True, eq=False):
    """
    Fields that were redacted and encoded once, to be joined to many lines.

    Args:
        fields: The fields as plain data under the names the caller gave.
        data: The same encoded, each with a leading comma: `,"service":"api"`.
        keys: The names as written in *data*.
        cut: Whether something was left out for want of room.
    """

    fields: Mapping[str, Plain] = field(default_factory=dict)
    data: bytes = b""
    keys: frozenset[str] = frozenset()
    cut: bool = False

    def joins(self, inner: Fragment, fields: Iterable[str]) -> bool:
        """Return whether this, *inner* and *fields* can be joined as they are: no name twice."""
        return (
            not (self.cut or inner.cut)
            and self.keys.isdisjoint(fields)
            and inner.keys.isdisjoint(fields)
            and self.keys.isdisjoint(inner.keys)
        )


EMPTY: Final = Fragment()


class LineEncoder:
    """
    Make canonical lines. Safe to share between threads; holds no locks.

    Args:
        redactor: Says which keys hide a secret; None hides nothing.
        max_bytes: Limit of a complete line with its id and newline; at least 2048.
        max_depth: How many containers may be nested in a field.
        on_tick: Called in each millisecond in which something is encoded, once.

    Raises:
        ValueError: If *max_bytes* or *max_depth* is too small.
    """

    __slots__ = (
        "_depth", "_on_tick", "_redactor", "_second", "limit", "max_bytes", "moment", "names"
    )  # fmt: skip

    def __init__(
        self,
        redactor: Redacts | None = None,
        max_bytes: int = MAX_BYTES,
        max_depth: int = DEPTH,
        on_tick: Callable[[], object] = tuple,
    ) -> None:
        if max_bytes < MIN_BYTES:
            raise ValueError(f"max_bytes must be at least {MIN_BYTES}, not {max_bytes}")
        if max_depth < 1:
            raise ValueError(f"max_depth must be at least 1, not {max_depth}")
        self.max_bytes = max_bytes
        self.limit = max_bytes - ID_BYTES
        self._depth = max_depth
        self._on_tick = on_tick
        self._redactor: Redacts = redactor or ShowAll()
        self.names = Names(self._redactor)
        # Tuples, replaced whole: the running second and how its lines begin, and the
        # start of the running millisecond and how those of that one do.
        self._second: tuple[int, bytes] = (0, b'{"timestamp":"1970-01-01T00:00:00.')
        self.moment: tuple[int, bytes] = (0, b'{"timestamp":"1970-01-01T00:00:00.000')

    def fragment(self, fields: Mapping[str, object]) -> Fragment:
        """
        Return *fields* redacted and encoded; the work of `bind` and of `context`.

        Never raises what a value raises. Fields take at most a quarter of a record.
        """
        if not fields:
            return EMPTY
        most = self.max_bytes // 4
        try:
            given = dict(fields)
            if self._is_plain("", given):
                data = b"," + escape_controls(encode(given)[1:-1])
                if len(data) <= most:
                    return Fragment(cast("dict[str, Plain]", given), data, frozenset(given))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: S110 - whatever failed here, the careful way names it
            pass
        walker = Walker(self._redactor, self._depth, most)
        found = walker.fields(_pairs(fields))
        free = unreserved(found)
        return Fragment(found, _joined(free), frozenset(free), walker.cut)

    def body(
        self,
        ns: int,
        level_tag: bytes,
        logger_tag: bytes,
        message: object,
        bound: Fragment,
        context: Fragment,
        fields: dict[str, object],
        exception: bytes = b"",
    ) -> bytes:
        """
        Return the line up to its id. Never raises, whatever is passed.

        Args:
            ns: When it happened, in nanoseconds since the epoch.
            level_tag: From `hydra.core.levels.level_tag`.
            logger_tag: The name of the logger as JSON; see `logger_tag`.
            message: The message; anything that is no str is shown as its `str()`.
            bound: Fields of the logger.
            context: Fields of the running context.
            fields: Fields of the call. Not kept and not changed.
            exception: From `hydra.core.errors.exception_tag`, or empty.
        """
        try:
            if self._is_plain(message, fields) and bound.joins(context, fields):
                line = b"".join(
                    (
                        self._head(ns, level_tag, logger_tag),
                        b',"message":',
                        encode(message),
                        bound.data,
                        context.data,
                        b"," if fields else b"",
                        encode(fields)[1:-1],
                        exception,
                    )
                )
                line = escape_controls(line)
                if len(line) <= self.limit:
                    return line
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: S110 - whatever failed here, the careful way names it
            pass
        try:
            return self._careful(
                ns, level_tag, logger_tag, message, bound, context, fields, exception
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # containment is the point: stack or memory is used up
            # Operators only: at the end of the stack no function can be called, not even one in C.
            kind = error.__class__
            return (
                self.moment[1]
                + b'000Z","level":'
                + level_tag
                + b',"logger":'
                + logger_tag
                + b',"message":"<record could not be encoded: '
                + (_LAST[kind] if kind in _LAST else b"Error")  # noqa: SIM401 - get is a call
                + b'>","truncated":true'
            )

    def tick(self, ns: int) -> tuple[int, bytes]:
        """Return the nanoseconds in the millisecond of *ns* and how a line of it begins."""
        second, rest = divmod(ns, SECOND)
        known, text = self._second
        if second != known:
            text = b'{"timestamp":"' + second_text(second)
            self._second = (second, text)
        number = rest // MILLISECOND
        start = text + THREE_DIGITS[number]
        rest -= number * MILLISECOND
        self.moment = (ns - rest, start)
        self._on_tick()
        return rest, start

    def _head(self, ns: int, level_tag: bytes, logger_tag: bytes) -> bytes:
        base, start = self.moment
        rest = ns - base
        if not 0 <= rest < MILLISECOND:
            rest, start = self.tick(ns)
        micros = THREE_DIGITS[rest // 1000]
        return b'%b%bZ","level":%b,"logger":%b' % (start, micros, level_tag, logger_tag)

    def _is_plain(self, message: object, fields: dict[str, object]) -> bool:
        """Return whether *message* and *fields* can be encoded as they are, by one call into C."""
        if type(message) is not str or len(message) > LONG:
            return False
        if not self.names.known.issuperset(fields) and not self.names.learn(fields):
            return False
        return all(map(_is_scalar, fields.values()))

    def _careful(
        self,
        ns: int,
        level_tag: bytes,
        logger_tag: bytes,
        message: object,
        bound: Fragment,
        context: Fragment,
        fields: dict[str, object],
        exception: bytes,
    ) -> bytes:
        # For the compiled call path, which writes containers, too, if it knows all their keys.
        self.names.learn_within(fields.values())
        head = self._head(ns, level_tag, logger_tag)
        return self._complete(head, message, bound, context, fields, exception)

    def _complete(
        self,
        head: bytes,
        message: object,
        bound: Fragment,
        context: Fragment,
        fields: dict[str, object],
        exception: bytes,
    ) -> bytes:
        # A room for each, so that a large message leaves the fields theirs.
        reader = Walker(self._redactor, self._depth, self.max_bytes)
        text = reader.text(message)
        walker = Walker(self._redactor, self._depth, self.max_bytes)
        own = walker.fields(_pairs(fields))
        cut = reader.cut or walker.cut or bound.cut or context.cut
        groups = (bound.keys, context.keys, own.keys(), RESERVED)
        if sum(map(len, groups)) == len(frozenset().union(*groups)):
            said, joined = own, bound.data + context.data
        else:
            said, joined = unreserved({**bound.fields, **context.fields, **own}), b""
        start = b',"message":'
        room = self.limit - len(head) - len(start)
        message_json = encode_plain(text)
        written = joined + _joined(said)
        if len(message_json) + len(written) + len(exception) > room - (
            len(TRUNCATED) if cut else 0
        ):
            cut = True
            room -= len(TRUNCATED)
            exception = shrink_exception(_json, exception, room // 2)
            said = unreserved({**bound.fields, **context.fields, **own})
            message_json, written = fit(_json, text, said, room - len(exception))
        return b"".join((head, start, message_json, written, TRUNCATED if cut else b"", exception))


_json: Final[Encode] = encode_plain
_LAST: Final[dict[type[BaseException], bytes]] = {
    RecursionError: b"RecursionError",
    MemoryError: b"MemoryError",
}


def _is_scalar(value: object) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) <= LONG  # type: ignore[arg-type]
    if kind is int:
        return INT_MIN <= value <= INT_MAX  # type: ignore[operator]
    return kind in SCALARS


def _pairs(fields: Mapping[str, object]) -> Iterable[tuple[object, object]]:
    """Return the items of *fields*, as dict itself sees them where it is one."""
    return list(dict.items(fields)) if isinstance(fields, dict) else list(fields.items())


def unreserved(fields: dict[str, Plain]) -> dict[str, Plain]:
    """Return *fields* with `_` appended to reserved names until they are free."""
    if RESERVED.isdisjoint(fields):
        return fields
    found: dict[str, Plain] = {}
    for key, value in fields.items():
        name = key
        if name in RESERVED:
            while name in RESERVED or name in fields or name in found:
                name += "_"
        found[name] = value
    return found


def _joined(fields: dict[str, Plain]) -> bytes:
    """Return *fields* encoded, with a comma before each."""
    return b"," + encode_plain(fields)[1:-1] if fields else b""


def format_message(message: object, args: tuple[object, ...]) -> str:
    """
    Return *message* with its `%`-arguments filled in; call it only when there are some.

    One non-empty mapping as the only argument fills `%(name)s` places. Never raises: a
    message that does not fit its arguments is followed by them, as `[args: 1, 'two']`.
    """
    text = Walker(ShowAll(), DEPTH, MAX_BYTES).text(message)
    values: object = args
    try:
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            values = args[0]
        return text % values
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # containment is the point: any argument may raise anything
        return f"{text} [args: {', '.join(map(_shown, args))}]"


def _shown(value: object) -> str:
    """Return the bounded `repr` of an argument; never raises."""
    return repr(Walker(ShowAll(), 4, 1024).value(value))[:1024]
