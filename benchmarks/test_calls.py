from __future__ import annotations

import pytest

import hydra

from .conftest import FIELDS

BATCH = 100


@pytest.fixture(name="log")
def _log(tmp_path, monkeypatch):
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path / "state"))
    hydra.configure(
        app="bench",
        destinations=[hydra.Destination(_nowhere, name="nowhere")],
        queue={"records": 1_000_000, "bytes": "1 GiB"},
    )
    yield hydra.get_logger("bench")
    hydra.close()


def _nowhere(lines):
    pass


def _batch(call, fields):
    def calls():
        for _ in range(BATCH):
            call("order placed", **fields)

    return calls


@pytest.mark.parametrize("fields", [{}, FIELDS], ids=["no fields", "5 fields"])
def test_call(benchmark, log, fields):
    benchmark(_batch(log.info, fields))


def test_call_disabled(benchmark, log):
    benchmark(_batch(log.debug, FIELDS))


def test_call_bound(benchmark, log):
    benchmark(_batch(log.bind(request_id="r-1", service="api").info, FIELDS))


def test_call_in_context(benchmark, log):
    with hydra.context(request_id="r-1", service="api"):
        benchmark(_batch(log.info, FIELDS))


def test_call_error(benchmark, log):
    benchmark.pedantic(_batch(log.error, FIELDS), rounds=20)
