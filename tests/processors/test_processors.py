from __future__ import annotations

import os
import random
import threading

import pytest

from hydra.processors import (
    AddFields,
    AddProcess,
    DropEvent,
    RateLimit,
    Redactor,
    Sample,
    _events,
    _redact,
)

pytestmark = pytest.mark.unit

SECRET = (
    "password PASSWORD dbPassword user_password userpassword db.pass pwd passphrase secret "
    "client-secret token accessToken accesstoken refresh_tokens id_token Authorization "
    "proxy-authorization cookie Set-Cookie setCookie api_key apikey APIKey X-Api-Key access_key "
    "private_key credential credentials session_id sessionId csrf csrf_token jwt password2"
)
SHOWN = (
    "tokens max_tokens token_count tokenLength password_length token_type secretary compass "
    "author order_id keyboard monkey key session pass_rate tokenizer passport_no"
)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(name="clock")
def _clock():
    return Clock()


def kept(processor, method="info", **fields):
    """Return whether the processor lets a record through."""
    try:
        processor(None, method, {"event": "e", **fields})
    except DropEvent:
        return False
    return True


@pytest.mark.parametrize("key", SECRET.split())
def test_secret_key(key):
    """
    Keys that hold a listed word, or listed words side by side, are secret.
    """
    redactor = Redactor()

    assert [True, True] == [redactor.verdict(key), redactor.verdict(key)]


@pytest.mark.parametrize("key", ["", "_", "1", "\ud800", *SHOWN.split()])
def test_harmless_key(key):
    """
    Counts, kinds and longer words are no secrets.
    """
    assert not Redactor().verdict(key)


def test_own_keys_replace_the_list():
    """
    Own keys are matched in any style, and the default ones no longer.
    """
    redactor = Redactor(["creditScore", "Geheimnis", "", "internal type"], mask="[gone]")
    keys = ("credit_score", "user-credit-score", "geheimnis", "internal_type", "password", "credit")

    assert [True, True, True, True, False, False] == [redactor.verdict(key) for key in keys]
    assert "[gone]" == redactor.mask
    assert not Redactor([]).verdict("password")


def test_verdicts_are_bounded():
    """
    Keys made of data do not fill the memory, and a long key costs little.
    """
    redactor = Redactor()
    for n in range(10_000):
        redactor.verdict(f"key{n}")

    assert len(redactor._verdicts) <= _redact._KNOWN
    assert not redactor.verdict("aB" * 10**6)


def test_sample_keeps_a_share():
    """
    A record is kept when the random number is below its share; errors are always kept.
    """
    numbers = iter([0.0, 0.49, 0.5, 0.99])
    rng = type("Rng", (), {"random": lambda self: next(numbers)})()
    sample = Sample(0.5, rng=rng)

    assert [True, True, False, False] == [kept(sample) for _ in range(4)]
    assert [True] * 4 == [kept(sample, m) for m in ("error", "exception", "CRITICAL", "fatal")]


def test_sample_per_level():
    """
    A share for a level goes before the others, also for errors, under any of its names.
    """
    sample = Sample(1, per_level={"Error": 0, "warn": 0}, rng=random.Random(1))
    methods = ("info", "error", "exception", "warning", "critical")

    assert [True, False, False, False, True] == [kept(sample, method) for method in methods]
    assert not kept(Sample(0))


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_share_is_checked(rate):
    """
    A share outside 0 to 1 is refused.
    """
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sample(rate)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sample(1, per_level={"info": rate})


def test_rate_limit(clock):
    """
    A burst passes, then as many a second as allowed; the next one says how many went.
    """
    limit = RateLimit(2, 3, clock=clock)
    first = [kept(limit) for _ in range(5)]
    clock.now += 0.5
    found = limit(None, "info", {"event": "e"})
    after = kept(limit)
    clock.now += 3600

    assert [True, True, True, False, False] == first
    assert {"event": "e", "rate_limited": 2} == found
    assert not after
    assert [True, True, True, False] == [kept(limit) for _ in range(4)]


def test_rate_limit_when_the_clock_goes_back(clock):
    """
    A clock that goes back takes nothing out of the bucket.
    """
    limit = RateLimit(1, 3, clock=clock)
    first = kept(limit)
    clock.now -= 50

    assert [True, True, True, False] == [first, *(kept(limit) for _ in range(3))]


def test_rate_limit_by_kind(clock):
    """
    Each value of the key has its own bucket; large values are told apart by their start.
    """
    limit = RateLimit(1, 1, key="k", clock=clock)
    kinds = [1, 1, None, "a", "a" * 10**6, "a" * 10**6, [1], [2], 2.5]
    clock.now -= 50

    assert [True, False, True, True, True, False, True, False, True] == [
        kept(limit, k=kind) for kind in kinds
    ]
    assert max(len(k) for k in limit._buckets if isinstance(k, str)) <= 256


def test_rate_limit_forgets_the_oldest(clock):
    """
    The table of kinds is bounded.
    """
    limit = RateLimit(1, 1, key="k", clock=clock)
    for n in range(3000):
        kept(limit, k=n)

    assert _events._BUCKETS == len(limit._buckets)
    assert kept(limit, k=0)
    assert not kept(limit, k=2999)


@pytest.mark.parametrize("wrong", [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_rate_limit_is_checked(wrong):
    """
    A limit that lets nothing through is refused.
    """
    with pytest.raises(ValueError, match="must be"):
        RateLimit(*wrong)


def test_fields_are_added():
    """
    Fields are added behind those of the record, which win.
    """
    found = AddFields(a=1, b=2)(None, "info", {"event": "e", "b": 3})

    assert [("event", "e"), ("b", 3), ("a", 1)] == list(found.items())


def test_process_is_added():
    """
    Process id and thread name are added, unless they are there.
    """
    add = AddProcess()
    found = add(None, "info", {"event": "e"})

    assert {"event": "e", "pid": os.getpid(), "thread": threading.current_thread().name} == found
    assert {"pid": 1, "thread": "t"} == add(None, "info", {"pid": 1, "thread": "t"})


def test_drop_is_no_exception():
    """
    An `except Exception` in a chain of processors does not swallow a drop.
    """
    assert not issubclass(DropEvent, Exception)
