"""
A process on a faulty disk: its descriptors, mappings and locks, and its death.
"""

from __future__ import annotations

import errno
import os
import stat as kinds
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ._disk import Disk, Facts, Inode, OpenFile
from ._faults import Killed, Schedule, refused

if TYPE_CHECKING:
    from ..system import Mapping


@dataclass(slots=True)
class Machine:
    """What processes share: the disk, what shall go wrong, and each other."""

    disk: Disk
    schedule: Schedule = field(default_factory=Schedule)
    boot: int = 1
    processes: list[FaultyProcess] = field(default_factory=list)


class FaultyProcess:
    """
    One process on a `FaultyFilesystem`: a `System` with its own descriptors.

    After its death every call raises `Killed`.
    """

    def __init__(self, machine: Machine, pid: int, uid: int = 1000) -> None:
        machine.processes.append(self)
        self._machine = machine
        self._disk = machine.disk
        self._pid = pid
        self._uid = uid
        self._start = len(machine.processes)
        self._files: dict[int, OpenFile] = {}
        self._maps: list[FaultyMapping] = []
        self._dead = False
        self._done = 0
        self._kill_at: int | None = None
        self._torn = 0

    def kill_at(self, n: int, *, torn: int = 0) -> None:
        """
        Die at the entry of the *n*-th operation from now.

        With *torn*, a write that is struck leaves that many bytes behind.
        """
        self._kill_at = self._done + n
        self._torn = torn

    def die(self) -> None:
        """Die now: descriptors, mappings and locks go, what was written stays. Idempotent."""
        self._dead = True
        for mapping in list(self._maps):
            self._unmap(mapping)
        for fd in list(self._files):
            self._release(self._files.pop(fd))

    @property
    def done(self) -> int:
        """How many operations this process has begun."""
        return self._done

    @property
    def open_descriptors(self) -> int:
        """How many descriptors and mappings it has open."""
        return len(self._files) + len(self._maps)

    def _begin(
        self, operation: str, path: str = "", last_words: Callable[[], object] | None = None
    ) -> None:
        """Count an operation, and let it be struck by death or a fault."""
        if self._dead:
            raise Killed
        self._machine.schedule.calls[operation] += 1
        self._done += 1
        if self._done == self._kill_at:
            if last_words is not None:
                # A full disk does not take even these.
                with suppress(OSError):
                    last_words()
            self.die()
            raise Killed
        self._machine.schedule.enter(operation, path)

    def _file(
        self, fd: int, operation: str, dying: Callable[[OpenFile], object] | None = None
    ) -> OpenFile:
        file = self._files.get(fd)
        if file is None:
            self._begin(operation)
            raise refused(errno.EBADF, str(fd))
        self._begin(operation, file.path, None if dying is None else partial(dying, file))
        return file

    def _release(self, file: OpenFile) -> None:
        file.users -= 1
        if file.users == 0:
            inode = file.inode
            inode.opened -= 1
            if inode.lock is file:
                inode.lock = None
            self._disk.drop_if_unused(inode)

    def _unmap(self, mapping: FaultyMapping) -> None:
        if mapping in self._maps:
            self._maps.remove(mapping)
            self._release(mapping.file)

    # The System protocol.

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        self._begin("open", path)
        parent, name = self._disk.parent(path)
        there = parent.entries.get(name) if name else parent
        if there is not None and flags & os.O_EXCL and flags & os.O_CREAT:
            raise refused(errno.EEXIST, path)
        if there is not None and kinds.S_ISLNK(there.mode):
            if flags & os.O_NOFOLLOW:
                raise refused(errno.ELOOP, path)
            there = self._disk.find(path)
        if there is None:
            if not flags & os.O_CREAT:
                raise refused(errno.ENOENT, path)
            there = self._disk.make(kinds.S_IFREG | (mode & ~0o022), self._uid)
            self._disk.put(parent, name, there)
        self._check_kind(there, path, flags)
        if flags & os.O_TRUNC:
            self._disk.resize(there, 0)
        there.opened += 1
        fd = next(n for n in range(3, len(self._files) + 4) if n not in self._files)
        self._files[fd] = OpenFile(there, path, flags)
        return fd

    @staticmethod
    def _check_kind(inode: Inode, path: str, flags: int) -> None:
        writing = flags & (os.O_WRONLY | os.O_RDWR)
        if kinds.S_ISDIR(inode.mode) and writing:
            raise refused(errno.EISDIR, path)
        if kinds.S_ISFIFO(inode.mode):
            if not flags & os.O_NONBLOCK:
                raise AssertionError(f"opening the FIFO {path} like this would block for ever")
            if writing == os.O_WRONLY:
                raise refused(errno.ENXIO, path)

    def close(self, fd: int) -> None:
        try:
            self._file(fd, "close")
        finally:
            # As on Linux the descriptor is gone even when close reports an error.
            file = self._files.pop(fd, None)
            if file is not None:
                self._release(file)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        whole = bytes(data)
        file = self._file(fd, "write", lambda dying: self._disk.write(dying, whole[: self._torn]))
        if not file.flags & (os.O_WRONLY | os.O_RDWR):
            raise refused(errno.EBADF, file.path)
        limit = self._disk.write_limit
        return self._disk.write(file, whole if limit is None else whole[:limit])

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        return bytes(self._file(fd, "pread").inode.data[offset : offset + n])

    def stat(self, path: str) -> Facts:
        self._begin("stat", path)
        return self._disk.find(path).facts()

    def lstat(self, path: str) -> Facts:
        self._begin("lstat", path)
        return self._disk.find(path, follow=False).facts()

    def fstat(self, fd: int) -> Facts:
        return self._file(fd, "fstat").inode.facts()

    def fchmod(self, fd: int, mode: int) -> None:
        inode = self._file(fd, "fchmod").inode
        inode.mode = kinds.S_IFMT(inode.mode) | mode

    def fdatasync(self, fd: int) -> None:
        inode = self._file(fd, "fdatasync").inode
        inode.synced = bytes(inode.data)

    def sync_directory(self, path: str) -> None:
        self._begin("sync_directory", path)
        inode = self._disk.find(path)
        inode.synced_entries = dict(inode.entries)

    def allocate(self, fd: int, size: int) -> None:
        file = self._file(fd, "allocate")
        grown = max(0, size - len(file.inode.data))
        if self._disk.room(grown) < grown:
            raise refused(errno.ENOSPC, file.path)
        self._disk.resize(file.inode, len(file.inode.data) + grown)

    def map(self, fd: int, size: int) -> Mapping:
        file = self._file(fd, "map")
        if size > len(file.inode.data):
            raise refused(errno.EINVAL, file.path)
        file.users += 1
        mapping = FaultyMapping(self, file, size)
        self._maps.append(mapping)
        return mapping

    def lock(self, fd: int) -> bool:
        file = self._file(fd, "lock")
        if file.inode.lock is None:
            file.inode.lock = file
        return file.inode.lock is file

    def rename(self, source: str, target: str) -> None:
        self._begin("rename", source)
        inode = self._disk.find(source, follow=False)
        parent, name = self._disk.parent(target)
        if parent.entries.get(name) is inode:
            return
        self._disk.put(parent, name, inode)
        self._disk.remove(*self._disk.parent(source))

    def link(self, source: str, target: str) -> None:
        self._begin("link", source)
        inode = self._disk.find(source)
        parent, name = self._disk.parent(target)
        if name in parent.entries:
            raise refused(errno.EEXIST, target)
        self._disk.put(parent, name, inode)

    def unlink(self, path: str) -> None:
        self._begin("unlink", path)
        if kinds.S_ISDIR(self._disk.find(path, follow=False).mode):
            raise refused(errno.EISDIR, path)
        self._disk.remove(*self._disk.parent(path))

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        self._begin("makedirs", path)
        inode = self._disk.root
        for part in (part for part in path.split("/") if part):
            child = inode.entries.get(part)
            if child is None:
                child = self._disk.make(kinds.S_IFDIR | mode, self._uid)
                self._disk.put(inode, part, child)
                inode.synced_entries[part] = child
            if not kinds.S_ISDIR(child.mode):
                raise refused(errno.ENOTDIR, path)
            inode = child

    def listdir(self, path: str) -> list[str]:
        self._begin("listdir", path)
        inode = self._disk.find(path)
        if not kinds.S_ISDIR(inode.mode):
            raise refused(errno.ENOTDIR, path)
        return sorted(inode.entries)

    def truncate(self, fd: int, size: int) -> None:
        self._disk.resize(self._file(fd, "truncate").inode, size)

    def await_writers(self, fd: int) -> None:
        """Writes are atomic here: nobody is ever in the middle of one."""

    def wait_writable(self, fd: int, seconds: float) -> bool:
        self._file(fd, "wait_writable")
        return True

    def getpid(self) -> int:
        return self._pid

    def getuid(self) -> int:
        return self._uid

    def boot_id(self) -> str:
        return f"{self._machine.boot:08x}-0000-4000-8000-000000000000"

    def pid_namespace(self) -> str:
        return "pid:[1]"

    def process_start(self) -> str:
        return str(self._start)


class FaultyMapping:
    """A `Mapping`; using it is no system call, so it can be killed but cannot fail."""

    def __init__(self, process: FaultyProcess, file: OpenFile, size: int) -> None:
        self._process = process
        self.file = file
        self._size = size
        self._position = 0
        self._closed = False

    def write(self, data: bytes) -> int:
        if self._closed or self._position + len(data) > self._size:
            raise ValueError("data out of range or mapping closed")
        self._process._begin(
            "map_write", self.file.path, lambda: self._put(data[: self._process._torn])
        )
        self._put(data)
        self._position += len(data)
        return len(data)

    def _put(self, data: bytes) -> None:
        self.file.inode.data[self._position : self._position + len(data)] = data

    def tell(self) -> int:
        return self._position

    def read(self, start: int, stop: int) -> bytes:
        self._process._begin("map_read", self.file.path)
        return bytes(self.file.inode.data[start : min(stop, self._size)])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._process._unmap(self)
