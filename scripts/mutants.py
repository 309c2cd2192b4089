"""
Break the code on purpose, one way at a time, and see which test notices.

Each file in tests/mutants/ is a small patch: what it breaks, which promise that
breaks, and which tests have to notice. Run without arguments to try all of them
and to write docs/mutants.md; `-k WORD` tries those whose name has the word in it.

Rule 1: patches are applied to copies of the tree, made at the start of a run; the tree
itself is only read.
Rule 2: a patch applies where its old lines stand in the file exactly once, wherever
that is by now. Its line numbers are for readers.
Rule 3: the tests are run on an unbroken copy, too. Were one of them to fail there, its
failing would say nothing about a mutant.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PATCHES: Final = ROOT / "tests" / "mutants"
PAGE: Final = ROOT / "docs" / "mutants.md"

# What a run of the tests reads.
_TREE: Final = ("hydra", "fallbacks", "tests", "docs", "examples", "scripts", "benchmarks")
_FILES: Final = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
)

# Seconds for one test, and for all tests of one mutant. The slowest of them takes a
# few seconds on a quiet machine.
_TEST_SECONDS: Final = 40
_MUTANT_SECONDS: Final = 180
_BASELINE_SECONDS: Final = 900

_PROMISE: Final = " Broken promise: "
_TESTS: Final = "Tests: "
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_STARTED: Final = re.compile(r"^(tests/\S+::[^\s\[]+)", re.MULTILINE)
_SUMMARY: Final = re.compile(r"\d+ passed")
_NAMED: Final = re.compile(r"::(\w+)")

_HEAD: Final = """\
# Mutants

This page is written by `make mutants`.

A test that cannot fail proves nothing.
Each row is one way to break the code: a guard dropped, an order swapped, an
acknowledgement that comes too early, a number that is off by one.
The run applies it to a copy of the tree and runs the tests that the patch names, up to
the first that fails. A test that never ends has noticed as well.
What no test notices is a missing test, and makes the run fail.
The patches are in [tests/mutants](../tests/mutants).

"""


class Unfit(Exception):
    """A patch that cannot be tried: it does not apply, or is not written as it has to be."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One way to break the code.

    Args:
        name: The name of its file, without the suffix.
        broken: What is broken, in a sentence.
        promise: What does not hold then.
        tests: The tests that have to notice.
        target: The file that is changed, from the root of the project.
        hunks: Old and new lines of each place that is changed.
    """

    name: str
    broken: str
    promise: str
    tests: tuple[str, ...]
    target: str
    hunks: tuple[tuple[str, str], ...]

    def applied(self, text: str) -> str:
        """
        Return *text* with the change made.

        Raises:
            Unfit: If the old lines are not there, or not just once.
        """
        for old, new in self.hunks:
            found = f"\n{text}".count(f"\n{old}")
            if found != 1:
                raise Unfit(f"its old lines stand {found} times in {self.target}")
            text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
        return text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant. *caught*: by which test; None when by none."""

    mutant: Mutant
    seconds: float
    caught: str | None = None
    hung: bool = False
    problem: str = ""
    """Why it could not be tried."""

    @property
    def good(self) -> bool:
        """Whether a test has noticed."""
        return self.caught is not None and not self.problem

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if self.caught is None:
            return "SURVIVED"
        return f"{'hangs in' if self.hung else 'caught by'} {self.caught}"


def parse(path: Path) -> Mutant:
    """
    Return the mutant in the file at *path*.

    Raises:
        Unfit: If it is not written as it has to be.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) < 5:
        raise Unfit("is no patch")
    broken, _, promise = lines[0].partition(_PROMISE)
    if not (broken.endswith(".") and promise.endswith(".")):
        raise Unfit(f"the first line says '<what is broken>.{_PROMISE}<which one>.'")
    tests = tuple(lines[1].removeprefix(_TESTS).split())
    if not lines[1].startswith(_TESTS) or not tests:
        raise Unfit(f"the second line says '{_TESTS}<files or tests>'")
    if lines[2][:6] != "--- a/" or lines[3][:6] != "+++ b/" or lines[2][6:] != lines[3][6:]:
        raise Unfit("changes one file, and names it")
    return Mutant(path.stem, broken, promise, tests, lines[2][6:], tuple(_hunks(lines[4:])))


def _hunks(lines: Sequence[str]) -> Iterable[tuple[str, str]]:
    old: list[str] = []
    new: list[str] = []
    for line in (*lines[1:], "@@"):
        sign, rest = line[:1], f"{line[1:]}\n"
        if sign == "@":
            yield "".join(old), "".join(new)
            old, new = [], []
            continue
        if sign not in {"", " ", "-", "+"}:
            raise Unfit(f"has a line that belongs into no patch: {line!r}")
        if sign != "+":
            old.append(rest)
        if sign != "-":
            new.append(rest)


def mutants(words: Sequence[str] = ()) -> list[Mutant]:
    """
    Return the mutants whose names have one of *words* in them; all without any.

    Raises:
        Unfit: If one is not written as it has to be; the message names it.
    """
    found = []
    for path in sorted(PATCHES.glob("*.patch")):
        if words and not any(word in path.stem for word in words):
            continue
        try:
            found.append(parse(path))
        except Unfit as problem:
            raise Unfit(f"{path.relative_to(ROOT)}: {problem}") from None
    return found


def changed(mutant: Mutant, root: Path) -> str:
    """
    Return the file of *mutant* below *root* as it is when broken.

    Raises:
        Unfit: If the patch does not apply, or leaves the code as it is.
    """
    before = (root / mutant.target).read_text(encoding="utf-8")
    after = mutant.applied(before)
    try:
        code = _code(after)
    except SyntaxError as error:
        raise Unfit(f"makes no Python: {error}") from None
    if code == _code(before):
        raise Unfit("changes no code")
    return after


@lru_cache(maxsize=64)
def _code(text: str) -> str:
    """Return what is left of *text* without comments and layout."""
    return ast.dump(ast.parse(text))


class Copy:
    """A copy of the tree to break things in."""

    def __init__(self, place: Path) -> None:
        self.place = place
        # What is broken is Python: nothing compiled may stand in front of it.
        ignored = shutil.ignore_patterns("__pycache__", "*.patch", "*.so")
        for name in _TREE:
            shutil.copytree(ROOT / name, place / name, ignore=ignored)
        for name in _FILES:
            shutil.copy2(ROOT / name, place / name)

    def attempt(self, mutant: Mutant, seconds: float) -> Verdict:
        """Return what becomes of *mutant* here."""
        began = monotonic()
        file = self.place / mutant.target
        try:
            broken = changed(mutant, self.place)
        except (Unfit, FileNotFoundError) as problem:
            return Verdict(mutant, 0.0, problem=f"does not apply: {problem}")
        whole = file.read_text(encoding="utf-8")
        _write(file, broken)
        try:
            status, output = self.test(mutant.tests, seconds, "-x")
        finally:
            _write(file, whole)
        return replace(_judge(mutant, status, output), seconds=monotonic() - began)

    def test(self, tests: Iterable[str], seconds: float, *options: str) -> tuple[int | None, str]:
        """Run *tests*; return their exit status, None after *seconds*, and what they print."""
        with subprocess.Popen(
            [
                sys.executable, "-m", "pytest", "-v", "-rfE", "--tb=no", "--no-header",
                "-p", "no:cacheprovider", f"--timeout={_TEST_SECONDS}", *options, *tests,
            ],
            cwd=self.place, env={**os.environ, "PYTHONPATH": str(self.place)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                # With what it has started: a test may run programs.
                os.killpg(process.pid, signal.SIGKILL)
                return None, process.communicate()[0]
            return process.returncode, output


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    # What was compiled before would look fresh, if it has the same size and second.
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


def _judge(mutant: Mutant, status: int | None, output: str) -> Verdict:
    failed, started = _FAILED.search(output), _STARTED.findall(output)
    hung = status is None or "+ Timeout +" in output
    if hung and started:
        return Verdict(mutant, 0.0, _short(started[-1]), hung=True)
    if status == 0 and _SUMMARY.search(output):
        return Verdict(mutant, 0.0)
    if status == 1 and failed:
        return Verdict(mutant, 0.0, _short(failed[1]))
    if status is not None and status < 0 and started:
        return Verdict(mutant, 0.0, f"{_short(started[-1])} (signal {-status})")
    # It could not be imported, or its tests are not there: nobody has noticed anything.
    last = output.strip().splitlines()[-1:]
    return Verdict(mutant, 0.0, problem=f"cannot be tried, exit {status}: {''.join(last)}")


def _short(test: str) -> str:
    name = _NAMED.search(test)
    return f"{test.partition('::')[0]}::{name[1]}" if name else test


def _all_tests(chosen: Iterable[Mutant]) -> list[str]:
    """Return the tests of all mutants, each once."""
    named = {test for mutant in chosen for test in mutant.tests}
    return sorted(test for test in named if test.partition("::")[0] not in named - {test})


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the page that shows *verdicts*."""
    rows = [
        f"| {verdict.mutant.broken} | {verdict.mutant.promise} | {_cell(verdict)} |"
        for verdict in verdicts
    ]
    caught = sum(verdict.good for verdict in verdicts)
    return (
        f"{_HEAD}{caught} of {len(verdicts)} are caught.\n\n"
        "| what is broken | what does not hold then | who notices |\n|---|---|---|\n"
        + "".join(f"{row}\n" for row in rows)
    )


def _cell(verdict: Verdict) -> str:
    if not verdict.good:
        return f"**{verdict}**"
    assert verdict.caught is not None
    file, _, name = verdict.caught.partition("::")
    told = f"[{name or file}](../{file}), {verdict.seconds:.0f} s"
    return f"{told}, by a hang" if verdict.hung else told


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0].strip())
    parser.add_argument("-k", dest="words", action="append", default=[], metavar="WORD")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=_MUTANT_SECONDS, help="for one mutant")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Try the mutants; return 1 when one is not caught, 2 when nothing could be tried."""
    asked = _arguments(arguments)
    try:
        chosen = mutants(asked.words)
    except Unfit as problem:
        print(problem)
        return 2
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="hydra-mutants-") as place:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(max(1, asked.jobs)):
            copies.put(Copy(Path(place) / str(number)))
        print(f"{len(chosen)} mutants, and the tests without any", flush=True)
        verdicts, failures = _try(chosen, copies, asked.seconds)
    if failures:
        print(f"{failures}\nthe tests do not pass without a mutant, so they can prove nothing")
        return 2
    bad = [verdict for verdict in verdicts if not verdict.good]
    for verdict in bad:
        print(f"{verdict.mutant.name}: {verdict}\n  {verdict.mutant.broken}")
    if not asked.words:
        PAGE.write_text(page(verdicts), encoding="utf-8")
    caught = len(verdicts) - len(bad)
    print(f"{caught} of {len(verdicts)} mutants caught in {monotonic() - began:.0f} s")
    return int(bool(bad))


def _failures(copy: Copy, tests: Sequence[str]) -> str:
    """Return what pytest says of *tests* that fail without a mutant, and again the second time."""
    for _ in range(2):
        status, output = copy.test(tests, _BASELINE_SECONDS)
        if status == 0:
            return ""
        # A machine that was busy with something else may have upset one of them.
        tests = _FAILED.findall(output) or tests
    return "\n".join(output.strip().splitlines()[-20:])


def _try(
    chosen: Sequence[Mutant], copies: SimpleQueue[Copy], seconds: float
) -> tuple[list[Verdict], str]:
    """Return what became of each mutant, and what fails without any."""

    def attempt(mutant: Mutant) -> Verdict:
        copy = copies.get()
        try:
            return copy.attempt(mutant, seconds)
        finally:
            copies.put(copy)

    def failures() -> str:
        copy = copies.get()
        try:
            return _failures(copy, _all_tests(chosen))
        finally:
            copies.put(copy)

    found: dict[str, Verdict] = {}
    with ThreadPoolExecutor(copies.qsize()) as pool:
        # The longest job first, so that no other has to wait for it in the end.
        plain = pool.submit(failures)
        for done in as_completed([pool.submit(attempt, mutant) for mutant in chosen]):
            verdict = done.result()
            found[verdict.mutant.name] = verdict
            count = f"{len(found):3}/{len(chosen)}"
            print(f"{count} {verdict.seconds:5.1f} s  {verdict.mutant.name}: {verdict}", flush=True)
        return [found[mutant.name] for mutant in chosen], plain.result()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
