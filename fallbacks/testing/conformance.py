"""
Conformance: one call that tries anybody's tier against the rules chains rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from ..tier import Tier
from ._cases import Broken, Case, Nonconforming, Verdict, Violation, chosen, try_all
from ._subject import Lines, Subject, plain_line, taken_from
from ._tier_rules import TIER_CASES

__all__ = [
    "Broken",
    "Case",
    "Nonconforming",
    "Subject",
    "TierCase",
    "Verdict",
    "Violation",
    "check_subject",
    "check_tier",
    "chosen",
    "taken_from",
    "tier_cases",
    "try_all",
]

T = TypeVar("T", bound=Tier)
TierCase: TypeAlias = Case[Subject[Any]]


def tier_cases() -> tuple[TierCase, ...]:
    """Return the rules of a tier, for a parametrised test: one at a time to `check_tier`."""
    return TIER_CASES


def check_tier(
    make: Callable[[], T],
    *,
    received: Callable[[T], Iterable[bytes]] | None = None,
    fail: Callable[[T], object] | None = None,
    hang: Callable[[T], object] | None = None,
    heal: Callable[[T], object] | None = None,
    lines: Lines = plain_line,
    seconds: float = 3.0,
    cases: Iterable[TierCase] | None = None,
    skip: Collection[str] = (),
) -> Verdict:
    """
    Try the rules of `fallbacks.tier` on the tiers that *make* makes, a fresh one for each.

    The more it is told, the more it can try; `Verdict.untried` says what it could
    not. Each rule is tried on a thread of its own, an async tier on an asyncio loop
    of its own there. A tier that hangs costs *seconds* and its rule; the thread
    that hangs in it is left behind.

    Args:
        make: Makes a tier whose receiver is well.
        received: Returns the lines that the tier's receiver has by now, in order;
            lines of others among them are ignored. May wait for what is under way.
        fail: Has the receiver of the tier refuse everything from now on.
        hang: Has the receiver answer nobody from now on.
        heal: Ends both, and answers those who wait. Called on any thread.
        lines: Makes a line out of a number and a least size in bytes, where the tier
            does not take just any line; the same number never comes twice.
        seconds: How long one rule may take, at most, the reading back included.
        cases: The rules to try, from `tier_cases`; all when None.
        skip: Names of rules to leave out.

    Raises:
        Nonconforming: If rules are broken, an `AssertionError`. Its message has each
            of them with what was seen.
        ValueError: If *skip* names no rule, or *seconds* is not positive.
    """
    return check_subject(
        make,
        lambda made: made,
        {"received": received, "fail": fail, "hang": hang, "heal": heal},
        lines=lines,
        seconds=seconds,
        cases=chosen(TIER_CASES, cases, skip),
    )


def check_subject(
    make: Callable[[], Any],
    tier_of: Callable[[Any], Tier],
    hooks: Mapping[str, Callable[[Any], Any] | None],
    *,
    lines: Lines,
    seconds: float,
    cases: list[TierCase],
) -> Verdict:
    """Try *cases* on what *make* makes and *tier_of* makes a tier of; a hook may be None."""
    given = {name: hook for name, hook in hooks.items() if hook is not None}
    names: list[str] = []

    def named() -> Any:
        made = make()
        names.append(getattr(made, "__name__", type(made).__name__))
        return made

    def subject() -> Subject[Any]:
        return Subject(named, tier_of, given, lines, seconds)

    try:
        return try_all("", subject, cases, seconds=seconds)
    except Nonconforming as broken:
        what = names[0] if names else "what could not be made"
        raise Nonconforming(what, broken.violations, broken.tried) from None
