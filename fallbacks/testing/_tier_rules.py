"""
The rules of a tier, as cases: what a chain relies on.

Each function tries one rule on a fresh `Subject`, raises `Broken` with what it saw, and
returns where the rule holds. The table at the end gives each its sentence.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, TypeAlias, cast

from ..batch import Batch
from ..outcomes import Outcome
from ..tier import AsyncTier, Kind
from ..tiers.callable import is_coroutine_function
from ._cases import Broken, Case, DoesNotApply
from ._deliveries import SHARE, agrees, arrived, deliver, delivers_in_time, whole_or_refused
from ._leaks import leaks_since, snapshot
from ._noise import listening
from ._subject import STALL, Subject, honest, plain_line, taken_from

Tried: TypeAlias = Subject[Any]

# Rounds of the event loop after which a write is cancelled, one write for each.
_ROUNDS: Final = 6
_LARGE: Final = 64 * 1024
_MANY: Final = 1000


# What a tier is.


def _can_be_made(s: Tried) -> None:
    try:
        _ = s.made
    except BaseException as error:
        raise Broken(f"making it raised {error!r}") from error


def _is_one_kind(s: Tried) -> None:
    tier = s.tier
    closers = [name for name in ("close", "aclose") if hasattr(tier, name)]
    if not callable(getattr(tier, "write", None)) or not closers:
        raise Broken(f"{tier!r} has no write, or neither close nor aclose")
    if is_coroutine_function(tier.write) is not ("aclose" in closers) or len(closers) == 2:
        world = "async" if is_coroutine_function(tier.write) else "plain"
        raise Broken(f"write is {world}, and there is {' and '.join(closers)}")


def _has_name_and_kind(s: Tried) -> None:
    def facts() -> tuple[object, object]:
        return getattr(s.tier, "name", None), getattr(s.tier, "kind", None)

    before = facts()
    if not isinstance(before[0], str) or not before[0] or not isinstance(before[1], Kind):
        raise Broken(f"name is {before[0]!r} and kind is {before[1]!r}")
    s.write(s.batch(1))
    if facts() != before:
        raise Broken(f"they were {before!r} and became {facts()!r} by a write")


def _starts_nothing(s: Tried) -> None:
    before = snapshot()
    s.make()
    # No grace: what is there now was started, however soon it ends.
    left = leaks_since(before, grace=0)
    if left:
        raise Broken("; ".join(left))


def _can_be_made_while_down(s: Tried) -> None:
    s.need("fail")
    _ = s.tier
    s.fail()
    try:
        s.make()
    except BaseException as error:
        raise Broken(f"making it raised {error!r}") from error


# Writing.


def _answers(s: Tried) -> None:
    batch = s.batch(3)
    try:
        answer = s.call(batch)
    except BaseException as error:
        raise Broken(f"write raised {error!r} though its receiver is well") from error
    honest(answer, len(batch))


def _takes_one_line(s: Tried) -> None:
    batch = s.batch(1)
    deliver(s, batch)
    arrived(s, batch)


def _bears_an_empty_batch(s: Tried) -> None:
    before = s.batch(2)
    deliver(s, before)
    blank = s.blank_lines()
    try:
        answer = s.call(s.of([]))
    except BaseException as error:
        raise Broken(f"write raised {error!r}") from error
    honest(answer, 0)
    arrived(s, before)
    if s.blank_lines() > blank:
        raise Broken("the receiver got a blank line")


def _keeps_order(s: Tried) -> None:
    s.need("received")
    batches = [s.batch(7), s.of(tuple(s.batch(5))), s.batch(1), s.batch(7)]
    for batch in batches:
        deliver(s, batch)
    sent = [line for batch in batches for line in batch]
    place = {line: at for at, line in enumerate(sent)}
    places = [place[line] for line in s.received()]
    if places != sorted(places):
        raise Broken(f"of lines 0 to {len(sent) - 1} the receiver has, in this order: {places}")


def _takes_many(s: Tried) -> None:
    batch = s.batch(_MANY)
    deliver(s, batch)
    arrived(s, batch)


def _bears_a_large_line(s: Tried) -> None:
    batch = s.of([*s.batch(1), *s.batch(1, width=_LARGE), *s.batch(1)])
    whole_or_refused(s, batch, [batch[1]])


def _bears_any_bytes(s: Tried) -> None:
    if s.lines_of is not plain_line:
        raise DoesNotApply("the lines are of the author's own making")
    lines = list(s.batch(4))
    odd = (b"\x00\x01\x1b[31m\x7f", b"\xff\xfe\xc3", "\x85\u2028\u202e".encode(), b"\t\x0b\x0c\xa0")
    batch = s.of([line.replace(b"xx", bad, 1) for line, bad in zip(lines, odd, strict=True)])
    whole_or_refused(s, batch, list(batch))


def _takes_possible_duplicates(s: Tried) -> None:
    batch = s.of(list(s.batch(2)), duplicate=True)
    deliver(s, batch)
    arrived(s, batch)


def _leaves_the_batch_alone(s: Tried) -> None:
    for failing in (False, True):
        if failing:
            if not s.has("fail"):
                break
            s.fail()
        batch = s.batch(3)
        before, ids = list(batch.lines), [id(line) for line in batch.lines]
        duplicate = batch.duplicate
        s.write(batch)
        after = [id(line) for line in batch.lines]
        if ids != after or batch.data != b"".join(before) or batch.duplicate is not duplicate:
            raise Broken(f"a batch of {len(before)} lines was changed: {list(batch.lines)!r:.200}")


def _acknowledges_what_arrived(s: Tried) -> None:
    s.need("received")
    for size in (1, 3, 50):
        batch = s.batch(size)
        agrees(s, batch, s.write(batch))


# Failing.


def _reports_failures(s: Tried) -> None:
    s.need("fail")
    deliver(s, s.batch(1))
    s.fail()
    for size in (1, 3):
        batch = s.batch(size)
        answer = s.write(batch)
        if s.has("received"):
            agrees(s, batch, answer)
        elif len(taken_from(batch, answer)) == len(batch):
            raise Broken(f"the receiver fails, and the answer to {size} lines was {answer!r}")


def _works_again(s: Tried) -> None:
    s.need("fail", "heal")
    s.fail()
    s.write(s.batch(2))
    s.heal()
    delivers_in_time(s, s.batch(2))


def _is_honest_when_late(s: Tried) -> None:
    if s.runs_on_loop:
        raise DoesNotApply("an async tier is cancelled instead")
    s.need("hang", "heal")
    s.hang()
    batch = s.batch(3)
    answers: list[Outcome | BaseException] = []

    def work() -> None:
        try:
            answers.append(s.write(batch))
        except BaseException as error:
            answers.append(error)

    thread = threading.Thread(target=work, name="check-late", daemon=True)
    thread.start()
    # It may give up by itself, or be on its way to where it hangs: no event tells.
    thread.join(min(0.2, s.seconds * SHARE))
    s.heal()
    thread.join(s.seconds / 2)
    if not answers:
        raise Broken("the receiver has healed, and the write has not returned")
    if isinstance(answers[0], BaseException):
        raise answers[0]
    if s.has("received"):
        agrees(s, batch, answers[0])
    delivers_in_time(s, s.batch(1))


def _stops_when_cancelled(s: Tried) -> None:
    if not s.runs_on_loop:
        raise DoesNotApply("a sync tier is left behind instead")
    tier = cast("AsyncTier", s.tier)

    async def cancelled(rounds: int, batch: Batch) -> Outcome | None:
        task = asyncio.ensure_future(tier.write(batch))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if rounds == _ROUNDS:
            await asyncio.wait({task}, timeout=min(0.1, s.seconds * SHARE))
        task.cancel()
        await asyncio.wait({task}, timeout=s.seconds * SHARE)
        if not task.done():
            raise Broken(f"a write that was cancelled after {rounds} rounds of the loop went on")
        if task.cancelled() or task.exception() is not None:
            return None
        return honest(task.result(), len(batch))

    if s.has("hang") and s.has("heal"):
        s.hang()
    for rounds in range(_ROUNDS + 1):
        batch = s.batch(2)
        answer = s.run(cancelled(rounds, batch))
        if answer is not None and s.has("received"):
            agrees(s, batch, answer)
    if s.has("heal"):
        s.heal()
    delivers_in_time(s, s.batch(1))


def _leaves_the_loop_free(s: Tried) -> None:
    if not s.runs_on_loop:
        raise DoesNotApply("a sync tier runs on a thread")
    for size in (1, _MANY):
        s.write(s.batch(size))
    s.close()
    s.write(s.batch(1))
    if s.stall > STALL:
        raise Broken(f"the loop stood still for {s.stall:.2g} s")


def _is_bound_to_no_thread(s: Tried) -> None:
    if s.runs_on_loop:
        raise DoesNotApply("an async tier stays on its loop")
    for at in ("first", "second"):
        answers: list[Outcome | BaseException] = []
        batch = s.batch(1)

        def work(batch: Batch = batch, answers: list[Outcome | BaseException] = answers) -> None:
            try:
                answers.append(s.write(batch))
            except BaseException as error:
                answers.append(error)

        thread = threading.Thread(target=work, name=f"check-{at}", daemon=True)
        thread.start()
        thread.join()
        if isinstance(answers[0], BaseException) or not taken_from(batch, answers[0]):
            raise Broken(f"on a {at} thread the answer to a line was {answers[0]!r}")
    s.close()


# The end.


def _closes_twice(s: Tried) -> None:
    for before in ("the first write", "", "a second time"):
        try:
            s.close()
        except BaseException as error:
            raise Broken(f"closing {before} raised {error!r}".replace("  ", " ")) from error
        if before == "the first write":
            s.write(s.batch(1))


def _tells_after_close(s: Tried) -> None:
    deliver(s, s.batch(1))
    s.close()
    batch = s.batch(2)
    answer = s.write(batch)
    if s.has("received"):
        agrees(s, batch, answer)


def _leaves_nothing(s: Tried) -> None:
    before = snapshot()
    deliver(s, s.batch(2))
    if s.has("fail"):
        s.fail()
        s.write(s.batch(1))
    s.close()
    if s.runs_on_loop:
        tasks = s.run(_others())
        if tasks:
            raise Broken(f"task is not done: {tasks[0]}")
    # Threads of the loop's own executor end with it, and are not the tier's.
    s.leave_loop()
    left = leaks_since(before, grace=s.seconds / 2)
    if left:
        raise Broken("; ".join(left))


async def _others() -> list[str]:
    # One round, in which what was cancelled at the close can end.
    await asyncio.sleep(0)
    return [repr(t) for t in asyncio.all_tasks() if t is not asyncio.current_task()]


def _is_quiet(s: Tried) -> None:
    s.run(asyncio.sleep(0))
    with listening() as heard:
        s.write(s.batch(2))
        if s.has("fail"):
            s.fail()
            s.write(s.batch(1))
        s.close()
    if heard:
        raise Broken("; ".join(heard))


TIER_CASES: Final[tuple[Case[Tried], ...]] = (
    Case("made", "A tier can be made while its receiver is well.", _can_be_made, vital=True),
    Case("one kind", "A tier is sync (write, close) or async (async write, aclose), not a "
          "mixture.", _is_one_kind, vital=True),
    Case("answer", "To every write a tier answers with an outcome that can be true of its "
          "batch.", _answers, vital=True),
    Case("name and kind", "A tier has a name and a Kind, and keeps them.", _has_name_and_kind),
    Case("starts nothing", "Making a tier starts no thread, no task and opens no descriptor.",
          _starts_nothing),
    Case("made while down", "A tier can be made while its receiver is down: a primary that "
          "fails to start must not take its fallbacks with it; the write reports.",
          _can_be_made_while_down),
    Case("one line", "A batch of one line arrives once, as it was given.", _takes_one_line),
    Case("empty batch", "An empty batch is answered, and nothing arrives.",
          _bears_an_empty_batch),
    Case("order", "Lines arrive in the order of their batch, and batches in the order of the "
          "calls.", _keeps_order),
    Case("many lines", "A thousand lines arrive, each once; a tier that takes a part at a time "
          "says which.", _takes_many),
    Case("large line", "A line of 64 KiB arrives whole, or is refused and harms no other.",
          _bears_a_large_line),
    Case("any bytes", "Lines are opaque: they arrive byte by byte as they were given, or are "
          "refused.", _bears_any_bytes),
    Case("possible duplicates", "A batch marked as a possible duplicate is taken like any other.",
          _takes_possible_duplicates),
    Case("batch unchanged", "A batch is never changed: the next tier gets the same one.",
          _leaves_the_batch_alone),
    Case("acknowledgement", "Exactly what is acknowledged has arrived when the write returns.",
          _acknowledges_what_arrived),
    Case("failure", "A failure is raised or answered, never swallowed.", _reports_failures),
    Case("healing", "When its receiver is well again a tier works again.", _works_again),
    Case("late answer", "A write that was left behind answers as honestly as any other, and the "
          "tier works again.", _is_honest_when_late),
    Case("cancellation", "An async write that is cancelled stops, wherever it is, or answers as "
          "honestly as any other, and the tier works again.", _stops_when_cancelled),
    Case("free loop", "An async tier never blocks the event loop.", _leaves_the_loop_free),
    Case("any thread", "Writes come one at a time, and each may come from another thread.",
          _is_bound_to_no_thread),
    Case("close twice", "Closing is idempotent, and harmless before the first write.",
          _closes_twice),
    Case("write after close", "A write after close opens again or says that it does not; nothing "
          "is acknowledged and lost.", _tells_after_close),
    Case("nothing left", "After close no thread, task or descriptor of the tier is left.",
          _leaves_nothing),
    Case("quiet", "A tier reports by its answers: it prints nothing and logs nothing, or a "
          "failing sink would feed itself.", _is_quiet),
)  # fmt: skip
