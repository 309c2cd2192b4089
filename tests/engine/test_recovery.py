from __future__ import annotations

from types import SimpleNamespace

import pytest

from hydra.engine import _recovery
from hydra.engine._recovery import Recovery

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("fails", "end"), [(False, "finish"), (True, "release")])
def test_journal_goes_when_its_lines_are_safe(monkeypatch, fails, end):
    """What could not be stored stays in the journal for the next start, and is counted."""
    ends = []
    found = SimpleNamespace(
        run="dead",
        pending={"app": [b"line"]},
        scan={},
        finish=lambda: ends.append("finish"),
        release=lambda: ends.append("release"),
    )

    def take_over(*args):
        if fails:
            raise OSError("full")

    service = SimpleNamespace(
        adopt=lambda *args: None, take_over=take_over, writer=SimpleNamespace(store=object())
    )
    run = SimpleNamespace(
        services={"app": service},
        journal_directory="/journal",
        settings=SimpleNamespace(app="t"),
        system=None,
        closed=False,
    )
    monkeypatch.setattr(_recovery, "adopt", lambda *args, **options: [found])
    recovery = Recovery(run)
    recovery.take_over()

    assert ([end], int(fails)) == (ends, recovery.failures)
