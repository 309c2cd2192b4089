from __future__ import annotations

import pytest

from fallbacks import Retry

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("failures", "expected"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (10_000, 5.0)]
)
def test_ceiling_doubles_up_to_the_longest(failures: int, expected: float) -> None:
    """
    Each failure doubles what the delay may be, and a huge count does not overflow.
    """
    retry = Retry(base=1.0, longest=10.0, jitter=lambda: 0.5)

    assert expected == retry.delay(failures)


@pytest.mark.parametrize(("after", "expected"), [(None, 0.5), (0.0, 0.5), (0.2, 0.5), (60.0, 60.0)])
def test_receiver_may_ask_for_more(after: float | None, expected: float) -> None:
    """
    `Retry-After` is a minimum, not bound by the longest delay.
    """
    assert expected == Retry(base=1.0, longest=10.0, jitter=lambda: 0.5).delay(1, after)


def test_jitter_is_full_and_differs() -> None:
    """
    Delays spread from zero to the ceiling, so that many clients do not come back together.
    """
    delays = [Retry(base=1.0).delay(1) for _ in range(64)]

    assert all(0.0 <= delay < 1.0 for delay in delays)
    assert min(delays) < 0.5 < max(delays)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base": -0.1}, {"longest": -1.0}])
def test_senseless_arguments_are_refused(wrong: dict[str, float]) -> None:
    """
    No attempt at all, or negative time, is a mistake.
    """
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Retry(**wrong)


def test_least_arguments_are_accepted() -> None:
    """
    One attempt without any delay is a policy.
    """
    assert 0.0 == Retry(attempts=1, base=0.0, longest=0.0).delay(3)
