"""
Processors: callables `(logger, method, event_dict) -> event_dict` run before encoding.

Rule 1: the message stands in the event dict under `event`, the fields beside it.
Rule 2: to drop a record, raise `DropEvent`; the engine counts it as suppressed.
Rule 3: clocks and randomness are handed in, so that a test decides what is dropped.
Rule 4: no locks. Threads that meet in a limiter may let one record more through.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Final, Protocol, TypeAlias

EventDict: TypeAlias = MutableMapping[str, object]

_BUCKETS: Final = 1_024
_METHODS: Final = {
    "exception": "error",
    "err": "error",
    "warn": "warning",
    "fatal": "critical",
    "msg": "info",
}
_KEPT: Final = frozenset({"error", "critical"})


class DropEvent(BaseException):
    """
    Raised by a processor to drop the record.

    It is no error, so it derives from BaseException: an `except Exception` inside a chain
    of processors does not swallow it.
    """


class Processor(Protocol):
    """The role of a processor, the same as in structlog."""

    def __call__(self, logger: object, method: str, event_dict: EventDict, /) -> EventDict:
        """Return the event dict to go on with, changed or not; or raise `DropEvent`."""


class Random(Protocol):
    """What a sampler needs of a source of randomness."""

    def random(self) -> float:
        """Return a number from 0 up to, but not including, 1."""


class Sample:
    """
    Keep a random share of the records; choose it where volume matters more than each record.

    Errors and above are kept unless *per_level* names them.

    Args:
        rate: Share to keep, from 0 (none) to 1 (all).
        per_level: Shares for single levels, by name; they go before *rate*.
        rng: Source of randomness; the `random` module's own by default.

    Raises:
        ValueError: If a share is not between 0 and 1.
    """

    def __init__(
        self,
        rate: float,
        *,
        per_level: Mapping[str, float] | None = None,
        rng: Random | None = None,
    ) -> None:
        self._rate = _share(rate)
        self._rates = {_level(level): _share(share) for level, share in (per_level or {}).items()}
        self._random: Callable[[], float] = random.random if rng is None else rng.random

    def __call__(self, logger: object, method: str, event_dict: EventDict, /) -> EventDict:
        """Return *event_dict*, or raise `DropEvent`."""
        level = _level(method)
        rate = self._rates.get(level)
        if rate is None:
            rate = 1.0 if level in _KEPT else self._rate
        if rate < 1.0 and self._random() >= rate:
            raise DropEvent
        return event_dict


class RateLimit:
    """
    Let through so many records a second of each kind; choose it against floods.

    Each value of *key* has a bucket of its own that fills with *per_second* and holds
    *burst*. The first record let through after some were dropped says how many in the
    field `rate_limited`. At most 1,024 kinds are remembered; the oldest is forgotten.

    Args:
        per_second: Records a second, above 0.
        burst: Records that may come at once, at least 1.
        key: The field that tells kinds apart; `event` is the message.
        clock: Monotonic time in seconds.

    Raises:
        ValueError: If *per_second* or *burst* is too small.
    """

    def __init__(
        self,
        per_second: float,
        burst: int,
        key: str = "event",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not per_second > 0:
            raise ValueError(f"per_second must be above 0, not {per_second}")
        if burst < 1:
            raise ValueError(f"burst must be at least 1, not {burst}")
        self._per_second = per_second
        self._burst = float(burst)
        self._key = key
        self._clock = clock
        # For each kind: what is in the bucket, when that was, how many were dropped.
        self._buckets: dict[object, tuple[float, float, int]] = {}

    def __call__(self, logger: object, method: str, event_dict: EventDict, /) -> EventDict:
        """Return *event_dict*, or raise `DropEvent`."""
        kind = self._kind(event_dict.get(self._key))
        now = self._clock()
        filled, since, dropped = self._buckets.get(kind, (self._burst, now, 0))
        filled = min(self._burst, filled + max(now - since, 0.0) * self._per_second)
        if filled < 1.0:
            self._buckets[kind] = (filled, now, dropped + 1)
            raise DropEvent
        if kind not in self._buckets and len(self._buckets) >= _BUCKETS:
            self._buckets.pop(next(iter(self._buckets.copy())), None)
        self._buckets[kind] = (filled - 1.0, now, 0)
        if dropped:
            event_dict["rate_limited"] = dropped
        return event_dict

    @staticmethod
    def _kind(value: object) -> object:
        """Return what stands for *value* in the table; never keeps anything large alive."""
        if type(value) is str:
            return value[:256]
        if value is None or type(value) in (int, float, bool):
            return value
        return type(value).__qualname__


class AddFields:
    """
    Add the same fields to every record; a field that the record has already is kept.

    Args:
        fields: The fields to add.
    """

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def __call__(self, logger: object, method: str, event_dict: EventDict, /) -> EventDict:
        """Return *event_dict* with the fields added."""
        for key, value in self._fields.items():
            event_dict.setdefault(key, value)
        return event_dict


class AddProcess:
    """Add `pid` and `thread`, the name of the thread that logs, unless they are there."""

    def __call__(self, logger: object, method: str, event_dict: EventDict, /) -> EventDict:
        """Return *event_dict* with the two fields added."""
        import threading

        event_dict.setdefault("pid", os.getpid())
        event_dict.setdefault("thread", threading.current_thread().name)
        return event_dict


def _level(method: str) -> str:
    name = method.lower()
    return _METHODS.get(name, name)


def _share(rate: float) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(f"a share must be between 0 and 1, not {rate}")
    return float(rate)
