"""
The audit from paths to a report: the reader and the judge put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ._facts import FileFacts
from ._groups import group_logs, read_along
from ._segments import Journal
from ._sources import Progress, UnusableError, find, read
from ._verdict import Report, judge

EXIT_INCOMPLETE: Final = 1
EXIT_UNUSABLE: Final = 2


def audit_files(
    arguments: Iterable[str],
    *,
    destination: str | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """
    Read log files, with the segments given beside them, and judge them.

    Args:
        arguments: Log files, plain or compressed; journal and held segments;
            directories, which stand for the segments in and below them.
        destination: The name of the destination that log files without any
            control record belong to.
        progress: Called with the number of bytes read since the last call.

    Raises:
        UnusableError: If a file cannot be used as evidence, if no log is among the
            arguments, or if there is no record in any of them.
    """
    paths, directory_given = find(arguments)
    files: list[FileFacts] = []
    journals: list[Journal] = []
    for path in paths:
        facts, journal = read(path, progress)
        files.append(facts)
        if journal is not None:
            journals.append(journal)
    logs = [each for each in files if each.kind == "log"]
    if not logs:
        raise UnusableError("no log file given; journal and held segments are read along with one")
    if destination is not None:
        for each in logs:
            each.names = each.names or {destination}
    groups = group_logs(logs)
    held = [each for each in files if each.kind == "held"]
    notes = read_along(groups, journals, held)
    report = judge(groups, files, notes, directory_given=directory_given)
    if not report.runs:
        raise UnusableError("no record in the input")
    return report
