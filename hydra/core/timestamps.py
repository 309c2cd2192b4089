"""
Timestamps: nanoseconds since the epoch, written as RFC 3339 in UTC.

Rule 1: always 27 bytes, `2026-11-21T01:44:00.123456Z`: microseconds, rounded down, and `Z`.
Rule 2: any integer has an answer; what lies outside the years 1 to 9999 falls in the
nearest second inside, since a broken clock must not stop a record.
Rule 3: the text of the current second is kept as one tuple, which threads replace whole;
a reader sees an old pair or a new one, never a mixed one.
"""

from __future__ import annotations

import time
from typing import Final

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds since 1970.
_FIRST: Final = -62_135_596_800
_LAST: Final = 253_402_300_799

THREE_DIGITS: Final[tuple[bytes, ...]] = tuple(b"%03d" % number for number in range(1000))

_EPOCH_DAYS: Final = 719_468
_latest: tuple[int, bytes] = (0, b"1970-01-01T00:00:00.")


def rfc3339(ns: int) -> bytes:
    """
    Return the moment *ns*, in nanoseconds since 1970-01-01T00:00:00Z, in RFC 3339.

    Negative numbers are moments before 1970.
    """
    global _latest
    second, start = _latest
    now = ns // SECOND
    if now != second:
        start = second_text(now)
        _latest = (now, start)
    micros = (ns - now * SECOND) // 1000
    return b"%b%06dZ" % (start, micros)


def second_text(second: int) -> bytes:
    """
    Return *second*, since the epoch, as `2026-11-21T01:44:00.` without the fraction.

    Seconds outside the years 1 to 9999 give the nearest second inside.
    """
    second = min(max(second, _FIRST), _LAST)
    try:
        year, month, day, hour, minute, rest = time.gmtime(second)[:6]
    except (OverflowError, OSError, ValueError):
        # Some platforms refuse moments before 1970, or far ahead.
        days, clock = divmod(second, 86_400)
        year, month, day = civil(days)
        hour, minute, rest = clock // 3600, clock // 60 % 60, clock % 60
    return b"%04d-%02d-%02dT%02d:%02d:%02d." % (year, month, day, hour, minute, rest)


def civil(days: int) -> tuple[int, int, int]:
    """Return (year, month, day) of the Gregorian calendar, *days* after 1970-01-01."""
    # Years are counted from March, so that the leap day is the last one of a year.
    era, day_of_era = divmod(days + _EPOCH_DAYS, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    return era * 400 + year + (month <= 2), month, day
