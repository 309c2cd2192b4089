"""
Exceptions as data: what the `exception` key of a line holds.

Rule 1: type, message, stack trace as Python prints it (with groups and notes), and the
causes, each by type and message. Values of local variables are never included.
Rule 2: nothing raised by an exception's own methods gets out; see `hydra.core.values`.
Rule 3: the whole takes at most about 32 KiB; a long stack trace loses its middle, since its
start says where it began and its end what went wrong.
Rule 4: traceback and linecache are imported when the first exception is logged.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final

from ._fit import cut_text
from .line import encode_plain
from .values import ShowAll, Walker, clean, type_name

STACK_BYTES: Final = 16_384
MESSAGE_BYTES: Final = 4_096
CAUSES: Final = 8
_CAUSE_BYTES: Final = 1_024
_TYPE_BYTES: Final = 256
# Frames shown of each traceback, counted from where the exception was raised.
_FRAMES: Final = 64
_GAP: Final = "\n  [... {} characters left out ...]\n"


def exception_tag(exc_info: object) -> bytes:
    """
    Return `,"exception":{...}` for *exc_info*, or nothing if there is no exception.

    Args:
        exc_info: True for the exception being handled, an exception, or a tuple as
            `sys.exc_info()` gives it. Anything else that is true counts as True.
    """
    try:
        error, trace = resolve(exc_info)
        return b"" if error is None else _tag(error, trace)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # containment is the point: the stack or memory is used up
        return b',"exception":{"type":"<unprintable>","message":"","stacktrace":"","causes":[]}'


def resolve(exc_info: object) -> tuple[BaseException | None, TracebackType | None]:
    """Return the exception meant by *exc_info*, with its traceback."""
    if isinstance(exc_info, BaseException):
        return exc_info, exc_info.__traceback__
    if isinstance(exc_info, tuple):
        if len(exc_info) == 3 and isinstance(exc_info[1], BaseException):
            trace = exc_info[2]
            return exc_info[1], trace if isinstance(trace, TracebackType) else None
        return None, None
    if not exc_info:
        return None, None
    error = sys.exc_info()[1]
    return error, None if error is None else error.__traceback__


def _tag(error: BaseException, trace: TracebackType | None) -> bytes:
    causes = b",".join(
        b'{"type":%b,"message":%b}'
        % (
            cut_text(encode_plain, qualified(cause), _TYPE_BYTES),
            cut_text(encode_plain, _message(cause), _CAUSE_BYTES),
        )
        for cause in causes_of(error)
    )
    return b',"exception":{"type":%b,"message":%b,"stacktrace":%b,"causes":[%b]}' % (
        cut_text(encode_plain, qualified(error), _TYPE_BYTES),
        cut_text(encode_plain, _message(error), MESSAGE_BYTES),
        cut_text(encode_plain, stack_text(error, trace), STACK_BYTES + 2048),
        causes,
    )


def qualified(error: BaseException) -> str:
    """Return the type's name with its module, which is left out for builtins."""
    kind = type(error)
    try:
        module, name = kind.__module__, kind.__qualname__
        if type(module) is str and type(name) is str:
            return clean(name if module == "builtins" else f"{module}.{name}")
    except Exception:  # noqa: S110 - a metaclass may refuse; the plain name is tried below
        pass
    return type_name(kind)


def causes_of(error: BaseException) -> list[BaseException]:
    """
    Return what led to *error*, nearest first, at most 8.

    The explicit cause is followed, else the context unless it was suppressed, as Python
    prints them. A chain that comes back to itself ends there.
    """
    found: list[BaseException] = []
    seen = {id(error)}
    while len(found) < CAUSES:
        following = error.__cause__
        if following is None and not error.__suppress_context__:
            following = error.__context__
        if following is None or id(following) in seen:
            break
        seen.add(id(following))
        found.append(following)
        error = following
    return found


def stack_text(error: BaseException, trace: TracebackType | None) -> str:
    """Return the stack trace as Python prints it, at most 16 Ki characters."""
    import traceback

    try:
        # A negative limit keeps the frames next to where it was raised.
        report = traceback.TracebackException(
            type(error), error, trace, limit=-_FRAMES, capture_locals=False, compact=True
        )
        text = "".join(report.format())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as failure:  # containment is the point: __str__ may raise anything
        frames = "".join(traceback.format_tb(trace, limit=-_FRAMES))
        text = f"Traceback (most recent call last):\n{frames}{qualified(error)}: {_message(error)}"
        text += f"\n[formatting failed: {type_name(type(failure))}]"
    return without_middle(clean(text.rstrip("\n")), STACK_BYTES)


def without_middle(text: str, limit: int) -> str:
    """Return *text* in about *limit* characters, with a mark where the middle was."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return text[:half] + _GAP.format(len(text) - 2 * half) + text[-half:]


def _message(error: BaseException) -> str:
    """Return the text of *error*; never raises."""
    return Walker(ShowAll(), 1, MESSAGE_BYTES).text(error)
