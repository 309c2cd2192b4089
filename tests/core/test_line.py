from __future__ import annotations

import json
import sys

import pytest

from hydra.core import line as line_module
from hydra.core._fit import cut_text, fair_share, fit, shrink_exception
from hydra.core.errors import exception_tag
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, LineEncoder, encode_plain, format_message, logger_tag
from hydra.core.values import ShowAll, lazy
from hydra.processors import Redactor

pytestmark = pytest.mark.unit

NS = 1_763_689_440_123_456_789
INFO = level_tag(20)
SHOP = logger_tag("shop")
HEAD = b'{"timestamp":"2025-11-21T01:44:00.123456Z","level":"info","logger":"shop","message":"m"'


class Raises:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


@pytest.fixture(name="encoder")
def _encoder():
    return LineEncoder(Redactor())


def body(encoder, message="m", bound=EMPTY, context=EMPTY, exception=b"", /, **fields):
    """Encode one record of the logger shop."""
    return encoder.body(NS, INFO, SHOP, message, bound, context, fields, exception)


def fields_of(found):
    """Return the fields of an encoded record in order, after checking its head."""
    record = list(json.loads(found + b"}").items())
    assert ["timestamp", "level", "logger", "message"] == [key for key, _ in record[:4]]
    return record[4:]


def test_plain_record(encoder):
    """
    Fields of simple types follow the message in the order given.
    """
    found = body(encoder, z=1, a="é", f=1.5, t=True, n=None)

    assert HEAD + ',"z":1,"a":"é","f":1.5,"t":true,"n":null'.encode() == found
    assert HEAD == body(encoder)


def test_fast_and_careful_ways_agree(encoder):
    """
    Both ways give the same bytes for the same record.
    """
    bound, context = encoder.fragment({"b": 1}), encoder.fragment({"c": "x"})
    parts = (NS, INFO, SHOP, "m", bound, context, {"d": 2.5, "e": "é\x00"}, b',"exception":{}')

    assert encoder.body(*parts) == encoder._careful(*parts)
    assert b',"b":1,"c":"x","d":2.5' in encoder.body(*parts)


@pytest.mark.parametrize(
    ("bound", "context", "call", "merged"),
    [
        ({"a": 1, "b": 1}, {"b": 2}, {}, [("a", 1), ("b", 2)]),
        ({"a": 1, "b": 1}, {}, {"a": 3, "c": 3}, [("a", 3), ("b", 1), ("c", 3)]),
        ({}, {"b": 2, "a": 2}, {"a": 3}, [("b", 2), ("a", 3)]),
        ({"a": 1}, {"b": 2}, {"c": 3}, [("a", 1), ("b", 2), ("c", 3)]),
        ({"id": 1}, {}, {"id_": 2}, [("id__", 1), ("id_", 2)]),
        ({"id_": 1}, {}, {"id": 2}, [("id_", 1), ("id__", 2)]),
        ({"id": 1}, {"id": 2}, {}, [("id_", 2)]),
        ({"id": 1}, {"id_": 2}, {"x": 3}, [("id__", 1), ("id_", 2), ("x", 3)]),
        ({}, {}, {"level": 1, "level_": 2, "truncated": 3}, None),
        ({"password": "hunter2"}, {"token": "hunter2"}, {"secret": "hunter2"}, None),
    ],
)
def test_merge(encoder, bound, context, call, merged):
    """
    Fields take the place of the first and the value of the last; reserved names give way.
    """
    found = encoder.body(
        NS, INFO, SHOP, "m", encoder.fragment(bound), encoder.fragment(context), call
    )
    if merged is None:
        merged = [
            (
                key
                if key not in line_module.RESERVED
                else {"level": "level__"}.get(key, key + "_"),
                v,
            )
            for key, v in {**bound, **context, **call}.items()
        ]
        merged = [(key, "***" if v == "hunter2" else v) for key, v in merged]

    assert merged == fields_of(found)


@pytest.mark.parametrize("way", ["key", "nested", "unusual key", "subclass", "bound"])
def test_secret_is_masked(encoder, way):
    """
    A secret does not reach the line, whichever way its field goes.
    """
    bound = encoder.fragment({"x": {"token": "hunter2"}} if way == "bound" else {})
    call = {
        "key": {"password": "hunter2"},
        "nested": {"a": [{"password": "hunter2"}]},
        "unusual key": {"é password": "hunter2"},
        "subclass": {type("Key", (str,), {})("password"): "hunter2"},
        "bound": {"x2": 1},
    }[way]
    found = encoder.body(NS, INFO, SHOP, "m", bound, EMPTY, call)

    assert b"hunter2" not in found
    assert b'"***"' in found


def test_controls_are_escaped(encoder):
    """
    No control character and no separator of lines stands raw in a line.
    """
    text = "".join(map(chr, range(0xA1))) + "\u2028\u2029\u202e"
    found = body(encoder, text, **{"k\x85": text}), body(encoder, text, a=text)

    for each in found:
        assert 1 == len((each + b"}").decode().splitlines())
        assert not set(range(0x20)) & set(each)
        assert b"\x7f" not in each
        assert text == json.loads(each + b"}")["message"]
    assert [("k\x85", text)] == fields_of(found[0])


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (5, "5"),
        (None, "None"),
        (b"x\xff", "x\\xff"),
        ("�", "�"),
        (lazy(lambda: 1), "1"),
        (Raises(ValueError()), "<unprintable Raises: ValueError>"),
    ],
)
def test_message_may_be_anything(encoder, message, shown):
    """
    A message that is no text is shown as its text.
    """
    assert shown == json.loads(body(encoder, message, a=1) + b"}")["message"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**64, str(2**64)),
        ("\ud800", "\ufffd"),
        ([1], [1]),
        ("x" * 5000, "x" * 5000),
        (Raises(GeneratorExit()), "<unprintable Raises: GeneratorExit>"),
    ],
)
def test_value_that_is_not_simple(encoder, value, shown):
    """
    A value that the fast way cannot take goes the careful way.
    """
    assert [("a", shown), ("z", 1)] == fields_of(body(encoder, a=value, z=1))


def test_lazy_value_is_called_once(encoder):
    """
    A lazy value is computed once for a record, also when the record must be cut.
    """
    calls = []
    value = lazy(lambda: calls.append(1) or "x" * 100_000)
    body(encoder, a=value)

    assert [1] == calls


def test_signals_pass(encoder):
    """
    KeyboardInterrupt and SystemExit pass on all ways.
    """
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            body(encoder, a=Raises(error()))
        with pytest.raises(error):
            format_message("%s", (Raises(error()),))


def test_key_that_raises(encoder):
    """
    A key whose hash fails later is contained.
    """
    healthy = type("Key", (str,), {"__hash__": Switch.hash})
    fields = {healthy("k"): 1}
    Switch.broken = True
    try:
        found = encoder.body(NS, INFO, SHOP, "m", EMPTY, EMPTY, fields)
    finally:
        Switch.broken = False

    assert [("k", 1)] == fields_of(found)


class Switch:
    broken = False

    @staticmethod
    def hash(text):
        if Switch.broken:
            raise GeneratorExit
        return str.__hash__(text)


def test_key_that_interrupts(encoder, monkeypatch):
    """
    A KeyboardInterrupt in the middle of the fast way passes.
    """

    def interrupt(self, ns):
        raise KeyboardInterrupt

    monkeypatch.setattr(LineEncoder, "tick", interrupt)
    with pytest.raises(KeyboardInterrupt):
        body(encoder, a=1)


def test_dict_that_changes_while_its_keys_are_learned():
    """Another thread that changes a dict meanwhile costs the record nothing that was in it."""
    inner = {"a": 1, "b": 2}

    class Busy(ShowAll):
        def verdict(self, key):
            inner[f"new{len(inner)}"] = 0
            return False

    encoder = LineEncoder(Busy())
    encoder.names.learn_within([inner, [inner], {"deep": inner}])

    assert {"a", "b", "deep"} <= encoder.names.within
    assert {"a", "b"} <= json.loads(body(encoder, field=inner) + b"}")["field"].keys()


def test_keys_that_are_no_strings_are_asked_nothing():
    """A key with methods of its own is not even compared while keys are learned."""
    asked = []

    class Key:
        def __hash__(self):
            asked.append(self)
            return 1

    inner = {Key(): 1, "a": 2}
    asked.clear()
    names = LineEncoder().names
    names.learn_within([inner])

    assert [] == asked
    assert {"a"} == names.within


def test_control_keywords_are_no_business_of_the_redactor():
    """A call with `exc_info` is known not to be plain without asking about secrets."""
    asked = []

    class Asked(ShowAll):
        def verdict(self, key):
            asked.append(key)
            return False

    assert not LineEncoder(Asked()).names.learn(["exc_info"])
    assert [] == asked


def test_known_keys_are_bounded(encoder):
    """
    Keys made of data do not fill the memory.
    """
    for n in range(10_000):
        body(encoder, **{f"k{n}": 1})

    assert len(encoder.names.known) <= 4096


@pytest.mark.parametrize("size", [2048, 4096, 65_536])
@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("m" * 10**6, {}),
        ("m" * 10**6, {"a": "x" * 10**6, "b": 1}),
        ("m", {"a": "\x00" * 70_000, "b": 1}),
        ("m", {"a": "\x85" * 4_000, "c": "\x85" * 4_000, "d": "\x85" * 4_000, "b": 1}),
        ("m", {"a": ["x" * 1000] * 1000, "b": 1, "c": {"d": "é" * 10**5}}),
        ("m", {f"k{n}": n for n in range(20_000)}),
        ("m", {f"k{n}": "é" * 100 for n in range(2_000)}),
        ("\u2028" * 4_000, {"b": 1}),
    ],
    ids=["message", "both", "controls", "c1", "nested", "many", "many strings", "separators"],
)
def test_large_record_is_cut(size, message, call):
    """
    A record over the limit is cut, stays valid, says so, and keeps its small fields.
    """
    encoder = LineEncoder(max_bytes=size)
    found = encoder.body(NS, INFO, SHOP, message, EMPTY, EMPTY, call)

    assert len(found) <= size - 64
    if size < 65_536 or len(message) != 4_000:
        assert found.endswith(b',"truncated":true')
    if "b" in call:
        assert ("b", 1) in fields_of(found)
    assert len(found) > size // 3 or b"truncated" not in found


def test_cut_record_keeps_its_exception():
    """
    A record that is cut keeps type and stack of its exception after `truncated`.
    """
    encoder = LineEncoder(max_bytes=4096)
    tag = exception_tag(ValueError("bad" * 5000))
    found = json.loads(body(encoder, "m", EMPTY, EMPTY, tag, a="x" * 10**5) + b"}")

    assert ["message", "a", "truncated", "exception"] == list(found)[3:]
    assert "ValueError" == found["exception"]["type"]


def test_cut_fragment_marks_its_records(encoder):
    """
    A fragment takes a quarter of a record; records that hold a cut one say so.
    """
    bound = encoder.fragment({"a": "x" * 10**6, "b": 1})
    context = encoder.fragment({"c": "x" * 10**6})
    found = [body(encoder, "m", bound, z=1), body(encoder, "m", EMPTY, context)]

    assert bound.cut
    assert ["a", "b", "z", "truncated"] == [key for key, _ in fields_of(found[0])]
    assert ["c", "truncated"] == [key for key, _ in fields_of(found[1])]


def test_fragment_keeps_values_not_objects(encoder):
    """
    What was bound is what is written, also when the object changes later.
    """
    numbers = [1]
    bound = encoder.fragment({"n": numbers})
    numbers.append(2)

    assert [("n", [1]), ("x", [])] == fields_of(body(encoder, "m", bound, x=[]))
    assert encoder.fragment({}) is EMPTY
    assert {"n": [1]} == dict(bound.fields)


@pytest.mark.parametrize("error", [RecursionError, MemoryError, GeneratorExit])
def test_last_resort(encoder, monkeypatch, error):
    """
    When even the careful way fails, a constant record is written.
    """

    def fail(*args):
        raise error

    monkeypatch.setattr(LineEncoder, "_complete", fail)
    name = error.__name__ if error is not GeneratorExit else "Error"
    found = json.loads(body(encoder, "m", a=[]) + b"}")

    assert f"<record could not be encoded: {name}>" == found["message"]
    assert found["truncated"]


def test_signal_in_the_careful_way(encoder, monkeypatch):
    """
    A KeyboardInterrupt in the careful way passes.
    """

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(LineEncoder, "_complete", interrupt)
    with pytest.raises(KeyboardInterrupt):
        body(encoder, "m", a=[])


def test_near_the_end_of_the_stack(encoder):
    """
    With almost no stack left the call gives a valid record or none is entered at all.
    """
    limit = sys.getrecursionlimit()
    found = []

    def descend():
        try:
            descend()
        except RecursionError:
            pass
        if len(found) < 20:
            try:
                found.append(encoder.body(NS, INFO, SHOP, "m", EMPTY, EMPTY, {"a": [[{}]]}))
            except RecursionError as error:
                found.append(error)

    descend()
    made = [each for each in found if isinstance(each, bytes)]

    assert limit == sys.getrecursionlimit()
    assert made
    assert all(json.loads(each + b"}") for each in made)
    if sys.gettrace() is None:  # a tracer may itself meet the end of the stack
        errors = [each for each in found if isinstance(each, Exception)]
        assert not [error for error in errors if error.__traceback__.tb_next is not None]


@pytest.mark.parametrize("wrong", [{"max_bytes": 2047}, {"max_depth": 0}])
def test_limits_are_checked(wrong):
    """
    A limit too small for any record is refused.
    """
    with pytest.raises(ValueError, match="must be at least"):
        LineEncoder(**wrong)


def test_logger_name_is_bounded():
    """
    The name of a logger is cut at 200 characters and made valid.
    """
    assert b'"' + b"x" * 200 + b'"' == logger_tag("x" * 1000)
    assert '"\ufffd\\u0085"'.encode() == logger_tag("\ud800\x85")


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        ("a %s b %d", ("x", 5), "a x b 5"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%s", ({},), "{}"),
        ("%d", ("x",), "%d [args: 'x']"),
        ("none", (1, "two"), "none [args: 1, 'two']"),
        ("%s", (Raises(GeneratorExit()),), "%s [args: '<unprintable Raises: GeneratorExit>']"),
        (7, (1,), "7 [args: 1]"),
        ("100%", ([1, {"a": 2}],), "100% [args: [1, {'a': 2}]]"),
    ],
)
def test_arguments_of_a_message(message, args, shown):
    """
    Arguments fill the message; those that do not fit follow it.
    """
    assert shown == format_message(message, args)


def test_arguments_that_are_large():
    """
    Arguments that do not fit are shown bounded.
    """
    assert len(format_message("none", ("x" * 10**7, [1] * 10**6))) < 5000


@pytest.mark.parametrize("room", range(-1, 40))
@pytest.mark.parametrize("text", ['é\\"\n\x00\u2028😀' * 5, "abc", "\x85" * 9, "\\" * 9])
def test_text_is_cut_anywhere(text, room):
    """
    Wherever text is cut, the rest is valid JSON in the room and a prefix of it.
    """
    found = cut_text(encode_plain, text, room)

    assert len(found) <= max(room, 0)
    if found:
        shown = json.loads(found)
        assert text.startswith(shown.removesuffix("..."))
        assert shown == text or shown.endswith("...")
    else:
        assert room < 5


def test_share_of_the_room():
    """
    Small ones leave what they do not need to the large ones; 64 is the least.
    """
    assert 80 == fair_share([10, 200, 10], 100)
    assert 200 == fair_share([10, 200, 10], 1000)
    assert 64 == fair_share([100] * 50, 100)
    assert 64 == fair_share([], 100)


@pytest.mark.parametrize("room", [10, 40, 100, 300, 1000])
def test_fields_fit(room):
    """
    Whatever the room, message and fields fit into it.
    """
    fields = {"a": "x" * 500, "n": 10**18, "list": ["\x00" * 50] * 9, "d": {"k" * 90: 1}, "z": 1}
    message, rest = fit(encode_plain, "hello" * 50, fields, room)

    assert len(message) + len(rest) <= room
    assert json.loads(b'{"m":' + message + rest + b"}")


@pytest.mark.parametrize(
    ("tag", "room", "expected"),
    [
        (b"", 0, b""),
        (b',"exception":{}', 100, b',"exception":{}'),
        (b',"exception":{"x":"' + b"x" * 200 + b'"}', 100, b""),
        (b',"exception":{"x":"' + b"x" * 200, 100, b""),
        (b',"exception":{"type":"T","message":"m","stacktrace":"%b"}' % (b"x" * 200), 60, b""),
    ],
)
def test_exception_that_does_not_fit(tag, room, expected):
    """
    An exception part is kept whole, or left out where nothing of it can be kept.
    """
    assert expected == shrink_exception(encode_plain, tag, room)


def test_number_that_does_not_fit():
    """
    A number is kept whole or left out, never cut.
    """
    message, rest = fit(encode_plain, "", {"k" * 50: 10**18, "z": "x" * 500}, 72)

    assert b'""' == message
    assert rest.startswith(b',"z":"xxx')


def test_del_in_ascii_text(encoder):
    """
    DEL is escaped also where nothing else asks for it.
    """
    assert b',"a":"x\\u007fy"' in body(encoder, a="x\x7fy")
