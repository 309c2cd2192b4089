"""
Cases: rules of a protocol, each with its sentence, tried on anybody's implementation.

Rule 1: a case is tried on a thread of its own and given a bounded time; what hangs
under it is left behind, and the next case is tried.
Rule 2: every case is tried, and what was broken is told together, each with the
sentence of its rule.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Broken(Exception):
    """A rule does not hold; says what was seen."""


class DoesNotApply(Exception):
    """A rule cannot be tried here; says what is missing."""


class Trial(Protocol):
    """What a case is tried on: made anew for each one."""

    def overdue(self) -> str:
        """Let go of what hangs, if that is possible; return what it was."""

    def end(self) -> None:
        """Let go of everything. Called on the thread of the case, after its verdict."""


S_contra = TypeVar("S_contra", contravariant=True)
S = TypeVar("S", bound=Trial)


@dataclass(frozen=True, slots=True)
class Case(Generic[S_contra]):
    """
    One rule, and how it is tried. `str()` gives the name, for the ids of a parametrised test.

    `vital` marks a case without which trying the others makes no sense.
    """

    name: str
    rule: str
    check: Callable[[S_contra], None]
    vital: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: the case that found it, the rule's sentence, and what was seen."""

    case: str
    rule: str
    seen: str

    def __str__(self) -> str:
        return f"{self.case}: {self.rule}\n    seen: {self.seen}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a check found in order: the rules that hold, and those that could not be tried.

    `untried` gives the reason for each, which is mostly an argument that was not given.
    """

    holds: tuple[str, ...]
    untried: dict[str, str]


class Nonconforming(AssertionError):
    """
    Rules are broken; the message has all of them.

    Args:
        what: What was checked.
        violations: The broken rules.
        tried: How many rules were tried.
    """

    def __init__(self, what: str, violations: Sequence[Violation], tried: int) -> None:
        self.violations = tuple(violations)
        self.tried = tried
        listed = "\n".join(f"  {violation}" for violation in violations)
        super().__init__(f"{what} breaks {len(violations)} of {tried} rules:\n{listed}")


def chosen(
    cases: Sequence[Case[S]], given: Iterable[Case[S]] | None, skip: Collection[str]
) -> list[Case[S]]:
    """
    Return the cases to try.

    Raises:
        ValueError: If *skip* names a case that does not exist.
    """
    unknown = sorted(set(skip) - {case.name for case in cases})
    if unknown:
        raise ValueError(
            f"no case is called {unknown[0]!r}; there are {', '.join(map(str, cases))}"
        )
    return [case for case in (cases if given is None else given) if case.name not in skip]


def try_all(
    what: str, make: Callable[[], S], cases: Sequence[Case[S]], *, seconds: float
) -> Verdict:
    """
    Try each case on a fresh trial, each within *seconds*.

    Raises:
        Nonconforming: If a rule is broken.
        ValueError: If *seconds* is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be positive, not {seconds}")
    holds: list[str] = []
    untried: dict[str, str] = {}
    violations: list[Violation] = []
    for at, case in enumerate(cases):
        error = _try(make(), case, seconds)
        if error is None:
            holds.append(case.name)
        elif isinstance(error, DoesNotApply):
            untried[case.name] = str(error)
        else:
            violations.append(Violation(case.name, case.rule, _seen(error)))
            if case.vital:
                untried |= {rest.name: f"{case.name} is broken" for rest in cases[at + 1 :]}
                break
    if violations:
        raise Nonconforming(what, violations, len(holds) + len(violations)) from None
    return Verdict(tuple(holds), untried)


def _try(trial: S, case: Case[S], seconds: float) -> BaseException | None:
    """Return None when the rule of *case* holds, else what says that it does not."""
    verdict: list[BaseException | None] = []
    decided = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            case.check(trial)
        except BaseException as found:
            # Foreign code may raise anything, and all of it is a verdict.
            error = found
        verdict.append(error)
        decided.set()
        trial.end()

    thread = threading.Thread(target=work, name=f"check-{case.name}", daemon=True)
    thread.start()
    if not decided.wait(seconds):
        return Broken(f"nothing within {seconds:g} s: {trial.overdue()}")
    # What closes with difficulty costs the next case nothing but this time.
    thread.join(seconds)
    return verdict[0]


def _seen(error: BaseException) -> str:
    return str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
