"""
The page of the scoreboard, made from the JSON of a run and from nothing else.

    python -m benchmarks.scoreboard.page        write docs/scoreboard.md again from its JSON
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ..environment import ROOT
from ..peers import HYDRA
from ..report import cell, link
from ..results import busy

DATA: Final = ROOT / "docs" / "scoreboard.json"
PAGE: Final = ROOT / "docs" / "scoreboard.md"

_HEAD: Final = """\
# Scoreboard: what is still there after a fault

Written by `make scoreboard`, with [the numbers as JSON](scoreboard.json); nothing here was typed
in. [How to run it](how-to/prove-it.md).

The same program runs with each library, in a process and an empty directory of its own, set up as
the library's documentation says. It logs 4,000 records as fast as it can, 200 of them ERROR, unless
a fault says otherwise; then the fault happens. Afterwards its files are read line by line.

- **kept of acknowledged**: a record is acknowledged when its call has returned without raising, or
  its `await` has resumed. It is kept when a whole line of it is in the file or stream that was
  logged to. A call that never returns acknowledges nothing, and neither do those that would have
  come after it: "28 of 28" beside a worst call of 15,000 ms is a program that stood still.
- **For hydra "kept" means in the destination after the next start of the program**: it replays
  what the first one left in its journal and held files. The other libraries have nothing to replay,
  so a next start changes nothing for them. A record that an interrupted write may have delivered is
  written once more, with the same id; `twice` counts such lines.
- **loss told**: how many of the lost records the library itself spoke of: a traceback for each on
  standard error, a count that its close returned, a record in the log. Empty where none was lost.
- **raised**: calls that raised into the program, which then knows, and is in charge of the record.
- **worst call**: how long the longest call kept its caller, in ms; one that never returned, until
  the program was killed.
- **ends**: seconds from the last call to the end of the process. A program that has not ended in
  time is killed, and the row says so.
"""

_WHY: Final = """\
## Where others do better

- **INFO at SIGKILL, SIGTERM and `os._exit`.** A library that writes each record in its call has
  it in the kernel when the call returns, and loses none. hydra queues what is below ERROR, so that
  a slow disk does not slow the caller; what was queued dies with the process. It keeps what is
  ERROR and above. `hydra audit` calls such a run unclean, and says after which number of a stream
  nothing is known; that is no count, and none is shown here. With `signals=True` a SIGTERM flushes
  first.
- **Lines twice.** After a write whose outcome nobody knows, hydra writes the batch again. In a
  regular file it looks for the ids first; a pipe or a sink of your own cannot be asked, and gets
  the line twice, with one id.
- **The end takes longer.** hydra drains its queue at the end of the process, and waits for a sink
  that hangs as long as its `timeout` (5 s) says. A library without a queue has nothing to drain.
- **stalls.** Below a few ms the figures show how busy the machine was, not the library: compare
  with the column `without`.
"""


def publish(summary: dict[str, Any]) -> None:
    """Write JSON and page."""
    DATA.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    write()


def write() -> None:
    """Write the page from the JSON that is there."""
    PAGE.write_text(page(json.loads(DATA.read_text(encoding="utf-8"))), encoding="utf-8")


def page(summary: dict[str, Any]) -> str:
    """Return docs/scoreboard.md."""
    return "\n".join([_HEAD, *_run(summary), tables(summary), _WHY])


def tables(summary: dict[str, Any]) -> str:
    """Return a section for each fault."""
    parts: list[str] = []
    for fault in summary["faults"].values():
        parts += [f"## {fault['title']}\n", f"{fault['note']}\n", *_table(fault["rows"]), ""]
    return "\n".join(parts)


def _run(summary: dict[str, Any]) -> Iterator[str]:
    run, machine = summary["run"], summary["run"]["machine"]
    yield (
        f"Played on {machine['date']} in {run['minutes']} minutes: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['system']}, {run['workers']} programs at a time."
    )
    if busy(machine):
        yield (
            f"**The machine was busy (load {machine['load']} at the start): ms and s say more "
            "about that than about a library, and will be taken again.** Whether records are "
            "lost does not depend on it."
        )
    yield ""
    yield "| library | version | writes later | set up as in |"
    yield "|---|---|---|---|"
    for name, said in summary["libraries"].items():
        if "absent" in said:
            yield f"| {name} | not installed: {cell(said['absent'])} | | |"
            continue
        queued = "yes" if said["queued"] else "no"
        yield f"| {name} | {said['version']} | {queued} | {link(said['page'])} |"
    yield ""


_ALWAYS: Final = ("ERROR kept", "INFO kept", "loss told", "twice", "raised", "worst call, ms")
_EXTRA: Final = {"hung": "children hung", "stall_ms": "stall, ms", "without_ms": "without, ms"}


def _table(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    extra = {
        key: title
        for key, title in _EXTRA.items()
        if any(said.get(key) is not None for said in rows.values())
    }
    heads = [*_ALWAYS, *extra.values(), "ends, s"]
    yield f"| library | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * len(heads)}"
    for label, said in rows.items():
        name = f"**{label}**" if label in {HYDRA, f"{HYDRA} awaited"} else label
        why = said.get("unsupported") or said.get("failed")
        if why:
            text = f"failed: {why}" if "failed" in said else why
            yield f"| {name} | {cell(text)} |{' |' * (len(heads) - 1)}"
            continue
        yield f"| {name} | {' | '.join([*_cells(said), *_extras(said, extra), _end(said)])} |"


def _cells(said: dict[str, Any]) -> list[str]:
    lost = sum(said[f"{kind}_acknowledged"] - said[f"{kind}_kept"] for kind in ("error", "info"))
    return [
        f"{said['error_kept']:,} of {said['error_acknowledged']:,}",
        f"{said['info_kept']:,} of {said['info_acknowledged']:,}",
        f"{min(said['said'], lost):,} of {lost:,}" if lost else "",
        f"{said['twice']:,}" if said["twice"] else "",
        f"{said['raised']:,}" if said["raised"] else "",
        f"{said['worst_ms']:,}",
    ]


def _extras(said: dict[str, Any], extra: dict[str, str]) -> list[str]:
    return ["" if said.get(key) is None else f"{said[key]:,}" for key in extra]


def _end(said: dict[str, Any]) -> str:
    return "killed" if said["ended_s"] is None else f"{said['ended_s']:g}"


if __name__ == "__main__":
    write()
