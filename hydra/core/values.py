"""
Values: turn anything a caller logs into plain data that JSON can hold.

Rule 1: the answer is made of None, bool, int (64 bit), float (finite), str (valid UTF-8),
list and dict with str keys, and of exactly these types; never of subclasses.
Rule 2: nothing raised by a value gets out. It is named in its place instead:
`<unprintable Type: Error>`. Only KeyboardInterrupt and SystemExit pass, because signal
handlers raise them in the middle of whatever runs; a value that raises one of these two
itself cannot be told apart.
Rule 3: work is bounded by depth and by *room*, a number of characters. Text is cut before
it is copied, containers are read only as far as there is room, iterators are never consumed.
Rule 4: what stands under a key that the redactor names is masked unseen, at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, cast

from ._converters import EXACT, converter_of
from ._plain import (
    CYCLE,
    DEPTH,
    INT_MAX,
    INT_MIN,
    KEY_LIMIT,
    MARK,
    ROOM,
    Lazy,
    Plain,
    Redacts,
    ShowAll,
    clean,
    type_name,
    unprintable,
)

__all__ = [
    "CYCLE",
    "DEPTH",
    "INT_MAX",
    "INT_MIN",
    "MARK",
    "ROOM",
    "Lazy",
    "Plain",
    "Redacts",
    "ShowAll",
    "Walker",
    "clean",
    "lazy",
    "plain",
    "type_name",
    "unprintable",
]

# What a field may take at least, in characters; see `Walker.fields`.
_LEAST: Final = 128
# Keys are text: what is no text is named as JSON would name it.
_JSON_KEYS: Final = {"True": "true", "False": "false", "None": "null"}


def lazy(compute: Callable[[], object]) -> Lazy:
    """
    Put off the work of *compute* until it is known that the record will be kept.

    It is called once for each record that gets past the level check, on the thread that
    logs. What it raises is shown in the place of the value.
    """
    return Lazy(compute)


def plain(
    value: object, *, redactor: Redacts | None = None, depth: int = DEPTH, room: int = ROOM
) -> Plain:
    """
    Return *value* as plain data. Never raises what the value raises.

    Datetimes, dates and times become RFC 3339 text; one without an offset is taken as it
    is, no offset is made up. Durations become seconds; Decimal and UUID text; integers
    over 64 bits text; NaN and infinities None; bytes their UTF-8 text with the rest
    escaped; enumerations their value; exceptions `Type: message`; dataclasses, structs,
    models and named tuples a dict of their fields; all else its `repr`.

    Args:
        value: Anything at all.
        redactor: Names the keys whose values are masked; None masks nothing.
        depth: How many containers may be nested; what lies deeper becomes `...`.
        room: How many characters the answer may take, roughly.
    """
    return Walker(redactor or ShowAll(), depth, room).value(value)


class Walker:
    """
    One walk through values that share a room; make a new one for each record.

    Attributes:
        room: Characters left.
        cut: Whether something was left out for want of room.
    """

    __slots__ = ("_above", "_verdict", "cut", "depth", "mask", "room")

    def __init__(self, redactor: Redacts, depth: int, room: int) -> None:
        self._verdict = redactor.verdict
        self.mask = redactor.mask
        self.depth = depth
        self._above: set[int] = set()
        self.room = room
        self.cut = False

    def value(self, value: object, depth: int = 0) -> Plain:
        """Return *value* as plain data; *depth* counts the containers around it."""
        kind = type(value)
        self.room -= 2
        try:
            if kind is str:
                return self.take(cast("str", value))
            if value is None or kind is bool:
                return cast("bool | None", value)
            convert = EXACT.get(kind) or converter_of(value, kind)
            return convert(self, value, depth)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # containment is the point: see rule 2
            return self.take(unprintable(value, error))

    def text(self, value: object) -> str:
        """Return *value* as text for a message: `str(value)`, cleaned and cut to the room."""
        if type(value) is str:
            return self.take(value)
        try:
            if type(value) is Lazy:
                value = value()
            if isinstance(value, str):
                return self.take(value)
            if isinstance(value, (bytes, bytearray, memoryview)):
                return cast("str", self.value(value))
            return self.take(str(value))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # containment is the point: see rule 2
            return self.take(unprintable(value, error))

    def take(self, text: str) -> str:
        """Return *text* as an exact, valid str, cut to the room that is left."""
        room = max(self.room, 0)
        # The methods of str itself: a subclass may have replaced its own.
        size = str.__len__(text)
        self.room -= size
        if size > room:
            self.cut = True
            return clean(str.__getitem__(text, slice(0, room))) + MARK
        return clean(str.__getitem__(text, slice(0, size)))

    def entries(self, pairs: Iterable[tuple[object, object]], depth: int = 0) -> dict[str, Plain]:
        """Return *pairs* as a dict with text keys, as many as there is room for."""
        found: dict[str, Plain] = {}
        for raw, value in pairs:
            if self.room <= 0:
                self.cut = True
                break
            self._put(found, raw, value, depth)
        return found

    def _put(self, found: dict[str, Plain], raw: object, value: object, depth: int) -> None:
        key = self.key(raw)
        while key in found:
            key += "_"
        # A secret is not even looked at.
        found[key] = self.take(self.mask) if self._verdict(key) else self.value(value, depth)

    def fields(self, pairs: Iterable[tuple[object, object]]) -> dict[str, Plain]:
        """
        Return the fields of a record.

        A large value may use up the room; the fields after it then share as much room
        again, a little for each, so that small ones are not lost to a large one.
        """
        found: dict[str, Plain] = {}
        spare = self.room
        for raw, value in pairs:
            if self.room < _LEAST <= spare:
                spare -= _LEAST
                self.room = _LEAST
            if self.room <= 0:
                self.cut = True
                break
            self._put(found, raw, value, 0)
        return found

    def items(self, values: Iterable[object], depth: int) -> list[Plain]:
        """Return *values* as a list, as many as there is room for, then `...`."""
        found: list[Plain] = []
        for value in values:
            if self.room <= 0:
                self.cut = True
                found.append(MARK)
                break
            found.append(self.value(value, depth))
        return found

    def key(self, raw: object) -> str:
        """Return *raw* as the text of a key, at most 256 characters. Never raises."""
        if type(raw) is not str:
            # A room of its own, so that what is cut from a key does not end the record.
            inner = Walker(ShowAll(), 1, KEY_LIMIT).value(raw)
            raw = inner if type(inner) is str else _JSON_KEYS.get(str(inner), str(inner))
        if len(raw) > KEY_LIMIT:
            raw = raw[:KEY_LIMIT] + MARK
        self.room -= len(raw) + 4
        return clean(raw)

    def inside(self, value: object, depth: int) -> str | None:
        """Step into a container; return the mark to show instead if that cannot be done."""
        if depth >= self.depth:
            return MARK
        if id(value) in self._above:
            return CYCLE
        self._above.add(id(value))
        return None

    def outside(self, value: object) -> None:
        """Step out of a container that `inside` let in."""
        self._above.discard(id(value))

    def hidden(self, key: object) -> bool:
        """Return whether *key*, the first half of a pair, names a secret."""
        if isinstance(key, (str, bytes)) and len(key) <= KEY_LIMIT:
            return self._verdict(self.key(key))
        return False
