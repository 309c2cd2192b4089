"""
A file system in memory that fails, fills up and loses power on demand.

Rule 1: it behaves as the real one until told otherwise: short writes at the
quota, inodes that live as long as a name or a descriptor, locks that belong to
an open file and fall with it.
Rule 2: the death of a process keeps all that was written; only a power cut
takes back what was not synced, and a seed decides what of it survives.
Rule 3: every operation is counted, so that a test can fail or kill the n-th for
every n. Directories made by `makedirs` survive a power cut.
"""

from __future__ import annotations

import errno
import os
import random
import stat as kinds
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..system import Mapping

_DEVICE: Final = 7
_SECTOR: Final = 512
_MOST_LINKS: Final = 40
_NEVER_FAILS: Final = frozenset({"map_write", "map_read"})


class Killed(BaseException):
    """The process was killed; not an Exception, so that no code outlives its death."""


@dataclass(slots=True, eq=False)
class _Inode:
    number: int
    mode: int
    uid: int
    links: int = 0
    opened: int = 0
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    target: str = ""
    entries: dict[str, _Inode] = field(default_factory=dict)
    synced_entries: dict[str, _Inode] = field(default_factory=dict)
    lock: _OpenFile | None = None


@dataclass(slots=True, eq=False)
class _OpenFile:
    inode: _Inode
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


@dataclass(slots=True)
class _Fault:
    operation: str
    error: int
    when: int
    times: int | None
    path: str | None
    seen: int = 0

    def strikes(self, operation: str, path: str) -> bool:
        if self.operation == "*":
            if operation in _NEVER_FAILS:
                return False
        elif self.operation != operation:
            return False
        if self.path is not None and not fnmatchcase(path, self.path):
            return False
        self.seen += 1
        past = self.seen - self.when
        return past >= 0 and (self.times is None or past < self.times)


class _Disk:
    """What all processes share: the inodes, the quota and the planned faults."""

    def __init__(self, quota: int | None) -> None:
        self.quota = quota
        self.used = 0
        self.numbers = 1
        self.root = self.make(kinds.S_IFDIR | 0o755, 0)
        self.root.links = 1
        self.faults: list[_Fault] = []
        self.calls: Counter[str] = Counter()
        self.operations = 0
        self.write_limit: int | None = None
        self.boot = 1
        self.starts = 0
        self.processes: list[FaultyProcess] = []

    def make(self, mode: int, uid: int) -> _Inode:
        self.numbers += 1
        return _Inode(self.numbers, mode, uid)

    def resize(self, inode: _Inode, size: int) -> None:
        grown = size - len(inode.data)
        if grown > 0:
            inode.data.extend(bytes(grown))
        else:
            del inode.data[size:]
        self.used += grown

    def room(self, wanted: int) -> int:
        return wanted if self.quota is None else max(0, min(wanted, self.quota - self.used))

    def drop_if_unused(self, inode: _Inode) -> None:
        if inode.links <= 0 and inode.opened <= 0:
            self.used -= len(inode.data)
            inode.data = bytearray()

    def put(self, parent: _Inode, name: str, inode: _Inode) -> None:
        self.remove(parent, name)
        parent.entries[name] = inode
        inode.links += 1

    def remove(self, parent: _Inode, name: str) -> None:
        old = parent.entries.pop(name, None)
        if old is not None:
            old.links -= 1
            self.drop_if_unused(old)

    def find(self, path: str, *, follow: bool = True) -> _Inode:
        parent, name = self.parent(path)
        if not name:
            return parent
        inode = parent.entries.get(name)
        if inode is None:
            raise _error(errno.ENOENT, path)
        for _ in range(_MOST_LINKS):
            if not (follow and kinds.S_ISLNK(inode.mode)):
                return inode
            inode = self.find(_joined(path, inode.target), follow=False)
        raise _error(errno.ELOOP, path)

    def parent(self, path: str) -> tuple[_Inode, str]:
        parts = [part for part in path.split("/") if part]
        inode = self.root
        for depth, part in enumerate(parts[:-1], 1):
            child = inode.entries.get(part)
            if child is None:
                raise _error(errno.ENOENT, path)
            if kinds.S_ISLNK(child.mode):
                child = self.find("/" + "/".join(parts[:depth]))
            if not kinds.S_ISDIR(child.mode):
                raise _error(errno.ENOTDIR, path)
            inode = child
        return inode, parts[-1] if parts else ""


class FaultyProcess:
    """
    One process on a `FaultyFilesystem`: a `System` with its own descriptors.

    After its death every call raises `Killed`.
    """

    def __init__(self, disk: _Disk, pid: int, uid: int = 1000) -> None:
        disk.starts += 1
        disk.processes.append(self)
        self._disk = disk
        self._pid = pid
        self._uid = uid
        self._start = disk.starts
        self._files: dict[int, _OpenFile] = {}
        self._maps: list[_FaultyMapping] = []
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
        """Die now: descriptors, mappings and locks go, what was written stays."""
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

    def _enter(self, operation: str, path: str = "") -> None:
        if self._dead:
            raise Killed
        disk = self._disk
        disk.operations += 1
        disk.calls[operation] += 1
        self._done += 1
        if self._done == self._kill_at:
            raise Killed
        # Every fault counts, struck or not, so that two plans do not shift each other.
        struck = [fault for fault in disk.faults if fault.strikes(operation, path)]
        if struck:
            raise _error(struck[0].error, path)

    def _begin(self, operation: str, path: str = "") -> None:
        try:
            self._enter(operation, path)
        except Killed:
            self.die()
            raise

    def _file(self, fd: int, operation: str) -> _OpenFile:
        file = self._files.get(fd)
        self._begin(operation, file.path if file else "")
        if file is None:
            raise _error(errno.EBADF, str(fd))
        return file

    def _release(self, file: _OpenFile) -> None:
        file.users -= 1
        if file.users == 0:
            inode = file.inode
            inode.opened -= 1
            if inode.lock is file:
                inode.lock = None
            self._disk.drop_if_unused(inode)

    def _unmap(self, mapping: _FaultyMapping) -> None:
        if mapping in self._maps:
            self._maps.remove(mapping)
            self._release(mapping.file)

    # The System protocol.

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        self._begin("open", path)
        parent, name = self._disk.parent(path)
        there = parent.entries.get(name) if name else parent
        if there is not None and flags & os.O_EXCL and flags & os.O_CREAT:
            raise _error(errno.EEXIST, path)
        if there is not None and kinds.S_ISLNK(there.mode):
            if flags & os.O_NOFOLLOW:
                raise _error(errno.ELOOP, path)
            there = self._disk.find(path)
        if there is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, path)
            there = self._disk.make(kinds.S_IFREG | (mode & ~0o022), self._uid)
            self._disk.put(parent, name, there)
        self._check_kind(there, path, flags)
        if flags & os.O_TRUNC:
            self._disk.resize(there, 0)
        there.opened += 1
        fd = next(n for n in range(3, len(self._files) + 4) if n not in self._files)
        self._files[fd] = _OpenFile(there, path, flags)
        return fd

    @staticmethod
    def _check_kind(inode: _Inode, path: str, flags: int) -> None:
        writing = flags & (os.O_WRONLY | os.O_RDWR)
        if kinds.S_ISDIR(inode.mode) and writing:
            raise _error(errno.EISDIR, path)
        if kinds.S_ISFIFO(inode.mode):
            if not flags & os.O_NONBLOCK:
                raise AssertionError(f"opening the FIFO {path} like this would block for ever")
            if writing == os.O_WRONLY:
                raise _error(errno.ENXIO, path)

    def close(self, fd: int) -> None:
        try:
            self._file(fd, "close")
        finally:
            # As on Linux the descriptor is gone even when close reports an error.
            file = self._files.pop(fd, None)
            if file is not None:
                self._release(file)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        file = self._files.get(fd)
        try:
            file = self._file(fd, "write")
        except Killed:
            if self._torn and file is not None:
                self._put(file, bytes(data)[: self._torn])
            raise
        if not file.flags & (os.O_WRONLY | os.O_RDWR):
            raise _error(errno.EBADF, file.path)
        limit = self._disk.write_limit
        return self._put(file, data if limit is None else data[:limit])

    def _put(self, file: _OpenFile, data: bytes | memoryview) -> int:
        inode = file.inode
        at = len(inode.data) if file.flags & os.O_APPEND else file.position
        grown = max(0, at + len(data) - len(inode.data))
        taken = len(data) - (grown - self._disk.room(grown))
        if data and taken <= 0:
            raise _error(errno.ENOSPC, file.path)
        end = at + taken
        if end > len(inode.data):
            self._disk.resize(inode, end)
        inode.data[at:end] = data[:taken]
        file.position = end
        return taken

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        return bytes(self._file(fd, "pread").inode.data[offset : offset + n])

    def stat(self, path: str) -> Facts:
        self._begin("stat", path)
        return _facts(self._disk.find(path))

    def lstat(self, path: str) -> Facts:
        self._begin("lstat", path)
        return _facts(self._disk.find(path, follow=False))

    def fstat(self, fd: int) -> Facts:
        return _facts(self._file(fd, "fstat").inode)

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
            raise _error(errno.ENOSPC, file.path)
        self._disk.resize(file.inode, len(file.inode.data) + grown)

    def map(self, fd: int, size: int) -> Mapping:
        file = self._file(fd, "map")
        if size > len(file.inode.data):
            raise _error(errno.EINVAL, file.path)
        mapping = _FaultyMapping(self, file, size)
        file.users += 1
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
            raise _error(errno.EEXIST, target)
        self._disk.put(parent, name, inode)

    def unlink(self, path: str) -> None:
        self._begin("unlink", path)
        if kinds.S_ISDIR(self._disk.find(path, follow=False).mode):
            raise _error(errno.EISDIR, path)
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
                raise _error(errno.ENOTDIR, path)
            inode = child

    def listdir(self, path: str) -> list[str]:
        self._begin("listdir", path)
        inode = self._disk.find(path)
        if not kinds.S_ISDIR(inode.mode):
            raise _error(errno.ENOTDIR, path)
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
        return f"{self._disk.boot:08x}-0000-4000-8000-000000000000"

    def pid_namespace(self) -> str:
        return "pid:[1]"

    def process_start(self) -> str:
        return str(self._start)


class FaultyFilesystem(FaultyProcess):
    """
    The file system, and the first process (pid 100) on it.

    Args:
        quota: Bytes that all files may hold together; None for no limit.
        seed: Decides what survives a power cut.
    """

    def __init__(self, *, quota: int | None = None, seed: int = 0) -> None:
        super().__init__(_Disk(quota), 100)
        self._random = random.Random(seed)

    @property
    def operations(self) -> int:
        """Operations of all processes so far."""
        return self._disk.operations

    @property
    def calls(self) -> Counter[str]:
        """Operations so far by name."""
        return self._disk.calls

    @property
    def used(self) -> int:
        """Bytes held by all files."""
        return self._disk.used

    def set_quota(self, quota: int | None) -> None:
        """Change the quota; None lifts it."""
        self._disk.quota = quota

    def limit_writes(self, size: int | None) -> None:
        """Let one write take at most *size* bytes; None lifts it."""
        self._disk.write_limit = size

    def process(self, pid: int, *, uid: int = 1000) -> FaultyProcess:
        """Start a process; it is a `System`."""
        return FaultyProcess(self._disk, pid, uid)

    def kill(self, pid: int) -> None:
        """Kill every living process with this *pid*."""
        for process in self._disk.processes:
            if process.getpid() == pid and not process._dead:
                process.die()

    def descriptors(self) -> int:
        """How many descriptors and mappings all processes have open."""
        return sum(process.open_descriptors for process in self._disk.processes)

    def fail(
        self,
        operation: str,
        error: int,
        *,
        when: int = 1,
        times: int | None = 1,
        path: str | None = None,
    ) -> None:
        """
        Make matching operations fail.

        Args:
            operation: The name of a `System` method, or `*` for any.
            error: The errno.
            when: The first matching operation from now that fails, from 1.
            times: How many fail from there on; None for ever.
            path: A pattern for the path, such as `*.held`; None for any. A
                descriptor has the path that it was opened with.
        """
        self._disk.faults.append(_Fault(operation, error, when, times, path))

    def heal(self) -> None:
        """Forget all planned faults."""
        self._disk.faults.clear()
        self._disk.write_limit = None

    def power_cut(self) -> None:
        """Kill every process, then take back what was not synced, in part or in whole."""
        for process in self._disk.processes:
            process.die()
        self._disk.boot += 1
        kept: dict[_Inode, int] = {}
        self._cut(self._disk.root, kept)
        self._disk.used = 0
        for inode, links in kept.items():
            inode.links = links
            self._disk.used += len(inode.data)

    def _cut(self, directory: _Inode, kept: dict[_Inode, int]) -> None:
        old, new = directory.synced_entries, directory.entries
        entries: dict[str, _Inode] = {}
        for name in sorted(old.keys() | new.keys()):
            choice = old if self._random.random() < 0.5 else new
            if name in choice:
                entries[name] = choice[name]
        directory.entries = entries
        directory.synced_entries = dict(entries)
        for inode in entries.values():
            if inode not in kept and kinds.S_ISREG(inode.mode):
                self._cut_data(inode)
            kept[inode] = kept.get(inode, 0) + 1
            if kinds.S_ISDIR(inode.mode):
                self._cut(inode, kept)

    def _cut_data(self, inode: _Inode) -> None:
        old, new = inode.synced, bytes(inode.data)
        size = self._random.choice((len(old), len(new)))
        data = bytearray(old[:size].ljust(size, b"\0"))
        for at in range(0, size, _SECTOR):
            if self._random.random() < 0.5:
                data[at : at + _SECTOR] = new[at : min(at + _SECTOR, size)].ljust(
                    min(_SECTOR, size - at), b"\0"
                )
        inode.data = data
        inode.synced = bytes(data)

    # What a test does to the tree behind everybody's back.

    def put(self, path: str, data: bytes = b"", *, mode: int = 0o600, uid: int = 1000) -> None:
        """Make or replace a file; it counts as synced."""
        self._plant(path, kinds.S_IFREG | mode, uid).data[:] = data
        inode = self._disk.find(path)
        inode.synced = bytes(data)
        self._disk.used += len(data)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self._plant(path, kinds.S_IFLNK | 0o777, 1000).target = target

    def mkfifo(self, path: str) -> None:
        """Make a FIFO."""
        self._plant(path, kinds.S_IFIFO | 0o600, 1000)

    def mkdevice(self, path: str) -> None:
        """Make a character device."""
        self._plant(path, kinds.S_IFCHR | 0o600, 0)

    def chmod(self, path: str, mode: int) -> None:
        """Change the permission bits of *path*."""
        inode = self._disk.find(path)
        inode.mode = kinds.S_IFMT(inode.mode) | mode

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return bytes(self._disk.find(path).data)

    def files(self, path: str = "/") -> list[str]:
        """Return the paths of all that is not a directory under *path*, sorted."""
        base = path.rstrip("/")
        found: list[str] = []
        for name, inode in self._disk.find(path).entries.items():
            if kinds.S_ISDIR(inode.mode):
                found += self.files(f"{base}/{name}")
            else:
                found.append(f"{base}/{name}")
        return sorted(found)

    def _plant(self, path: str, mode: int, uid: int) -> _Inode:
        parent, name = self._disk.parent(path)
        inode = self._disk.make(mode, uid)
        self._disk.put(parent, name, inode)
        parent.synced_entries[name] = inode
        return inode


class _FaultyMapping:
    def __init__(self, process: FaultyProcess, file: _OpenFile, size: int) -> None:
        self._process = process
        self.file = file
        self._size = size
        self._position = 0
        self._closed = False

    def write(self, data: bytes) -> int:
        end = self._position + len(data)
        if self._closed or end > self._size:
            raise ValueError("data out of range or mapping closed")
        try:
            self._process._begin("map_write", self.file.path)
        except Killed:
            torn = data[: self._process._torn]
            self.file.inode.data[self._position : self._position + len(torn)] = torn
            raise
        self.file.inode.data[self._position : end] = data
        self._position = end
        return len(data)

    def tell(self) -> int:
        return self._position

    def read(self, start: int, stop: int) -> bytes:
        self._process._begin("map_read", self.file.path)
        return bytes(self.file.inode.data[start : min(stop, self._size)])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._process._unmap(self)


def _facts(inode: _Inode) -> Facts:
    return Facts(_DEVICE, inode.number, len(inode.data), inode.mode, inode.links, inode.uid)


def _joined(path: str, target: str) -> str:
    return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
