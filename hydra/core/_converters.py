"""
Converters: for each kind of value, how it becomes plain data.

Rule 1: the exact type is looked up first; then base classes, then how the class describes
its fields, then roles such as Mapping. What is none of these is shown by its `repr`.
Rule 2: a converter may raise; the walker that calls it contains that.
Rule 3: of subclasses, the methods of the base are called, since their own may lie.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from itertools import islice
from math import isfinite
from os import fspath
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from uuid import UUID

from ._plain import INT_BITS, INT_MAX, INT_MIN, MARK, REPR_LIMIT, Lazy, Plain, type_name

if TYPE_CHECKING:
    from .values import Walker

Converter: TypeAlias = "Callable[[Walker, object, int], Plain]"

# Under these, classes keep the names of their fields, in order: dataclasses, structs of
# msgspec, models of pydantic.
_FIELDS: Final = ("__dataclass_fields__", "__struct_fields__", "__pydantic_fields__")


def converter_of(value: object, kind: type) -> Converter:
    """Return how to convert a value whose exact type has no entry of its own."""
    for base, convert in _BASES:
        if issubclass(kind, base):
            return convert
    if getattr(kind, "__fspath__", None) is not None:
        return _from_path
    if any(getattr(kind, name, None) is not None for name in _FIELDS):
        return _from_fields
    if getattr(kind, "__attrs_attrs__", None) is not None:
        return _from_attrs
    for base, convert in _ROLES:
        if isinstance(value, base):
            return convert
    return _from_repr


def _from_repr(walker: Walker, value: object, depth: int) -> Plain:
    text = repr(value)
    if len(text) > REPR_LIMIT:
        walker.cut = True
        text = text[:REPR_LIMIT] + MARK
    return walker.take(text)


def _from_lazy(walker: Walker, value: object, depth: int) -> Plain:
    if depth >= walker.depth:
        return MARK
    return walker.value(cast("Lazy", value)(), depth + 1)


def _from_str(walker: Walker, value: object, depth: int) -> Plain:
    return walker.take(cast("str", value))


def _from_int(walker: Walker, value: object, depth: int) -> Plain:
    number = int.__int__(cast("int", value))
    if INT_MIN <= number <= INT_MAX:
        walker.room -= 8
        return number
    if number.bit_length() > INT_BITS:
        return f"<integer of {number.bit_length()} bits>"
    return walker.take(int.__repr__(number))


def _from_float(walker: Walker, value: object, depth: int) -> Plain:
    number = float.__float__(cast("float", value))
    walker.room -= 8
    return number if isfinite(number) else None


def _from_decimal(walker: Walker, value: object, depth: int) -> Plain:
    return walker.take(Decimal.__str__(cast("Decimal", value)))


def _from_uuid(walker: Walker, value: object, depth: int) -> Plain:
    return walker.take(UUID.__str__(cast("UUID", value)))


def _from_datetime(walker: Walker, value: object, depth: int) -> Plain:
    moment = cast("dt.datetime", value)
    offset = moment.utcoffset()
    # RFC 3339 knows offsets in whole minutes; the others are old local mean times.
    if offset is not None and offset % dt.timedelta(minutes=1):
        moment = moment.astimezone(dt.UTC)
        offset = dt.timedelta()
    text = dt.datetime.isoformat(moment)
    return walker.take(text[:-6] + "Z" if offset == dt.timedelta() else text)


def _from_date(walker: Walker, value: object, depth: int) -> Plain:
    return walker.take(dt.date.isoformat(cast("dt.date", value)))


def _from_time(walker: Walker, value: object, depth: int) -> Plain:
    return walker.take(dt.time.isoformat(cast("dt.time", value)))


def _from_timedelta(walker: Walker, value: object, depth: int) -> Plain:
    return dt.timedelta.total_seconds(cast("dt.timedelta", value))


def _from_bytes(walker: Walker, value: object, depth: int) -> Plain:
    room = max(walker.room, 0)
    data = memoryview(cast("bytes", value))
    flat = data.cast("B") if data.c_contiguous and data.nbytes else memoryview(data.tobytes())
    if len(flat) <= room:
        return walker.take(flat.tobytes().decode("utf-8", "backslashreplace"))
    walker.cut = True
    return walker.take(flat[:room].tobytes().decode("utf-8", "backslashreplace")) + MARK


def _from_path(walker: Walker, value: object, depth: int) -> Plain:
    return walker.value(fspath(cast("str", value)), depth)


def _from_enum(walker: Walker, value: object, depth: int) -> Plain:
    return walker.value(cast("Enum", value)._value_, depth + 1) if depth < walker.depth else MARK


def _from_exception(walker: Walker, value: object, depth: int) -> Plain:
    # The message may be refused; the name is shown all the same.
    return f"{type_name(type(value))}: {walker.text(value)}"


def _from_dict(walker: Walker, value: object, depth: int) -> Plain:
    mark = walker.inside(value, depth)
    if mark is not None:
        return mark
    # One C call takes the snapshot: another thread may change the dict meanwhile.
    # The items of dict itself: a subclass may have replaced its own.
    found = list(islice(dict.items(cast("dict[object, object]", value)), walker.room // 4 + 1))
    answer = walker.entries(found, depth + 1)
    walker.outside(value)
    return answer


def _from_mapping(walker: Walker, value: object, depth: int) -> Plain:
    mark = walker.inside(value, depth)
    if mark is not None:
        return mark
    mapping = cast("Mapping[object, object]", value)
    try:
        return walker.entries(((key, mapping[key]) for key in mapping), depth + 1)
    finally:
        walker.outside(value)


def _from_items(walker: Walker, value: object, depth: int) -> Plain:
    mark = walker.inside(value, depth)
    if mark is not None:
        return mark
    try:
        found = list(islice(cast("Iterable[object]", value), max(walker.room // 2, 0) + 1))
        return walker.items(found, depth + 1)
    finally:
        walker.outside(value)


def _from_tuple(walker: Walker, value: object, depth: int) -> Plain:
    items = cast("tuple[object, ...]", value)
    names = getattr(type(value), "_fields", None)
    if isinstance(names, tuple) and len(names) == len(items):
        return _from_dict(walker, dict(zip(names, items, strict=True)), depth)
    if len(items) == 2 and walker.hidden(items[0]):
        # A header as web servers pass it, (name, value), is a key and its value.
        return [walker.value(items[0], depth + 1), walker.mask]
    return _from_items(walker, value, depth)


def _from_set(walker: Walker, value: object, depth: int) -> Plain:
    found = list(islice(cast("AbstractSet[object]", value), max(walker.room // 2, 0) + 1))
    kinds = set(map(type, found))
    if kinds in ({str}, {int}):
        # Sets of text come in another order in each process; lines should not.
        found.sort(key=cast("Callable[[object], str]", lambda item: item))
    return walker.items(found, depth + 1) if depth < walker.depth else MARK


def _from_fields(walker: Walker, value: object, depth: int) -> Plain:
    names = next(
        found
        for found in (getattr(type(value), name, None) for name in _FIELDS)
        if found is not None
    )
    return _from_attributes(walker, value, cast("Iterable[str]", names), depth)


def _from_attrs(walker: Walker, value: object, depth: int) -> Plain:
    attributes = cast("Iterable[object]", getattr(type(value), "__attrs_attrs__", ()))
    names = [cast("str", getattr(attribute, "name", "")) for attribute in attributes]
    return _from_attributes(walker, value, names, depth)


def _from_attributes(walker: Walker, value: object, names: Iterable[str], depth: int) -> Plain:
    mark = walker.inside(value, depth)
    if mark is not None:
        return mark
    try:
        pairs = ((name, getattr(value, name)) for name in names if hasattr(value, name))
        return walker.entries(pairs, depth + 1)
    finally:
        walker.outside(value)


EXACT: Final[dict[type, Converter]] = {
    int: _from_int,
    float: _from_float,
    dict: _from_dict,
    list: _from_items,
    tuple: _from_tuple,
    set: _from_set,
    frozenset: _from_set,
    bytes: _from_bytes,
    dt.datetime: _from_datetime,
    UUID: _from_uuid,
    Decimal: _from_decimal,
    Lazy: _from_lazy,
}
# In this order: an Enum may also be a str or an int, a datetime is a date.
_BASES: Final[tuple[tuple[type, Converter], ...]] = (
    (Enum, _from_enum),
    (str, _from_str),
    (int, _from_int),
    (float, _from_float),
    (dict, _from_dict),
    (tuple, _from_tuple),
    (list, _from_items),
    (deque, _from_items),
    (set, _from_set),
    (frozenset, _from_set),
    (bytes, _from_bytes),
    (bytearray, _from_bytes),
    (memoryview, _from_bytes),
    (dt.datetime, _from_datetime),
    (dt.date, _from_date),
    (dt.time, _from_time),
    (dt.timedelta, _from_timedelta),
    (Decimal, _from_decimal),
    (UUID, _from_uuid),
    (BaseException, _from_exception),
    (type, _from_repr),
    (Lazy, _from_lazy),
)
# Roles are asked last: to answer, they run code of the value's class.
_ROLES: Final[tuple[tuple[type, Converter], ...]] = (
    (Mapping, _from_mapping),
    (range, _from_repr),
    (Sequence, _from_items),
    (AbstractSet, _from_items),
    (ValuesView, _from_items),
)
