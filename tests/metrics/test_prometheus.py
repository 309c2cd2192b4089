"""
The metrics text: whatever the engine counts, a strict reader of the format takes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

import hydra
from hydra.metrics import DestinationStats, JournalStats, Stats, TierStats, render

pytestmark = pytest.mark.unit

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,(?=[a-zA-Z_])|(?=\}))')
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass
class Family:
    """What the text says about one metric."""

    help: str | None = None
    kind: str | None = None
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


def parse(text):
    """Return the families of *text*; refuse whatever version 0.0.4 does not allow."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            word, name, rest = re.fullmatch(r"# (HELP|TYPE) (\S+) (.+)", line).groups()
        else:
            word, name, rest = "", NAME.match(line)[0], line[NAME.match(line).end() :]
        assert NAME.fullmatch(name), name
        part = re.fullmatch(r"(.+)(_bucket|_sum|_count)", name)
        if not word and part and families.get(part[1], Family()).kind == "histogram":
            name, rest = part[1], f"{rest} {part[2]}"
        if name not in families:
            families[name] = Family()
        # The lines of a family form one group.
        assert name == list(families)[-1], name
        family = families[name]
        if word == "HELP":
            assert family == Family()
            family.help = rest
        elif word == "TYPE":
            assert family.kind is None
            assert not family.samples
            assert rest in {"counter", "gauge", "histogram"}
            family.kind = rest
        else:
            assert family.kind is not None, name
            if family.kind == "histogram":
                rest, which = rest.rsplit(" ", 1)
                labels, value = sample(rest)
                labels = (*labels, ("__part__", which))
                assert labels not in family.samples, line
                family.samples[labels] = value
                continue
            labels, value = sample(rest)
            assert labels not in family.samples, line
            family.samples[labels] = value
    return families


def sample(rest):
    """Return labels and value of what follows the name of a metric."""
    labels: dict[str, str] = {}
    if rest.startswith("{"):
        at = 1
        while rest[at] != "}":
            found = LABEL.match(rest, at)
            assert found, rest[at:]
            assert found[1] not in labels
            assert not found[1].startswith("__")
            labels[found[1]] = re.sub(r"\\.", lambda m: ESCAPES[m[0]], found[2])
            at = found.end()
        rest = rest[at + 1 :]
    assert re.fullmatch(f" ({NUMBER.pattern})", rest), rest
    return tuple(labels.items()), float(rest)


def destination(name, **changes):
    """Return the stats of one destination with one tier."""
    tier = TierStats(
        name=changes.pop("tier", "file"), kind="final", delivered=3, attempts=2, failed=1,
        state=changes.pop("state", "closed"), opened=0, p50=None, p99=changes.pop("p99", None),
        last_error=None,
    )  # fmt: skip
    found = {
        "accepted": 5, "delivered": 3, "pending": 1, "dropped": 1, "held": 1, "replayed": 0,
        "lost": 0, "queued": 0, "queued_bytes": 0, "high_water": 2, "parked": 0, "spilled": 0,
        "blocked_seconds": 0.0, "mode": "thread", "rescues": 0, "crashes": 0,
    } | changes  # fmt: skip
    return DestinationStats(name=name, tiers=(tier, tier), **found)


def series(family):
    """Return the histograms of *family* by their labels: buckets in their order, sum, count."""
    found = {}
    for labels, value in family.samples.items():
        plain = dict(labels)
        which, le = plain.pop("__part__"), plain.pop("le", None)
        buckets, rest = found.setdefault(tuple(plain.items()), ([], {}))
        if which == "_bucket":
            buckets.append((float(le), value))
        else:
            assert le is None
            rest[which] = value
    return found


class TestParser:
    """The reader of these tests is strict: it refuses what Prometheus refuses."""

    @pytest.mark.parametrize(
        "text",
        [
            "a 1",
            "# TYPE a gauge\na 1\n# TYPE a gauge\n",
            "# TYPE a gauge\n# TYPE b gauge\na 1\n",
            "# TYPE a gauge\na 1\na 1\n",
            '# TYPE a gauge\na{x="1",} 1\n',
            '# TYPE a gauge\na{x="1"y="2"} 1\n',
            '# TYPE a gauge\na{x="1",x="2"} 1\n',
            '# TYPE a gauge\na{x="\\t"} 1\n',
            '# TYPE a gauge\na{x="a"b"} 1\n',
            "# TYPE a gauge\na one\n",
            "# TYPE a gauge\na  1\n",
            "# TYPE a gauge\n\na 1\n",
            "# TYPE a thing\na 1\n",
        ],
    )
    def test_what_is_wrong_is_refused(self, text):
        """Each of these breaks one rule of the format."""
        with pytest.raises((AssertionError, TypeError, IndexError, AttributeError)):
            parse(text)


class TestRender:
    """Every number of a reading stands in the text, once, under a name that says its kind."""

    def test_nothing_configured(self):
        """An engine that did nothing yet still gives a text."""
        families = parse(render(Stats()))

        assert {(): 1.0} == families["hydra_balanced"].samples
        assert {} == families["hydra_accepted_total"].samples

    def test_every_family_is_described(self):
        """Each has HELP and TYPE; counters, and only they, end in _total."""
        families = parse(render(Stats(destinations={"app": destination("app", p99=0.5)})))

        assert [] == [name for name, found in families.items() if not found.help]
        assert [] == [
            name
            for name, found in families.items()
            if name.endswith("_total") != (found.kind == "counter")
        ]
        assert all(name.startswith("hydra_") for name in families)

    def test_counts_arrive(self):
        """Labels and values are those of the reading."""
        stats = Stats(
            suppressed=4,
            balanced=False,
            drops={("info", "queue_full"): 7, ("error", "closed"): 1},
            destinations={"a": destination("a", lost=-2), "b": destination("b", accepted=10**15)},
            journal=JournalStats(state="on", bytes=4096, live=3, failed=1, degraded=2),
        )
        families = parse(render(stats))

        assert {(("destination", "a"),): -2.0, (("destination", "b"),): 0.0} == (
            families["hydra_lost"].samples
        )
        assert 10**15 == families["hydra_accepted_total"].samples[(("destination", "b"),)]
        assert {
            (("level", "info"), ("reason", "queue_full")): 7.0,
            (("level", "error"), ("reason", "closed")): 1.0,
        } == families["hydra_dropped_total"].samples
        assert [4.0, 0.0, 1.0, 4096.0, 3.0, 1.0, 2.0] == [
            families[f"hydra_{name}"].samples[()]
            for name in (
                "suppressed_total", "balanced", "journal_on", "journal_bytes", "journal_live",
                "journal_failures_total", "journal_degraded_total",
            )
        ]  # fmt: skip

    def test_labels_are_escaped(self):
        """A sink may be called anything; its name comes back as it is."""
        name = 'a"b\\n\nc\\"{},= \u00e9\u2028'
        families = parse(render(Stats(destinations={"app": destination("app", tier=name)})))

        assert {name} == {
            dict(labels)["tier"] for labels in families["hydra_tier_attempts_total"].samples
        }

    def test_tiers_of_one_name(self):
        """Tiers are told apart by their position."""
        families = parse(render(Stats(destinations={"app": destination("app", tier="sink")})))

        assert ["0", "1"] == [
            dict(labels)["position"] for labels in families["hydra_tier_delivered_total"].samples
        ]

    @pytest.mark.parametrize(
        ("state", "healthy"), [("closed", 1), ("open", 0), ("probing", 0), ("busy", 0)]
    )
    def test_state_of_a_tier(self, state, healthy):
        """A tier is healthy as long as its breaker is closed and no call is out."""
        families = parse(render(Stats(destinations={"app": destination("app", state=state)})))

        assert {float(healthy)} == set(families["hydra_tier_healthy"].samples.values())

    @pytest.mark.parametrize(
        ("value", "samples"), [(None, []), (0.25, [0.25] * 2), (1e-06, [1e-06] * 2)]
    )
    def test_latency_nobody_has_measured(self, value, samples):
        """Without an attempt there is no sample, and not a zero."""
        families = parse(render(Stats(destinations={"app": destination("app", p99=value)})))

        assert samples == list(families["hydra_tier_latency_p99_seconds"].samples.values())


def test_engine_at_work(tmp_path):
    """What the engine reports after a flush agrees with its statistics."""
    hydra.configure(destinations=[str(tmp_path / "app.log"), str(tmp_path / "bad.log")])
    for n in range(10):
        hydra.info("step", n=n)
        hydra.error("bad", n=n)
    stats = hydra.flush()
    families = parse(hydra.metrics_text())

    assert {(("destination", "app"),): 20.0, (("destination", "bad"),): 20.0} == (
        families["hydra_delivered_total"].samples
    )
    assert stats.accepted == sum(families["hydra_accepted_total"].samples.values())
    assert 1.0 == families["hydra_balanced"].samples[()]
    assert 1.0 == families["hydra_journal_on"].samples[()]


def test_histogram_of_a_tier():
    """Buckets rise up to infinity, which counts as many as the count; the sum is in seconds."""
    latency = ((1.6e-05, 2), (0.004096, 5), (float("inf"), 7))
    tier = TierStats(
        name="file", kind="final", delivered=3, attempts=7, failed=1, state="closed", opened=0,
        p50=None, p99=None, last_error=None, latency=latency, seconds=1.5,
    )  # fmt: skip
    found = destination("app")
    found = DestinationStats(
        **{name: getattr(found, name) for name in found.__struct_fields__} | {"tiers": (tier,)}
    )
    family = parse(render(Stats(destinations={"app": found})))["hydra_tier_latency_seconds"]
    ((labels, (buckets, rest)),) = series(family).items()

    assert "histogram" == family.kind
    assert {"destination": "app", "tier": "file", "position": "0"} == dict(labels)
    assert list(latency) == buckets
    assert {"_sum": 1.5, "_count": 7.0} == rest


def test_histogram_of_an_engine_at_work(tmp_path):
    """What an engine measured is a histogram that Prometheus takes."""
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(tmp_path / "a")}])
    hydra.info("x")
    hydra.flush()
    family = parse(hydra.metrics_text())["hydra_tier_latency_seconds"]

    assert series(family)
    for buckets, rest in series(family).values():
        bounds, counts = zip(*buckets, strict=True)

        assert sorted(bounds) == list(bounds)
        assert sorted(counts) == list(counts)
        assert (float("inf"), rest["_count"]) == (bounds[-1], counts[-1])
