from __future__ import annotations

import threading

import pytest

from fallbacks import Ticket
from fallbacks.ticket import Section

pytestmark = pytest.mark.unit


def test_one_holder_at_a_time() -> None:
    """
    A ticket that is held cannot be had, neither at once nor by waiting a while.
    """
    ticket = Ticket()

    assert (False, True, True) == (ticket.held, ticket.acquire(), ticket.held)
    assert (False, False) == (ticket.acquire(0), ticket.acquire(0.001))

    ticket.release()

    assert (True, False) == (ticket.acquire(0), ticket.acquire(0))


def test_holder_outside_of_a_section_cannot_be_robbed() -> None:
    """
    Between two calls the holder is at work on the plan; nobody may cut in.
    """
    ticket = Ticket()
    ticket.acquire()
    section = ticket.enter(1.0)
    ticket.leave(section)

    assert (False, 0, None) == (ticket.steal(), ticket.stolen, ticket.section)


def test_holder_learns_that_its_ticket_is_gone() -> None:
    """
    Inside a section the ticket can be stolen once; the holder finds out when it leaves.
    """
    ticket = Ticket()
    ticket.acquire()
    section = ticket.enter(1.0)

    assert (True, False, False) == (ticket.steal(), ticket.steal(), ticket.leave(section))
    assert (True, 1, None) == (ticket.held, ticket.stolen, ticket.section)


def test_old_holder_does_not_disturb_the_section_of_the_thief() -> None:
    """
    What is left belatedly is the old section, not the one under way.
    """
    ticket = Ticket()
    ticket.acquire()
    old = ticket.enter(1.0)
    ticket.steal()
    new = ticket.enter(2.0)
    ticket.leave(old)

    assert (new, True) == (ticket.section, ticket.leave(new))


def test_thief_that_looked_too_early_gets_nothing() -> None:
    """
    A section that was left meanwhile cannot be claimed any more.
    """

    class Interrupted(Ticket):
        """Its holder leaves between the look of a thief and the grip."""

        __slots__ = ("looked",)

        def __getattribute__(self, name: str) -> object:
            found = super().__getattribute__(name)
            if name == "section" and isinstance(found, Section):
                self.leave(found)
            return found

    ticket = Interrupted()
    ticket.acquire()
    ticket.enter(1.0)

    assert (False, 0) == (ticket.steal(), ticket.stolen)


def test_exactly_one_of_many_thieves_and_the_holder_wins() -> None:
    """
    However many threads claim a section at once, it goes to one.
    """
    ticket = Ticket()
    ticket.acquire()
    rounds, thieves = 300, 3
    barrier = threading.Barrier(thieves + 1, timeout=20)
    wins: list[list[bool]] = [[] for _ in range(thieves + 1)]
    sections: list[Section] = []

    def steal(mine: list[bool]) -> None:
        for _ in range(rounds):
            barrier.wait()
            mine.append(ticket.steal())
            barrier.wait()

    threads = [threading.Thread(target=steal, args=(wins[i],)) for i in range(thieves)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        sections.append(ticket.enter(1.0))
        barrier.wait()
        wins[-1].append(ticket.leave(sections[-1]))
        barrier.wait()
    for thread in threads:
        thread.join()

    assert [1] * rounds == [sum(each) for each in zip(*wins, strict=True)]
    assert sum(map(sum, wins[:-1])) == ticket.stolen


def test_ticket_is_given_back_by_one_call_in_c() -> None:
    """
    Who must not be interrupted while giving back has a function without Python code in it.
    """
    ticket = Ticket()
    ticket.acquire()
    give = ticket.giving_back
    give()

    assert (False, False) == (ticket.held, hasattr(give, "__code__"))
