"""
Control keywords: what a call says about how it is logged, told apart from its fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..core._names import CONTROL

# How frames in this package begin in a printed stack.
_OWN: Final = f'  File "{os.path.dirname(os.path.dirname(__file__))}{os.sep}'


class Asked(NamedTuple):
    """What a call asked for by `exc_info` and `stacklevel`."""

    exc_info: object = None
    stacklevel: int = 1


_NOTHING: Final = Asked()


def parted(fields: dict[str, object]) -> tuple[Asked, dict[str, object]]:
    """Return what the control keywords among *fields* ask for, and the fields alone."""
    # A name that is no plain str may have methods of its own, which may raise.
    if not any(type(key) is str and key in CONTROL for key in fields):
        return _NOTHING, fields
    fields = dict(fields)
    exc_info = fields.pop("exc_info", None)
    level = fields.pop("stacklevel", 1)
    stack_info = fields.pop("stack_info", False)
    extra = fields.pop("extra", None)
    if extra is not None:
        try:
            fields = {**_mapping(extra), **fields}
        except Exception:
            # It is no mapping, or one whose own methods raise; the encoder can show it.
            fields = {**fields, "extra": extra}
    if _is_true(stack_info):
        import traceback

        frames = traceback.format_stack()
        fields = {
            **fields,
            "stack": "".join(frame for frame in frames if not frame.startswith(_OWN)),
        }
    return Asked(exc_info, level if isinstance(level, int) else 1), fields


def _mapping(extra: object) -> Mapping[str, object]:
    if isinstance(extra, Mapping):
        return extra
    raise TypeError(f"{type(extra).__name__} is no mapping")


def _is_true(value: object) -> bool:
    """Return whether *value* is true; one that cannot be asked is."""
    try:
        return bool(value)
    except Exception:
        return True
