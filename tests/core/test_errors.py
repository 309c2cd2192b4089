from __future__ import annotations

import json
import sys
import traceback

import pytest

from hydra.core import errors
from hydra.core.errors import exception_tag

pytestmark = pytest.mark.unit


class Cancelled(BaseException):
    pass


class Raises(Exception):
    def __init__(self, error):
        self.error = error

    def __str__(self):
        raise self.error


class NoName(type):
    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise ZeroDivisionError
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=NoName):
    pass


class OddName(type):
    def __getattribute__(cls, name):
        return 5 if name == "__qualname__" else super().__getattribute__(name)


class Odd(Exception, metaclass=OddName):
    pass


def decode(tag):
    """Return what the tag adds to a line."""
    return json.loads(b'{"x":1' + tag + b"}")["exception"]


def raised(error, cause=None):
    """Return *error* after it was raised."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("kind", ["true", "exception", "tuple", "one"])
def test_exception_is_shown(kind):
    """
    True, an exception and a tuple all give type, message and stack trace.
    """
    try:
        raise ValueError("bad")
    except ValueError as error:
        given = {"true": True, "exception": error, "tuple": sys.exc_info(), "one": 1}[kind]
        found = decode(exception_tag(given))

    assert ("ValueError", "bad", []) == (found["type"], found["message"], found["causes"])
    assert found["stacktrace"].startswith("Traceback (most recent call last):\n  File ")
    assert found["stacktrace"].endswith("ValueError: bad")


@pytest.mark.parametrize("given", [None, False, True, 0, (None, None, None), (1,)])
def test_no_exception(given):
    """
    Without an exception nothing is added.
    """
    assert b"" == exception_tag(given)


def test_tuple_without_traceback():
    """
    A tuple whose traceback is missing is shown without one.
    """
    found = decode(exception_tag((ValueError, ValueError("bad"), None)))

    assert "ValueError: bad" == found["stacktrace"]


def test_causes_are_listed():
    """
    The explicit cause goes before the context, nearest first.
    """
    first = raised(KeyError("k"))
    second = raised(OSError("o"), first)
    third = raised(Cancelled("c"), second)
    found = decode(exception_tag(third))

    assert f"{__name__}.Cancelled" == found["type"]
    assert [("OSError", "o"), ("KeyError", "'k'")] == [
        (cause["type"], cause["message"]) for cause in found["causes"]
    ]
    assert "direct cause" in found["stacktrace"]


def test_suppressed_context_is_no_cause():
    """
    `raise ... from None` hides what came before.
    """
    error = raised(ValueError("bad"))
    error.__context__ = KeyError("k")
    error.__suppress_context__ = True
    hidden = decode(exception_tag(error))["causes"]
    error.__suppress_context__ = False

    assert [] == hidden
    assert [{"type": "KeyError", "message": "'k'"}] == decode(exception_tag(error))["causes"]


def test_causes_that_form_a_circle():
    """
    A chain that comes back to itself ends there; a long one after eight.
    """
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    chain = ValueError("end")
    for _ in range(20):
        following = ValueError("x")
        following.__cause__ = chain
        chain = following

    assert [b] == errors.causes_of(a)
    assert 8 == len(errors.causes_of(chain))
    assert "b" == decode(exception_tag(a))["causes"][0]["message"]


def test_groups_and_notes_are_shown():
    """
    The stack trace holds the members of a group and the notes of an exception.
    """
    error = ExceptionGroup("several", [ValueError("one"), raised(KeyError("two"))])
    error.add_note("see the manual")
    found = decode(exception_tag(raised(error)))["stacktrace"]

    assert all(part in found for part in ("ValueError: one", "KeyError: 'two'", "see the manual"))


@pytest.mark.parametrize("inner", [ZeroDivisionError(), RecursionError(), Cancelled()])
def test_exception_that_raises(inner):
    """
    An exception whose text cannot be made still has its type and its stack trace.
    """
    found = decode(exception_tag(raised(Raises(inner))))

    assert f"{__name__}.Raises" == found["type"]
    assert f"<unprintable Raises: {type(inner).__name__}>" == found["message"]
    assert "in raised" in found["stacktrace"]


@pytest.mark.parametrize("inner", [KeyboardInterrupt, SystemExit])
def test_signals_pass(inner):
    """
    KeyboardInterrupt and SystemExit pass.
    """
    with pytest.raises(inner):
        exception_tag(raised(Raises(inner())))


def test_traceback_module_fails(monkeypatch):
    """
    When Python cannot format the exception, its frames and its message are still shown.
    """

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(traceback, "TracebackException", fail)
    failure = RecursionError()
    found = errors.stack_text(error := raised(ValueError("bad")), error.__traceback__)
    failure = KeyboardInterrupt()

    assert "in raised" in found
    assert found.endswith("ValueError: bad\n[formatting failed: RecursionError]")
    with pytest.raises(KeyboardInterrupt):
        errors.stack_text(error, None)


def test_nameless_type():
    """
    A type that refuses its name is shown by its plain one.
    """
    assert "Nameless" == errors.qualified(Nameless())
    assert "Odd" == errors.qualified(Odd())


def test_end_of_the_stack(monkeypatch):
    """
    Where not even the containment can run, a constant stands for the exception.
    """

    def fail(error, trace):
        raise RecursionError

    monkeypatch.setattr(errors, "_tag", fail)

    assert "<unprintable>" == decode(exception_tag(ValueError()))["type"]


def test_locals_are_not_shown():
    """
    Values of local variables do not get into the record.
    """

    def fail():
        harmless = "hunter" + "2"
        raise ValueError(len(harmless))

    with pytest.raises(ValueError) as caught:
        fail()

    assert b"hunter2" not in exception_tag(caught.value)


@pytest.mark.parametrize("text", ["x" * 10**6, "\x00" * 10**6, "é" * 10**6, "\ud800" * 10**6])
def test_large_exception_is_bounded(text):
    """
    The whole stays below 40 KiB and valid, whatever its text is made of.
    """
    error = raised(ValueError(text), raised(KeyError(text)))
    tag = exception_tag(error)

    assert len(tag) < 40_000
    assert decode(tag)["message"].endswith("...")


def test_deep_stack_keeps_both_ends():
    """
    A long stack trace loses its middle and says how much.
    """

    def descend(n):
        if n == 0:
            raise ValueError("bottom")
        descend(n - 1)

    def other(n):
        (descend if n == 0 else third)(n)

    def third(n):
        other(n - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        other(200)
    found = decode(exception_tag(caught.value))["stacktrace"]

    assert len(found) < 17_000
    assert found.endswith("ValueError: bottom")
    assert "abc\n  [... 4 characters left out ...]\nhij" == errors.without_middle("abcdefghij", 6)
