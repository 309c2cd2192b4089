"""
Running processors: structlog-style callables between the call and the encoder.

Rule 1: a processor is foreign code. What it raises is shown in the record and
reaches nobody; only its wish to drop the record is obeyed.
Rule 2: a record logged by a processor is not processed again.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Final

from ..processors import DropEvent

if TYPE_CHECKING:
    from ..engine import Run
    from ._calls import Calls

EVENT: Final = "event"
FAILED: Final = "processor_error"


def process(
    run: Run, log: Calls, method: str, message: object, fields: dict[str, object]
) -> tuple[object, dict[str, object]] | None:
    """
    Run the processors of *run* over a record.

    Returns:
        The message and fields that came out, or None when one dropped the record.
    """
    if EVENT in fields:
        # The message stands there for processors. As with the names that are reserved
        # in the line, the field gets another one.
        free = EVENT + "_"
        while free in fields:
            free += "_"
        fields = {free if key == EVENT else key: value for key, value in fields.items()}
    event: dict[str, object] = {EVENT: message, **fields}
    ident = get_ident()
    try:
        # In here, or a signal handler that raises right after it would switch the
        # processors off for this thread.
        run.processing.add(ident)
        for processor in run.settings.processors:
            try:
                answer = processor(log, method, event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                if _drops(error):
                    return None
                event[FAILED] = f"{getattr(processor, '__name__', type(processor).__name__)}: " + (
                    type(error).__name__
                )
                continue
            if answer is None:
                return None
            # A renderer at the end of a structlog chain: its text is the message.
            event = answer if isinstance(answer, dict) else {EVENT: answer}
    finally:
        run.processing.discard(ident)
    return event.pop(EVENT, message), event


def _drops(error: BaseException) -> bool:
    # structlog's own exception is told by its name: importing it is not ours to do.
    return isinstance(error, DropEvent) or type(error).__name__ == DropEvent.__name__
