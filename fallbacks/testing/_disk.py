"""
A disk in memory: inodes, names, a quota, and what a power cut leaves of them.

Rule 1: an inode lives as long as a name or a descriptor; its bytes count until then.
Rule 2: bytes and names that were not synced survive a power cut in part or not at all.
"""

from __future__ import annotations

import errno
import os
import stat as kinds
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ._faults import refused

if TYPE_CHECKING:
    import random

_DEVICE: Final = 7
_SECTOR: Final = 512
_MOST_LINKS: Final = 40


@dataclass(slots=True, eq=False)
class Inode:
    """A file, directory, link or device."""

    number: int
    mode: int
    uid: int
    links: int = 0
    opened: int = 0
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    target: str = ""
    entries: dict[str, Inode] = field(default_factory=dict)
    synced_entries: dict[str, Inode] = field(default_factory=dict)
    lock: OpenFile | None = None

    def facts(self) -> Facts:
        """Return what `stat` says about it."""
        return Facts(_DEVICE, self.number, len(self.data), self.mode, self.links, self.uid)


@dataclass(slots=True, eq=False)
class OpenFile:
    """An inode as one `open` sees it; shared by a descriptor and its mappings."""

    inode: Inode
    path: str
    flags: int
    position: int = 0
    users: int = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What `stat` says about a file here."""

    st_dev: int
    st_ino: int
    st_size: int
    st_mode: int
    st_nlink: int
    st_uid: int


class Disk:
    """
    What all processes share.

    Args:
        quota: Bytes that all files may hold together; None for no limit.
    """

    __slots__ = ("_numbers", "quota", "root", "used", "write_limit")

    def __init__(self, quota: int | None) -> None:
        self.quota = quota
        self.write_limit: int | None = None
        self.used = 0
        self._numbers = 1
        self.root = self.make(kinds.S_IFDIR | 0o755, 0)
        self.root.links = 1

    def make(self, mode: int, uid: int) -> Inode:
        """Return a new inode without a name."""
        self._numbers += 1
        return Inode(self._numbers, mode, uid)

    # Bytes.

    def resize(self, inode: Inode, size: int) -> None:
        """Cut or extend a file; the quota is the caller's business."""
        grown = size - len(inode.data)
        if grown > 0:
            inode.data.extend(bytes(grown))
        else:
            del inode.data[size:]
        self.used += grown

    def room(self, wanted: int) -> int:
        """Return how many of the bytes *wanted* the quota leaves."""
        return wanted if self.quota is None else max(0, min(wanted, self.quota - self.used))

    def write(self, file: OpenFile, data: bytes) -> int:
        """
        Write as many bytes as there is room for; return how many.

        Raises:
            OSError: If there is room for none.
        """
        inode = file.inode
        at = len(inode.data) if file.flags & os.O_APPEND else file.position
        grown = max(0, at + len(data) - len(inode.data))
        taken = len(data) - (grown - self.room(grown))
        if data and taken <= 0:
            raise refused(errno.ENOSPC, file.path)
        end = at + taken
        if end > len(inode.data):
            self.resize(inode, end)
        inode.data[at:end] = data[:taken]
        file.position = end
        return taken

    # Names.

    def put(self, parent: Inode, name: str, inode: Inode) -> None:
        """Give *inode* a name, replacing what has it."""
        self.remove(parent, name)
        parent.entries[name] = inode
        inode.links += 1

    def remove(self, parent: Inode, name: str) -> None:
        """Take a name away, if it is there."""
        old = parent.entries.pop(name, None)
        if old is not None:
            old.links -= 1
            self.drop_if_unused(old)

    def drop_if_unused(self, inode: Inode) -> None:
        """Free the bytes of a file without name and descriptor."""
        if inode.links <= 0 and inode.opened <= 0:
            self.resize(inode, 0)

    def plant(self, path: str, mode: int, uid: int) -> Inode:
        """Make or replace what *path* names; its name counts as synced."""
        parent, name = self.parent(path)
        inode = self.make(mode, uid)
        self.put(parent, name, inode)
        parent.synced_entries[name] = inode
        return inode

    def find(self, path: str, *, follow: bool = True) -> Inode:
        """
        Return what *path* names.

        Raises:
            OSError: If there is nothing, or links lead in a circle.
        """
        parent, name = self.parent(path)
        if not name:
            return parent
        inode = parent.entries.get(name)
        if inode is None:
            raise refused(errno.ENOENT, path)
        for _ in range(_MOST_LINKS):
            if not (follow and kinds.S_ISLNK(inode.mode)):
                return inode
            inode = self.find(_joined(path, inode.target), follow=False)
        raise refused(errno.ELOOP, path)

    def parent(self, path: str) -> tuple[Inode, str]:
        """
        Return the directory that *path* is in, and its name there; `/` is in itself.

        Raises:
            OSError: If that is missing or no directory.
        """
        parts = [part for part in path.split("/") if part]
        inode = self.root
        for depth, part in enumerate(parts[:-1], 1):
            child = inode.entries.get(part)
            if child is None:
                raise refused(errno.ENOENT, path)
            if kinds.S_ISLNK(child.mode):
                child = self.find("/" + "/".join(parts[:depth]))
            if not kinds.S_ISDIR(child.mode):
                raise refused(errno.ENOTDIR, path)
            inode = child
        return inode, parts[-1] if parts else ""

    # Power.

    def cut(self, chance: random.Random) -> None:
        """Take back what was not synced, in part or in whole. Nothing may be open."""
        kept: dict[Inode, int] = {}
        _cut_names(self.root, kept, chance)
        self.used = 0
        for inode, links in kept.items():
            inode.links = links
            self.used += len(inode.data)


def _cut_names(directory: Inode, kept: dict[Inode, int], chance: random.Random) -> None:
    old, new = directory.synced_entries, directory.entries
    entries: dict[str, Inode] = {}
    for name in sorted(old.keys() | new.keys()):
        choice = old if chance.random() < 0.5 else new
        if name in choice:
            entries[name] = choice[name]
    directory.entries = entries
    directory.synced_entries = dict(entries)
    for inode in entries.values():
        if inode not in kept and kinds.S_ISREG(inode.mode):
            _cut_data(inode, chance)
        kept[inode] = kept.get(inode, 0) + 1
        if kinds.S_ISDIR(inode.mode):
            _cut_names(inode, kept, chance)


def _cut_data(inode: Inode, chance: random.Random) -> None:
    old, new = inode.synced, bytes(inode.data)
    size = chance.choice((len(old), len(new)))
    data = bytearray(old[:size].ljust(size, b"\0"))
    for at in range(0, size, _SECTOR):
        if chance.random() < 0.5:
            end = min(at + _SECTOR, size)
            data[at:end] = new[at:end].ljust(end - at, b"\0")
    inode.data = data
    inode.synced = bytes(data)


def _joined(path: str, target: str) -> str:
    return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
