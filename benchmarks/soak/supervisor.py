"""
Who starts the loaded process, does to it what the course says, and looks at it meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from ..environment import ROOT
from .course import HEAL, INSTANT, LASTING, Step, course
from .judge import Destination, Sample
from .load import DOWN, DRAIN, HANGS, OPEN

STUCK: Final = 20.0
"""Seconds without a sign of life, or without a call of a producer, that are a hang."""
_SIZE: Final = 512 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = 0.1
_LOOK: Final = 0.5


class Soak:
    """
    One soak in *directory*, which is empty. Use it as a context manager.

    As root the file destination is on a small file system of its own, which can be full;
    else that one fault is left out, and this is said.
    """

    def __init__(self, directory: Path, seed: int, seconds: float) -> None:
        self._at = directory
        self._seconds = seconds
        self._disk = directory / "disk"
        self._disk.mkdir()
        (directory / "gate").write_bytes(bytes([OPEN]))
        self._mounted = self._mount()
        faults = [f for f in (*LASTING, *INSTANT) if f != "disk-full" or self._mounted]
        if not self._mounted:
            print("no file system of our own (not root?): the disk is never full")
        self._course = course(seed, seconds, faults)
        self._strategy = "failover"
        self._ailing: set[str] = set()
        self._rotated = 0
        self._final: dict[str, Any] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._said: dict[str, Any] = {}
        self._heard = self._progressed = 0.0
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.marks: list[tuple[float, str]] = []
        self.hangs: list[str] = []
        self.finals: list[dict[str, Any] | None] = []
        """What each process that was let close said then; None where it said nothing."""
        self.lives = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        if self._mounted:
            self._unmount()

    def run(self) -> None:
        """Let the course happen; then heal all, let it drain, and start once more."""
        self._start(producers=True)
        todo = list(self._course)
        looked = 0.0
        while (now := self._now()) < self._seconds and not self.hangs:
            while todo and todo[0].at <= now:
                self._do(todo.pop(0))
            if now - looked >= _LOOK:
                looked = now
                self._look(now)
            time.sleep(_TICK)
        for fault in LASTING:
            self._heal(fault)
        print(f"{self._now():6.1f} s  all is well; what is held is delivered", file=sys.stderr)
        if not self.hangs:
            self._finish("stop\n")
        if not self.hangs:
            # What a killed process or a child left is found by the next start.
            self._start(producers=False)
            self._finish("")

    # -- the process

    def _start(self, *, producers: bool) -> None:
        self.lives += 1
        self._final = None
        self._heard = self._progressed = self._now()
        self._said = {}
        with open(self._at / "stderr", "ab") as errors:
            process = self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.soak.load"),
                    *(str(self._at), self._strategy, "yes" if producers else "no"),
                ],
                cwd=self._at,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._listener = threading.Thread(
            target=self._listen, args=(cast("IO[str]", process.stdout),), daemon=True
        )
        self._listener.start()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                # The last line of a process that was killed.
                continue
            self._heard = self._now()
            if said.get("final"):
                self._final = said
            if said["calls"] != self._said.get("calls"):
                self._progressed = self._heard
            if said["hung"]:
                self.hangs.append("a forked child did not end in 30 s")
            self._said = said

    def _finish(self, command: str) -> None:
        """Let the process come to its end."""
        process = self._process
        assert process is not None
        self._tell(command)
        try:
            process.wait(3 * DRAIN)
        except subprocess.TimeoutExpired:
            self.hangs.append(f"process {process.pid} did not close in {3 * DRAIN:g} s")
            self._kill()
        self._listener.join(5.0)
        self._close_pipes()
        self.finals.append(self._final)
        if process.returncode and not self.hangs:
            self.hangs.append(f"process {process.pid} ended with status {process.returncode}")

    def _tell(self, command: str) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(command)
            process.stdin.flush()
        except BrokenPipeError:
            self.hangs.append(f"process {process.pid} has gone by itself")

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        if process is not None:
            self._listener.join(5.0)
            self._close_pipes()

    def _close_pipes(self) -> None:
        process = self._process
        assert process is not None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def _look(self, now: float) -> None:
        process = self._process
        assert process is not None
        if process.poll() is not None:
            self.hangs.append(f"process {process.pid} ended by itself: {process.returncode}")
            return
        if now - self._heard > STUCK:
            self.hangs.append(f"process {process.pid} has not spoken for {STUCK:g} s")
        elif now - self._progressed > STUCK:
            self.hangs.append(f"no call of process {process.pid} has returned for {STUCK:g} s")
        try:
            statm = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii")
            opened = len(os.listdir(f"/proc/{process.pid}/fd"))
        except OSError:
            return
        said = self._said
        self.samples.append(
            Sample(
                round(now, 2),
                process.pid,
                int(statm.split()[1]) * _PAGE,
                opened,
                said.get("queued", 0),
                said.get("dropped", 0),
                said.get("held", 0),
            )
        )

    def _now(self) -> float:
        return time.monotonic() - self._began

    # -- faults

    def _do(self, step: Step) -> None:
        self.marks.append((round(self._now(), 2), step.what))
        said = self._said
        print(
            f"{self._now():6.1f} s  {f'{step.what} {step.how}':<20}"
            f" accepted {said.get('accepted', 0):,}  queued {said.get('queued', 0):,}"
            f"  held {said.get('held', 0):,}  dropped {said.get('dropped', 0):,}",
            file=sys.stderr,
        )
        if step.what.startswith(HEAL):
            self._heal(step.what.removeprefix(HEAL))
        elif step.what == "disk-full":
            self._resize(0)
        elif step.what in LASTING:
            self._gate(self._ailing | {step.what})
        elif step.what == "rotate":
            self._rotate()
        elif step.what == "kill":
            self._kill()
            self._start(producers=True)
        elif step.what == "configure":
            self._strategy = step.how
            self._tell(f"configure {step.how}\n")
        else:
            self._tell(f"{step.what}\n")

    def _heal(self, fault: str) -> None:
        if fault == "disk-full":
            if self._mounted:
                self._resize(_SIZE)
        else:
            self._gate(self._ailing - {fault})

    def _gate(self, ailing: set[str]) -> None:
        """Turn the sink's gate; a sink that is down and hangs hangs."""
        self._ailing = ailing
        how = HANGS if "sink-hangs" in ailing else DOWN if ailing else OPEN
        with open(self._at / "gate", "r+b") as file:
            file.write(bytes([how]))

    def _rotate(self) -> None:
        self._rotated += 1
        log = self._disk / "app.log"
        if log.exists():
            log.rename(self._disk / f"app.log.{self._rotated}")

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(self._disk)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    def _unmount(self) -> None:
        """Take the file system away; what is in it stays where it was."""
        kept = self._at / "disk.kept"
        subprocess.run(["cp", "-a", str(self._disk), str(kept)], check=True)
        subprocess.run(["umount", "-l", str(self._disk)], check=True)
        self._disk.rmdir()
        kept.rename(self._disk)

    def _resize(self, size: int) -> None:
        """Give the file system *size* bytes, or with 0 hardly more than it has in use."""
        for slack in range(16):
            wanted = size
            if not size:
                facts = os.statvfs(self._disk)
                wanted = (facts.f_blocks - facts.f_bfree + slack**2) * facts.f_frsize
            command = ["mount", "-o", f"remount,size={max(wanted, _PAGE)}", str(self._disk)]
            # It is written to meanwhile; what is in use cannot be taken away.
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return
        raise RuntimeError(f"{self._disk} cannot be given another size")

    # -- what is on the disk

    def destinations(self) -> list[Destination]:
        """Return what each destination has, audited."""
        disk, mirror = self._disk.glob("app.log*"), (self._at / "mirror").glob("app.log*")
        app = sorted([*disk, *mirror])
        found = [
            Destination("app", app, once=app),
            Destination("sink", [self._at / "sink.jsonl"]),
            Destination("front", [self._at / "front.log"], once=[self._at / "front.log"]),
        ]
        for each in found:
            each.audited = self._audit(each)
        return found

    def _audit(self, destination: Destination) -> dict[str, Any]:
        files = [*map(str, destination.files), str(self._at / "state")]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hydra", "audit", "--json"),
                *("--destination", destination.name, *files),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            said: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            return {"error": (done.stderr or done.stdout).strip()[-300:]}
        return said
