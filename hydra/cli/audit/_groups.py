"""
Which files belong to the same destination, and which segments speak about it.

Rule 1: what a file says about itself (its control records, a held segment's
header, an inode in an acknowledgement) goes before what its name suggests.
Rule 2: two log files without a name of their own are one destination when they
are rotated siblings by name, or when they share a run and no record: two
destinations of one stream both hold all of it, the parts of one log do not overlap.
Rule 3: a guess is never silent; it becomes a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath

from ._facts import FileFacts, RunFacts
from ._segments import Journal

_PACKED = re.compile(r"\.(gz|bz2|xz)$")
_ROTATED = re.compile(r"([._:T-]\d{1,14}Z?)+$")


@dataclass(slots=True)
class Group:
    """
    One destination: its log files, and everything the input says about them.

    Args:
        names: The destination's name; empty when nothing tells, more than one when
            several destinations write the same file.
        logs: Its log files.
        along: Segments that were read along.
        runs: The merged facts.
    """

    names: set[str] = field(default_factory=set)
    logs: list[FileFacts] = field(default_factory=list)
    along: list[FileFacts] = field(default_factory=list)
    runs: dict[str, RunFacts] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The destination's name for people; empty when it is not known."""
        return ",".join(sorted(self.names))

    def merge(self, runs: dict[str, RunFacts]) -> None:
        """Take in what one more file says."""
        for name, run in runs.items():
            self.runs.setdefault(name, RunFacts()).merge(run)

    def takes(self, identity: tuple[int, int]) -> bool:
        """Return whether one of the log files has this device and inode."""
        return any(log.identity == identity for log in self.logs)


def stem(path: str) -> tuple[str, str]:
    """Return the directory and the name that a log has before rotation adds to it."""
    pure = PurePath(path)
    name = _PACKED.sub("", pure.name)
    bare = _ROTATED.sub("", name)
    if bare == name:
        head, dot, suffix = name.rpartition(".")
        bare = _ROTATED.sub("", head) + dot + suffix
    return str(pure.parent), bare


def group_logs(logs: Iterable[FileFacts]) -> list[Group]:
    """Return the destinations that *logs* belong to, merged, in the order given."""
    groups: list[Group] = []
    nameless: list[FileFacts] = []
    for log in logs:
        if not log.names:
            nameless.append(log)
            continue
        same = [group for group in groups if group.names & log.names]
        target = same[0] if same else Group()
        if not same:
            groups.append(target)
        for other in same[1:]:
            _join(target, other)
            groups.remove(other)
        _add(target, log)
    for log in nameless:
        target = _home(log, groups)
        if target not in groups:
            groups.append(target)
        _add(target, log)
    return groups


def _join(target: Group, other: Group) -> None:
    target.names |= other.names
    target.logs += other.logs
    target.merge(other.runs)


def _add(target: Group, log: FileFacts) -> None:
    target.names |= log.names
    target.logs.append(log)
    target.merge(log.runs)


def _home(log: FileFacts, groups: list[Group]) -> Group:
    siblings = [
        group for group in groups if stem(log.path) in [stem(other.path) for other in group.logs]
    ]
    if len(siblings) == 1:
        return siblings[0]
    parts = [group for group in groups if _is_part(log, group)]
    return parts[0] if len(parts) == 1 else Group()


def _is_part(log: FileFacts, group: Group) -> bool:
    shared = log.runs.keys() & group.runs.keys()
    return bool(shared) and not any(
        mine.seen.overlap(group.runs[run].streams[name].seen)
        for run in shared
        for name, mine in log.runs[run].streams.items()
        if name in group.runs[run].streams
    )


def read_along(groups: list[Group], journals: list[Journal], held: list[FileFacts]) -> list[str]:
    """
    Merge what the segments say into the destinations they speak about.

    Returns:
        Notes: what had to be guessed, and what could not be used.
    """
    notes: list[str] = []
    taken = set().union(*(group.names for group in groups)) if groups else set()
    for group in groups:
        names = group.names or _infer(group, groups, journals, held, taken, notes)
        for journal in journals:
            for name in sorted(names & journal.destinations()):
                runs = _relevant(group, journal, name)
                group.merge(runs)
                if journal.facts not in group.along and runs:
                    group.along.append(journal.facts)
    for segment in held:
        target = _target(segment, groups)
        if target is None:
            said = ", ".join(sorted(segment.names)) or "an unknown destination"
            notes.append(f"{segment.path} holds records for {said}, which no file given belongs to")
        else:
            target.merge(segment.runs)
            target.along.append(segment)
    return notes


def _infer(
    group: Group,
    groups: list[Group],
    journals: list[Journal],
    held: list[FileFacts],
    taken: set[str],
    notes: list[str],
) -> set[str]:
    sure = {
        name
        for journal in journals
        for name, aims in journal.aims.items()
        if any(group.takes(aim) for aim in aims)
    } | {name for each in held if each.aims and group.takes(each.aims) for name in each.names}
    if not sure:
        alone = len(groups) == 1
        sure = {
            name
            for journal in journals
            for name in journal.destinations() - taken
            if name in journal.written or name not in journal.elsewhere
            if alone or journal.destined(name).keys() & group.runs.keys()
        } | {
            name
            for each in held
            for name in each.names - taken
            if alone or each.runs.keys() & group.runs.keys()
        }
    if len(sure) > 1:
        notes.append(
            f"{group.logs[0].path} does not say which destination it belongs to "
            f"({', '.join(sorted(sure))}); --destination NAME settles it"
        )
    group.names |= sure
    return sure


def _relevant(group: Group, journal: Journal, name: str) -> dict[str, RunFacts]:
    aimed = any(group.takes(aim) for aim in journal.aims.get(name, ()))
    return {
        run: facts
        for run, facts in journal.destined(name).items()
        if run in group.runs
        or aimed
        # A run that the logs do not know matters when something of it still
        # waits; what went to a file that is not here is not this file's loss.
        or any(stream.held.minus(stream.written) for stream in facts.streams.values())
    }


def _target(segment: FileFacts, groups: list[Group]) -> Group | None:
    for group in groups:
        if segment.aims is not None and group.takes(segment.aims):
            return group
    for group in groups:
        if group.names & segment.names:
            return group
    return groups[0] if len(groups) == 1 and not segment.names else None
