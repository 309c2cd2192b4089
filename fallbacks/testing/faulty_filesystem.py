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

import random
import stat as kinds
from collections import Counter

from ._disk import Disk, Facts
from ._faults import Fault, Killed
from ._process import FaultyProcess, Machine

__all__ = ["Facts", "FaultyFilesystem", "FaultyProcess", "Killed"]


class FaultyFilesystem(FaultyProcess):
    """
    The file system, and the first process (pid 100) on it.

    Args:
        quota: Bytes that all files may hold together; None for no limit.
        seed: Decides what survives a power cut.
    """

    def __init__(self, *, quota: int | None = None, seed: int = 0) -> None:
        super().__init__(Machine(Disk(quota)), 100)
        self._random = random.Random(seed)

    @property
    def operations(self) -> int:
        """Operations of all processes so far."""
        return self.calls.total()

    @property
    def calls(self) -> Counter[str]:
        """Operations so far by name."""
        return self._machine.schedule.calls

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
        return FaultyProcess(self._machine, pid, uid)

    def kill(self, pid: int) -> None:
        """Kill every living process with this *pid*."""
        for process in self._machine.processes:
            if process._pid == pid:
                process.die()

    def descriptors(self) -> int:
        """How many descriptors and mappings all processes have open."""
        return sum(process.open_descriptors for process in self._machine.processes)

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
        self._machine.schedule.faults.append(Fault(operation, error, when, times, path))

    def heal(self) -> None:
        """Forget all planned faults."""
        self._machine.schedule.faults.clear()
        self._disk.write_limit = None

    def power_cut(self) -> None:
        """Kill every process, then take back what was not synced, in part or in whole."""
        for process in self._machine.processes:
            process.die()
        self._machine.boot += 1
        self._disk.cut(self._random)

    # What a test does to the tree behind everybody's back.

    def put(self, path: str, data: bytes = b"", *, mode: int = 0o600, uid: int = 1000) -> None:
        """Make or replace a file; it counts as synced."""
        inode = self._disk.plant(path, kinds.S_IFREG | mode, uid)
        inode.data[:] = inode.synced = bytes(data)
        self._disk.used += len(data)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self._disk.plant(path, kinds.S_IFLNK | 0o777, 1000).target = target

    def mkfifo(self, path: str) -> None:
        """Make a FIFO."""
        self._disk.plant(path, kinds.S_IFIFO | 0o600, 1000)

    def mkdevice(self, path: str) -> None:
        """Make a character device."""
        self._disk.plant(path, kinds.S_IFCHR | 0o600, 0)

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
