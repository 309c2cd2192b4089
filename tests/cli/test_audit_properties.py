"""
What holds for every log: no single change to a complete one goes unnoticed.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.cli.audit._facts import FileFacts
from hydra.cli.audit._groups import group_logs
from hydra.cli.audit._render import as_json
from hydra.cli.audit._verdict import judge

from .logfiles import close, drops, line

pytestmark = pytest.mark.unit


@st.composite
def complete_logs(draw):
    """Lines of one to three runs, each whole, their streams interleaved at random."""
    parts = []
    for index in range(draw(st.integers(1, 3))):
        run = f"run{index:09d}"
        sizes = {
            stream: draw(st.integers(1, 12))
            for stream in draw(st.sets(st.sampled_from(["1r", "1g", "2r", "2g"]), min_size=1))
        }
        # One number always survives: of a run without any other line nothing would
        # be left to tell of the deleted close record.
        lost = draw(st.sets(st.integers(1, 12), max_size=4)) & set(range(2, sizes.get("1r", 0) + 1))
        lines = [
            line(stream, n, run=run)
            for stream, size in sizes.items()
            for n in range(1, size + 1)
            if stream != "1r" or n not in lost
        ]
        lines += [
            drops(i, [("1r", n, n, 1, "queue_full")], run=run)
            for i, n in enumerate(sorted(lost), start=1)
        ]
        lines = draw(st.permutations(lines))
        last = len(lost) + 1
        parts.append([*lines, close(last, {**sizes, "4c": last}, run=run)])
    log = []
    while any(parts):
        part = draw(st.sampled_from([part for part in parts if part]))
        log.append(part.pop(0))
    return log


def audited(lines):
    """Return the report on a log of *lines*."""
    facts = FileFacts("app.log")
    for each in lines:
        for piece in each.splitlines(keepends=True):
            facts.take(piece)
    report = judge(group_logs([facts]), [facts], [], directory_given=False)
    return as_json(report)


@given(complete_logs())
def test_untouched(log):
    """
    A complete log is complete.
    """
    report = audited(log)

    assert ("complete", 0, 0, 0) == (
        report["verdict"],
        report["missing"],
        report["duplicates"],
        report["torn"],
    )


@given(complete_logs(), st.data())
def test_one_line_deleted(log, data):
    """
    Without any one line a log is not complete; without a close record it is unclean.
    """
    index = data.draw(st.integers(0, len(log) - 1))
    deleted = log.pop(index)

    report = audited(log)

    if b'"event":"close"' in deleted:
        assert ("unclean", 1, 0) == (report["verdict"], report["unclean_runs"], report["missing"])
    else:
        assert ("incomplete", True) == (report["verdict"], report["missing"] >= 1)


@given(complete_logs(), st.data())
def test_one_line_duplicated(log, data):
    """
    Any line that is there twice is one duplicate, and the log stays complete.
    """
    copied = data.draw(st.integers(0, len(log) - 1))
    log.insert(data.draw(st.integers(copied, len(log))), log[copied])

    report = audited(log)

    assert (1, 0, "complete") == (report["duplicates"], report["missing"], report["verdict"])


@given(complete_logs(), st.data())
def test_one_line_torn(log, data):
    """
    Any line that is cut anywhere is one torn line, and the log is not complete.
    """
    index = data.draw(st.integers(0, len(log) - 1))
    log[index] = log[index][: data.draw(st.integers(1, len(log[index]) - 2))] + b"\n"

    report = audited(log)

    assert 1 == report["torn"]
    assert "complete" != report["verdict"]


@given(complete_logs(), st.data())
def test_torn_without_a_newline(log, data):
    """
    A cut line that the next record was written straight behind costs that record nothing.
    """
    index = data.draw(st.integers(0, len(log) - 1))
    whole = audited(log)
    log[index] = log[index][: data.draw(st.integers(1, len(log[index]) - 2))]

    report = audited([b"".join(log)])

    assert 1 == report["torn"]
    assert "complete" != report["verdict"]
    assert whole["records"] - report["records"] <= 1
