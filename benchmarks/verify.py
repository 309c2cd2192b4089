"""
Whether what a program logged is in its files: every record, once, whole.

Rule 1: a figure is counted only for files that pass; a library is not fast at what
it did not write.
Rule 2: a producer numbers its records from `producer * STRIDE` up; how many it made is
all that a program has to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

STRIDE: Final = 100_000_000
"""More records than one producer makes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What was found.

    Args:
        records: Lines that are a record of the program's, each counted.
        missing: Records that were made and are in no file.
        duplicated: Lines beyond the first for the same record.
        torn: Lines that are no whole record.
        strange: Records that nobody made.
        size: Bytes in the files, those of the library's own records included.
    """

    records: int
    missing: int
    duplicated: int
    torn: int
    strange: int
    size: int

    def refusal(self, *, may_drop: bool = False) -> str:
        """Return why no figure may be counted; empty when one may."""
        faults = {
            "missing": 0 if may_drop else self.missing,
            "duplicated": self.duplicated,
            "torn": self.torn,
            "of nobody": self.strange,
        }
        made = self.records - self.duplicated - self.strange + self.missing
        found = [f"{count:,} {fault}" for fault, count in faults.items() if count]
        return f"of {made:,} records {', '.join(found)}" if found else ""


def verify(
    files: Iterable[str],
    parse: Callable[[bytes], tuple[int, str] | None],
    counts: Sequence[int],
) -> Verdict:
    """
    Return what is in *files*, read one after the other.

    Args:
        files: Their paths; one that does not exist has nothing in it.
        parse: Returns number and level of a line, None for one to pass over, and
            raises for one that is no whole record.
        counts: How many records each producer made.
    """
    seen = [bytearray(count) for count in counts]
    records = duplicated = torn = strange = size = 0
    for path in files:
        try:
            opened = open(path, "rb")
        except FileNotFoundError:
            continue
        with opened as file:
            for line in file:
                size += len(line)
                read = _read(line, parse)
                if read is None:
                    torn += 1
                    continue
                if read < 0:
                    continue
                records += 1
                producer, number = divmod(read, STRIDE)
                if producer >= len(seen) or number >= len(seen[producer]):
                    strange += 1
                elif seen[producer][number]:
                    duplicated += 1
                else:
                    seen[producer][number] = 1
    missing = sum(marks.count(0) for marks in seen)
    return Verdict(records, missing, duplicated, torn, strange, size)


def _read(line: bytes, parse: Callable[[bytes], tuple[int, str] | None]) -> int | None:
    """Return the number in *line*; None if it is torn, -1 for one to pass over."""
    if not line.endswith(b"\n"):
        return None
    try:
        said = parse(line[:-1])
    except (ValueError, LookupError, TypeError):
        return None
    return -1 if said is None else said[0]
