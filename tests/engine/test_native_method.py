"""
`Logger.info` and the others, compiled: for all who ask, they are the functions they stand for.
"""

from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle
import pydoc
import weakref
from unittest import mock

import pytest

import hydra
from hydra.logger._calls import Calls
from tests._compiled import needs_compiled
from tests.contract.kit import Sink, closed, configure

pytestmark = [pytest.mark.unit, needs_compiled]

METHODS = ["trace", "debug", "info", "warning", "error", "critical", "warn", "fatal"]


@pytest.fixture(name="log")
def _log():
    return hydra.get_logger("shop")


@pytest.mark.parametrize("name", METHODS)
def test_it_is_compiled(name):
    """Every method of a level is the compiled one, its other names too."""
    assert "LevelMethod" == type(vars(Calls)[name]).__name__


@pytest.mark.parametrize("name", METHODS)
def test_attributes_are_those_of_the_function(name):
    """Name, module, annotations, defaults, code and text are the function's."""
    method = vars(Calls)[name]
    function = inspect.unwrap(method)

    assert "function" == type(function).__name__
    for each in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__",
                 "__defaults__", "__kwdefaults__", "__code__", "__globals__"):  # fmt: skip
        assert getattr(function, each) is getattr(method, each) or (
            getattr(function, each) == getattr(method, each)
        )
    assert repr(function) == repr(method)
    with pytest.raises(AttributeError, match="function"):
        _ = method.nothing


def test_signature(log):
    """Tools see the signature of the source, with the logger and without."""
    said = "(self, message: 'object', /, *args: 'object', **fields: 'object') -> 'Receipt'"

    assert said == str(inspect.signature(hydra.Logger.info))
    assert said.replace("self, ", "") == str(inspect.signature(log.info))


def test_inspect_finds_a_function(log):
    """What looks for functions and methods finds one, with its source."""
    assert inspect.isfunction(hydra.Logger.info)
    assert inspect.ismethod(log.info)
    assert inspect.isroutine(hydra.Logger.info)
    assert not inspect.iscoroutinefunction(hydra.Logger.info)
    assert "info" in dict(inspect.getmembers(hydra.Logger, inspect.isfunction))
    assert "def info(self" in inspect.getsource(hydra.Logger.info)


def test_help():
    """`help` shows the method with its signature and its text."""
    out = io.StringIO()
    pydoc.Helper(output=out).help(hydra.Logger)
    shown = out.getvalue()

    assert "info(self, message: 'object', /, *args: 'object', **fields: 'object')" in shown
    assert "Log at level info" in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(log, protocol):
    """It is pickled by its name, and so is the method of a logger with its logger."""
    assert hydra.Logger.info is pickle.loads(pickle.dumps(hydra.Logger.info, protocol))
    if protocol > 1:
        again = pickle.loads(pickle.dumps(log.info, protocol))

        assert (log.name, "info") == (again.__self__.name, again.__name__)


def test_copy(log):
    """A copy of it is itself, as with functions."""
    assert hydra.Logger.info is copy.copy(hydra.Logger.info)
    assert hydra.Logger.info is copy.deepcopy(hydra.Logger.info)
    assert log.info == log.info
    assert hash(log.info) == hash(log.info)


def test_wrapped(log):
    """`functools.wraps` and `partial` take it as they take a function."""

    @functools.wraps(hydra.Logger.info)
    def around(*args, **fields):
        return hydra.Logger.info(*args, **fields)

    assert "info" == around.__name__
    assert inspect.signature(hydra.Logger.info) == inspect.signature(around)
    assert hydra.QUEUED is around(log, "m")
    assert hydra.QUEUED is functools.partial(log.info, a=1)("m")


def test_weak_reference():
    """It can be referred to weakly, which is how signal libraries hold what they call."""

    class Held(hydra.Logger):
        __slots__ = ("__weakref__",)

    held = Held("shop")

    assert hydra.QUEUED is weakref.WeakMethod(held.info)()("m")
    assert hydra.Logger.info is weakref.ref(hydra.Logger.info)()


def test_weak_reference_goes_with_it():
    """A weak reference to one that is gone says so."""
    made = type(vars(Calls)["info"])(lambda self, message: None, 20, hydra.FILTERED)
    gone = []
    weak = weakref.ref(made, gone.append)
    del made

    assert [weak] == gone
    assert weak() is None


def test_mock_with_its_specification():
    """A mock made after a logger takes the calls that a logger takes, and no others."""
    fake = mock.create_autospec(hydra.Logger, instance=True)
    fake.info("order placed", order_id=42)

    fake.info.assert_called_once_with("order placed", order_id=42)
    with pytest.raises(TypeError, match="message"):
        fake.info()


def test_patched(log):
    """What is put in its place is called, and afterwards it is back."""
    with mock.patch.object(hydra.Logger, "info", autospec=True, return_value=1) as fake:
        assert 1 == log.info("m", a=2)

        fake.assert_called_once_with(log, "m", a=2)
    assert hydra.QUEUED is log.info("m")


def test_overridden():
    """A subclass overrides it, and calls it by `super()`."""
    sink = Sink()
    configure(sink)

    class Loud(hydra.Logger):
        __slots__ = ()

        def info(self, message, /, *args, **fields):
            return super().info(message.upper(), *args, loud=True, **fields)

    class Inner(hydra.Logger):
        pass

    log = Loud("shop")
    for _ in range(2):
        log.info("m", a=1)
        Inner("shop").info("n")
    closed()

    assert ["M", "n"] * 2 == sink.messages
    assert [True, None] * 2 == [record.get("loud") for record in sink.records]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda log: log.info(), r"Calls\.info\(\) missing 1 required positional argument"),
        (lambda log: log.info(message="m"), r"missing 1 required positional argument: 'message'"),
        (lambda log: hydra.Logger.info(), r"missing 2 required positional arguments"),
        (lambda log: log.info("m", **{1: 2}), "keywords must be strings"),
    ],
    ids=["no message", "message by name", "no logger", "number for a name"],
)
def test_called_wrongly(log, call, said):
    """A call that Python refuses is refused in the words of the Python function."""
    log.info("there is a route")

    for _ in range(2):
        with pytest.raises(TypeError, match=said):
            call(log)


def test_called_on_what_is_no_logger():
    """An object without routes is the Python function's to refuse."""
    with pytest.raises(AttributeError, match="_routes"):
        hydra.Logger.info(object(), "m")


def test_fields_may_have_any_name(log):
    """`self`, `message` and the like are fields, since the parameters are positional only."""
    sink = Sink()
    configure(sink)
    for _ in range(2):
        log.info("m", self=1, args=2, fields=3, kwargs=4, level_=5)
    closed()

    assert [1, 2, 3, 4] == [sink.records[1][name] for name in ("self", "args", "fields", "kwargs")]


def test_level_that_nobody_wants(log):
    """A filtered call returns the shared receipt and looks at nothing."""
    configure(Sink(), level="warning")
    log.info("there is an answer")

    class Untouched:
        def __getattribute__(self, name):
            raise AssertionError(name)

    assert hydra.FILTERED is log.info(Untouched(), Untouched(), a=Untouched())
