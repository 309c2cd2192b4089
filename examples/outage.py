"""
An outage, as it happens, and what becomes of every record.

    python examples/outage.py [--keep] [--pace SECONDS]

A service logs about a thousand records a second into a file, three of five below
ERROR, and flushes nothing. Its disk goes away (a plain file in place of the
directory: no root is needed, and root is stopped by it, too) and comes back. Then
the disk goes away again, the one of the fallback file with it, and the service
is killed with SIGKILL in mid-load and started again.

In the end `hydra audit` reads what is on the disk, and this script compares it
with a witness: a shared memory map in which the service noted which calls had
returned. Exit status 1 says that an acknowledged ERROR is missing or there twice.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from outage_screen import Facts, Screen
from outage_service import Witness

SERVICE: Final = Path(__file__).with_name("outage_service.py")
PATIENCE: Final = 15.0
"""Seconds that anything expected may take before the demo gives up."""


class Failed(Exception):
    """The demo did not show what it promises."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """Which calls of a service had returned."""

    ordinary: int
    """Below ERROR."""
    unsafe: int
    """ERRORs whose receipt promised nothing yet."""
    acknowledged: list[str]
    """Ids of the ERRORs whose receipt promised that they survive a kill."""


def testimony(path: Path) -> Testimony:
    """Return what the witness at *path* has seen so far; also after its process has died."""
    witness = Witness(path)
    try:
        return Testimony(witness.ordinary, witness.unsafe, witness.acknowledged())
    finally:
        witness.close()


class Service:
    """The service as a process of its own, and its latest statistics."""

    def __init__(self, directory: Path, run: str) -> None:
        self.witness = directory / f"witness-{run}"
        self._errors = (directory / f"stderr-{run}").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(SERVICE), str(directory), run],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={k: v for k, v in os.environ.items() if not k.startswith("HYDRA_")},
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        self.facts: Facts | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def look(self) -> Facts | None:
        """Return its latest statistics; None before the first."""
        assert self._process.stdout is not None
        self._rest += self._process.stdout.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self.facts = json.loads(lines[-1])
        if self._process.poll() is not None:
            said = Path(self._errors.name).read_text(encoding="utf-8")
            raise Failed(f"the service ended by itself:\n{said}")
        return self.facts

    def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


class Demo:
    """
    The script of the demo.

    Args:
        directory: Where everything happens; empty.
        pace: Seconds that a phase is shown.
    """

    def __init__(self, directory: Path, pace: float) -> None:
        self.directory = directory
        self.disk = directory / "disk"
        self.spare = directory / "spare"
        self.log = self.disk / "app.log"
        self.screen = Screen()
        self._pace = pace
        self._services: list[Service] = []

    def play(self) -> None:
        """Play all phases, then check; raise `Failed` when a promise was not kept."""
        self.disk.mkdir()
        self.spare.mkdir()
        screen = self.screen
        screen.head()

        first = self._start("first")
        screen.event(f"service started, pid {first.pid}: every order logs 3 records and 2 ERRORs")
        self._watch(first, "healthy", self._pace)

        _vanish(self.disk)
        screen.event("primary gone: there is a plain file where disk/ was")
        self._until(first, "outage", "nothing is held", lambda facts: facts["held"] != 0)
        screen.event("fallback file takes over: spare/app.*.held")
        self._watch(first, "outage", self._pace)

        _come_back(self.disk)
        screen.event("primary back: the next probe finds it, then what was held is replayed")
        self._until(
            first, "replay", "the replay does not end",
            lambda facts: facts["held"] == 0 and facts["queued"] == 0,
        )  # fmt: skip
        screen.event("replayed: nothing is held any more")
        self._watch(first, "healthy", self._pace / 2)

        _vanish(self.disk)
        _vanish(self.spare)
        screen.event("primary gone again, and the fallback's disk with it: nowhere left to go")
        self._watch(first, "nowhere to go", self._pace / 2)
        first.end(signal.SIGKILL)
        screen.event(f"killed -9: pid {first.pid}, in the middle of its load")
        _come_back(self.disk)
        _come_back(self.spare)
        before = self._found()

        second = self._start("second")
        waiting = [key for key in testimony(first.witness).acknowledged if not before[key]]
        self._until(
            second, "recovery", "acknowledged ERRORs do not come back",
            lambda _: not set(waiting) - self._found().keys(),
        )  # fmt: skip
        screen.event(f"restarted: {len(waiting)} ERRORs came back from the journal")
        self._watch(second, "healthy", self._pace / 2)

        second.end(signal.SIGTERM)
        screen.event("stopped by SIGTERM: drained and closed")
        self.check(testimony(first.witness), testimony(second.witness))

    def stop(self) -> None:
        """Leave no process behind, whatever happened."""
        for service in self._services:
            service.end(signal.SIGKILL)

    # -- phases

    def _start(self, run: str) -> Service:
        service = Service(self.directory, run)
        self._services.append(service)
        deadline = monotonic() + PATIENCE
        while service.look() is None:
            _pass(deadline, "the service does not start")
        return service

    def _watch(self, service: Service, phase: str, seconds: float) -> None:
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            self._show(service, phase)
            sleep(0.1)
        self._show(service, phase, keep=True)

    def _until(
        self, service: Service, phase: str, else_say: str, done: Callable[[Facts], bool]
    ) -> None:
        deadline = monotonic() + PATIENCE
        while True:
            facts = self._show(service, phase)
            if done(facts):
                break
            _pass(deadline, else_say)
        self._show(service, phase, keep=True)

    def _show(self, service: Service, phase: str, *, keep: bool = False) -> Facts:
        facts = service.look()
        assert facts is not None
        self.screen.row(phase, facts, keep=keep)
        return facts

    # -- the proof

    def check(self, first: Testimony, second: Testimony) -> None:
        """
        Audit what is on the disk and compare it with what the witnesses saw.

        Raises:
            Failed: If a record is missing, or an acknowledged ERROR is not there once.
        """
        report = self._audit()
        found = self._found()
        acknowledged = [*first.acknowledged, *second.acknowledged]
        if not first.acknowledged:
            raise Failed("not one ERROR was acknowledged before the kill")
        lost = [key for key in acknowledged if not found[key]]
        twice = [key for key, times in found.items() if times > 1]
        unsafe = first.unsafe + second.unsafe
        run = acknowledged[0].partition(".")[0] + "."
        there = sum(1 for key in found if key.startswith(run) and "r-" in key)
        self.screen.text(
            f"acknowledged ERRORs: {len(acknowledged)}, each once on the disk: "
            f"{'no' if lost or twice else 'yes'}"
        )
        if unsafe:
            self.screen.text(
                f"ERRORs that were in the queue only when their call returned: {unsafe}"
            )
        self.screen.text(
            "ordinary records that died in the killed process's queue: "
            f"{max(0, first.ordinary - there)} of {first.ordinary}"
        )
        missing = report["missing"]
        self.screen.text(f"missing {missing}")
        if lost or twice or missing:
            raise Failed(
                f"missing {missing}, acknowledged ERRORs lost: {lost[:5]}, twice: {twice[:5]}"
            )

    def _audit(self) -> dict[str, object]:
        segments = self.directory / "state"
        files = [str(self.log), *([str(segments)] if segments.exists() else [])]
        command = [sys.executable, "-m", "hydra", "audit", *files]
        shown = " ".join(os.path.relpath(file, self.directory) for file in files)
        self.screen.text(f"\n$ hydra audit {shown}")
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        self.screen.text(said.stdout.replace(f"{self.directory}/", "").rstrip() + said.stderr)
        self.screen.text("")
        answer = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        if answer.returncode == 2:
            raise Failed(answer.stderr)
        report: dict[str, object] = json.loads(answer.stdout)
        return report

    def _found(self) -> Counter[str]:
        """Return how often each id stands in the log; whole lines only."""
        *lines, _ = self.log.read_bytes().split(b"\n")
        return Counter(line[line.rfind(b'"id":"') + 6 : -2].decode() for line in lines)


def _vanish(directory: Path) -> None:
    # A file where the directory should be stops root as well, who may write anywhere.
    directory.rename(directory.with_suffix(".away"))
    directory.write_text("not a directory\n", encoding="utf-8")


def _come_back(directory: Path) -> None:
    directory.unlink()
    directory.with_suffix(".away").rename(directory)


def _pass(deadline: float, else_say: str) -> None:
    if monotonic() > deadline:
        raise Failed(f"{else_say} within {PATIENCE:g} seconds")
    sleep(0.1)


def main() -> int:
    """Play the demo in a directory of its own; return the exit status."""
    parser = argparse.ArgumentParser(description="An outage, and what becomes of every record.")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the files")
    parser.add_argument("--pace", type=float, default=4.0, help="seconds that a phase is shown")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="hydra-outage-"))
    if options.keep:
        print(f"files: {directory}")
    demo = Demo(directory, options.pace)
    try:
        demo.play()
    except Failed as failed:
        demo.screen.event(f"FAILED: {failed}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        demo.stop()
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
