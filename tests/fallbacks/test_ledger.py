from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks import Balance, Drops, Range
from fallbacks.testing import FakeClock

pytestmark = pytest.mark.unit


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="drops")
def _drops(clock: FakeClock) -> Drops:
    return Drops(clock)


def test_fresh_tally_has_nothing_to_tell(drops: Drops) -> None:
    """
    Without a drop there is no report.
    """
    assert (0, False, {}, None) == (drops.total, drops.unreported, drops.counts(), drops.report())


def test_neighbours_become_one_range(drops: Drops, clock: FakeClock) -> None:
    """
    Numbers in a row are told as a range; stream, level and reason keep ranges apart.
    """
    for number in (5, 6, 7, 9):
        drops.note("1r", number, "info", "queue_full")
    drops.note("1r", 8, "debug", "queue_full")
    drops.note("1r", 10, "info", "closed")
    drops.note("2r", 10, "info", "queue_full")
    report = drops.report()

    assert report is not None
    assert (
        Range("1r", 5, 7, 3, "info", "queue_full"),
        Range("1r", 9, 9, 1, "info", "queue_full"),
        Range("1r", 8, 8, 1, "debug", "queue_full"),
        Range("1r", 10, 10, 1, "info", "closed"),
        Range("2r", 10, 10, 1, "info", "queue_full"),
    ) == report.ranges
    assert 7 == report.count
    assert {
        ("info", "queue_full"): 5,
        ("debug", "queue_full"): 1,
        ("info", "closed"): 1,
    } == drops.counts()


def test_report_spans_from_first_drop_to_now(drops: Drops, clock: FakeClock) -> None:
    """
    The time span of a report begins with its first drop, not with the one before.
    """
    drops.note("1r", 1, "info", "x")
    drops.report()
    clock.advance(5.0)
    began = clock.time_ns()
    drops.note("1r", 2, "info", "x")
    clock.advance(1.0)
    drops.note("1r", 3, "info", "x")
    report = drops.report()

    assert report is not None
    assert (began, clock.time_ns()) == (report.since, report.until)


def test_each_drop_is_reported_once(drops: Drops) -> None:
    """
    A report takes what it tells; totals go on.
    """
    drops.note("1r", 1, "info", "x")

    assert drops.unreported
    assert drops.report() is not None
    assert not drops.unreported
    assert None is drops.report()

    drops.note("1r", 2, "info", "x")
    report = drops.report()

    assert report is not None
    assert (1, (Range("1r", 2, 2, 1, "info", "x"),), 2) == (
        report.count,
        report.ranges,
        drops.total,
    )


def test_ranges_grow_coarse_when_there_are_too_many(drops: Drops) -> None:
    """
    The number of ranges is bounded; the last one widens, and its count stays exact.
    """
    for number in range(1, 1001, 2):
        drops.note("1r", number, "info", "x")
    drops.note("1r", 2, "info", "x")
    report = drops.report()

    assert report is not None
    assert 256 == len(report.ranges)
    assert (501, 501) == (report.count, sum(each.count for each in report.ranges))
    assert Range("1r", 2, 999, 246, "info", "x") == report.ranges[-1]


def test_coarse_ranges_of_one_report_do_not_last(drops: Drops) -> None:
    """
    The next report tells single numbers again.
    """
    for number in range(1, 1001, 2):
        drops.note("1r", number, "info", "x")
    drops.report()
    drops.note("1r", 2001, "info", "x")
    report = drops.report()

    assert report is not None
    assert (Range("1r", 2001, 2001, 1, "info", "x"),) == report.ranges


def test_note_in_the_middle_of_a_fold_is_kept(clock: FakeClock) -> None:
    """
    A signal handler that drops a record while another drop is being counted is not lost.
    """

    class Interrupting(FakeClock):
        numbers = iter((101, 102, 103))

        def time_ns(self) -> int:
            for number in self.numbers:
                drops.note("1r", number, "info", "handler")
            return super().time_ns()

    drops = Drops(Interrupting())
    drops.note("1r", 1, "info", "x")

    assert {("info", "x"): 1, ("info", "handler"): 3} == drops.counts()
    assert 4 == drops.total


def test_report_that_interrupts_a_fold_waits_for_the_next_time(clock: FakeClock) -> None:
    """
    A report asked for inside of a fold finds the tally in use and tells nothing yet.
    """
    inner: list[object] = []

    class Asking(FakeClock):
        def time_ns(self) -> int:
            if not inner:
                inner.append(None)
                inner.append(drops.report())
            return super().time_ns()

    drops = Drops(Asking())
    drops.note("1r", 1, "info", "x")
    report = drops.report()

    assert [None, None] == inner
    assert report is not None
    assert 1 == report.count


def test_notes_of_many_threads_and_of_a_signal_handler_all_count(drops: Drops) -> None:
    """
    Nothing is lost or told twice, whoever drops and whoever reports meanwhile.
    """
    each, threads, signals = 1500, 8, 200
    start = threading.Barrier(threads + 1, timeout=20)
    handled = iter(range(1, signals + 1))
    reports = []

    def work(stream: str) -> None:
        start.wait()
        for number in range(1, each + 1):
            drops.note(stream, number, "info", "queue_full")

    def handle(*_: object) -> None:
        for number in handled:
            drops.note("9r", number, "error", "queue_full")
            break

    before = signal.signal(signal.SIGUSR1, handle)
    workers = [threading.Thread(target=work, args=(f"{n}r",)) for n in range(threads)]
    try:
        for worker in workers:
            worker.start()
        start.wait()
        for number in range(1, signals + 1):
            os.kill(os.getpid(), signal.SIGUSR1)
            drops.note("8r", number, "info", "queue_full")
            reports.append(drops.report())
        for worker in workers:
            worker.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    reports.append(drops.report())
    told = [r for report in reports if report is not None for r in report.ranges]
    counted: Counter[str] = Counter()
    for r in told:
        counted[r.stream] += r.count

    assert {f"{n}r": each for n in range(threads)} | {"8r": signals, "9r": signals} == counted
    assert all(r.count == r.last - r.first + 1 for r in told)
    assert threads * each + 2 * signals == drops.total
    assert sum(report.count for report in reports if report is not None) == drops.total


def _uncovered(dropped: set[int], ranges: tuple[Range, ...]) -> Iterator[str]:
    """Yield what an audit would find wrong: exact ranges first, then coarse ones by their count."""
    rest = set(dropped)
    for r in ranges:
        numbers = {n for n in dropped if r.first <= n <= r.last}
        if r.count > r.last - r.first + 1:
            yield f"{r} counts more than it spans"
        if r.count == r.last - r.first + 1:
            if len(numbers) != r.count:
                yield f"{r} claims numbers that are there"
            rest -= numbers
    coarse = [[r.last, r.count, r.first] for r in ranges if r.count != r.last - r.first + 1]
    for number in sorted(rest):
        # To the range that ends first, as an audit does: no way of sharing out covers more.
        fitting = [each for each in coarse if each[2] <= number <= each[0] and each[1]]
        if fitting:
            min(fitting)[1] -= 1
            rest.discard(number)
    if rest:
        yield f"{sorted(rest)} are missing and not declared"


@given(
    st.permutations(range(1, 60)),
    st.integers(0, 59),
    st.integers(1, 6),
    st.lists(st.integers(0, 59), max_size=3),
)
def test_declared_numbers_are_the_dropped_ones(
    order: list[int], size: int, most: int, reported_after: list[int]
) -> None:
    """
    In whatever order drops come in, an audit finds each of them declared, and no other.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fallbacks.ledger._RANGES", most)
        drops, told = Drops(FakeClock()), []
        for at, number in enumerate(order[:size]):
            drops.note("1r", number, "info", "x")
            if at in reported_after:
                told.append(drops.report())
        told.append(drops.report())
    dropped = set(order[:size])
    ranges = tuple(r for report in told if report is not None for r in report.ranges)

    assert [] == list(_uncovered(dropped, ranges))
    assert size == sum(r.count for r in ranges) == drops.total
    assert all(len(report.ranges) <= most for report in told if report is not None)


def test_balance_tells_what_is_lost() -> None:
    """
    What no place accounts for is the difference of both ways of counting.
    """
    good = Balance(10, 5, 3, 2, 1, {})
    bad = Balance(10, 5, 3, 1, 1, {})
    twice = Balance(10, 6, 3, 2, 1, {})

    assert [(0, True), (1, False), (-1, False)] == [
        (each.lost, each.balanced) for each in (good, bad, twice)
    ]


def test_deferred_note_counts_when_it_is_folded(drops: Drops) -> None:
    """
    A caller that must not be interrupted notes by one call in C; the next reader counts it.
    """
    drops.defer(("1r", 7, "info", "x"))

    assert not hasattr(drops.defer, "__code__")
    assert (1, {("info", "x"): 1}) == (drops.total, drops.counts())


def test_note_interrupted_in_the_middle_is_counted_once() -> None:
    """
    A signal handler that raises while a drop is being counted costs no count.
    """

    class Raising(FakeClock):
        left = 1

        def time_ns(self) -> int:
            if self.left:
                self.left -= 1
                raise KeyboardInterrupt
            return super().time_ns()

    drops = Drops(Raising())
    with pytest.raises(KeyboardInterrupt):
        drops.note("1r", 1, "info", "x")
    drops.note("1r", 2, "info", "x")
    report = drops.report()

    assert report is not None
    assert (Range("1r", 1, 2, 2, "info", "x"),) == report.ranges
    assert 2 == drops.total


def test_fold_is_left_to_whoever_is_at_it(drops: Drops) -> None:
    """
    While the tally is in use a note waits, and nobody waits for it.
    """
    drops._folding.acquire()
    drops.note("1r", 1, "info", "x")

    assert (0, None) == (drops.total, drops.report())

    drops._folding.release()

    assert 1 == drops.total
