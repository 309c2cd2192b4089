"""
Log files, journals and held segments written by hand, for the tests of the command line.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

RUN = "k3f9x2ab71qz"


def line(stream, n, *, run=RUN, logger="shop", message="order placed", level=None, **fields):
    """Return one canonical line."""
    body = {
        "timestamp": f"2026-11-21T01:44:{n % 60:02d}.123456Z",
        "level": level or ("error" if stream.endswith("g") else "info"),
        "logger": logger,
        "message": message,
        **fields,
        "id": f"{run}.{stream}-{n}",
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def close(n, totals, *, stream="4c", run=RUN, destination="app"):
    """Return a close record."""
    return line(
        stream,
        n,
        run=run,
        logger="hydra.ledger",
        message="closed",
        event="close",
        destination=destination,
        totals=totals,
    )


def drops(n, ranges, *, event="drops", stream="4c", run=RUN, destination="app"):
    """Return a drops or diverted record; *ranges* are (stream, from, to, count, reason)."""
    return line(
        stream,
        n,
        run=run,
        logger="hydra.ledger",
        level="warning",
        message=f"{sum(r[3] for r in ranges)} records dropped",
        event=event,
        destination=destination,
        count=sum(r[3] for r in ranges),
        drops=[
            {"stream": s, "from": a, "to": b, "count": c, "level": "info", "reason": why}
            for s, a, b, c, why in ranges
        ],
        since="2026-11-21T01:44:00.000000Z",
        until="2026-11-21T01:44:01.000000Z",
    )


def records(stream, numbers, **more):
    """Return the lines of *numbers*."""
    return [line(stream, n, **more) for n in numbers]


def clean(ordinary=10, guaranteed=2, *, run=RUN, destination="app"):
    """Return the lines of a run that was closed with nothing missing."""
    return [
        *records("1r", range(1, ordinary + 1), run=run),
        *records("1g", range(1, guaranteed + 1), run=run),
        close(1, {"1r": ordinary, "1g": guaranteed, "4c": 1}, run=run, destination=destination),
    ]


def write(path: Path, lines) -> str:
    """Write *lines* to *path* and return it as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return str(path)


def frame(kind, payload):
    """Return one journal frame."""
    checksum = zlib.crc32(kind + payload)
    return b"\nJ1 %s %08x %d %s\n" % (kind, checksum, len(payload), payload)


def journal_header(*, run=RUN, destinations=("app",)):
    """Return the first frame of a journal segment."""
    return frame(
        b"H",
        json.dumps(
            {
                "version": 1,
                "app": "shop",
                "uid": 0,
                "boot": "00000000",
                "pidns": 1,
                "pid": 7,
                "run": run,
                "segment": 1,
                "destinations": list(destinations),
            }
        ).encode(),
    )


def journal_record(stream, n, *, run=RUN, destinations=("app",)):
    """Return the frame of one journaled record."""
    names = ",".join(destinations).encode()
    return frame(b"R", names + b" " + line(stream, n, run=run).rstrip(b"\n"))


def journal_ack(ranges, *, destination="app", position="-"):
    """Return an acknowledgement frame; *ranges* as in `<run.stream>:1-3`."""
    return frame(b"A", f"{destination} {position} {ranges}".encode())


def write_journal(directory: Path, frames, *, run=RUN, k=1) -> str:
    """Write a journal segment and return its path."""
    name = f"shop.00000000.7.12345.{run}.{k}.j"
    return write(directory / name, [*frames, b"\0" * 4096])


def write_held(directory: Path, lines, *, run=RUN, destination="app", scan=None, k=1) -> str:
    """Write a held segment and return its path."""
    header = {
        "hydra": "held",
        "version": 1,
        "app": "shop",
        "uid": 0,
        "destination": destination,
        "run": run,
        "scan": scan,
    }
    first = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    return write(directory / f"shop.{run}-{k}.held", [first, *lines])


def pick(report, *keys):
    """Return the values of *keys* in *report*."""
    return {key: report[key] for key in keys}


def stream_of(report, name, run=0):
    """Return what *report* says about stream *name* of its run number *run*."""
    return next(each for each in report["details"][run]["streams"] if each["stream"] == name)
