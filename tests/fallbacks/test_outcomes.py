from __future__ import annotations

import math

import pytest

from fallbacks import DELIVERED, Delivered, Partial, Permanent, Retryable, Unknown
from fallbacks.outcomes import Outcome, outcome_of, outcome_of_error, taken_of

pytestmark = pytest.mark.unit


class OwnRetryable(Retryable):
    """What a tier may define for itself."""


@pytest.mark.parametrize(
    "answer",
    [
        DELIVERED,
        Delivered(0),
        Delivered(3),
        Partial([0, 2]),
        Partial([], Permanent("no")),
        Partial((1,), Unknown()),
        Retryable("busy", 2.5),
        Retryable("busy", 0),
        Permanent(),
        Unknown("lost"),
        OwnRetryable("mine"),
    ],
)
def test_honest_answers_are_believed(answer: object) -> None:
    """
    An outcome that can be true of the batch is taken as it is.
    """
    assert answer == outcome_of(answer, 3)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        3,
        "delivered",
        Delivered,
        Delivered(4),
        Delivered(-1),
        Delivered(1.5),  # type: ignore[arg-type]
        Delivered("all"),  # type: ignore[arg-type]
        Partial([3]),
        Partial([-1]),
        Partial([0, 0]),
    ],
)
def test_impossible_answers_count_as_nothing_taken(answer: object) -> None:
    """
    Believing a tier that claims the impossible may lose lines; asking again only repeats them.
    """
    found = outcome_of(answer, 3)

    assert isinstance(found, Retryable)
    assert isinstance(found.error, str)


def test_doubtful_rest_of_a_partial_answer_is_retryable() -> None:
    """
    The lines that were taken stay taken, whatever is said of the others.
    """
    found = outcome_of(Partial([1], "later"), 3)  # type: ignore[arg-type]

    assert Partial([1], Retryable("tier answered str for the other lines")) == found


@pytest.mark.parametrize("after", [math.inf, math.nan, -1.0, "soon", -math.inf])
def test_delay_that_nobody_can_wait_for_is_left_out(after: object) -> None:
    """
    A receiver that asks for an impossible delay gets the usual one, also inside a partial answer.
    """
    answer = Retryable("busy", after)  # type: ignore[arg-type]

    assert Retryable("busy") == outcome_of(answer, 3)
    assert Partial([0], Retryable("busy")) == outcome_of(Partial([0], answer), 3)


@pytest.mark.parametrize(
    "error", [OSError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()]
)
def test_what_a_tier_raises_is_retryable(error: BaseException) -> None:
    """
    An exception says nothing about the lines, so they may be tried again; it is kept.
    """
    assert Retryable(error) == outcome_of_error(error)


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (DELIVERED, [0, 1, 2]),
        (Delivered(2), [0, 1]),
        (Delivered(0), []),
        (Partial([2, 0]), [2, 0]),
        (Retryable(), []),
        (Permanent(), []),
        (Unknown(), []),
    ],
)
def test_taken_lines_are_those_an_answer_names(answer: Outcome, taken: list[int]) -> None:
    """
    What was not said to be taken was not taken.
    """
    assert taken == list(taken_of(answer, 3))
