"""
Web-hook events, delivered through an outage: `fallbacks` by itself, without any logging.

    python examples/webhooks.py [--async] [DIRECTORY]

A shop tells a receiver about its orders by HTTP. The receiver, a real server on this
machine, works, then answers 503 for a while, then works again; one event it never
takes. What it does not take is held in a file below DIRECTORY and replayed, in order.
With `--async` the same is done from an event loop.

Exit status 1 says that an event was lost, or that the receiver has one twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fallbacks import (
    AsyncSender,
    Chain,
    Delivered,
    HeldStore,
    Outcome,
    Permanent,
    Retry,
    Retryable,
    Sender,
    Sent,
)
from fallbacks.tiers import AsyncCallableTier, CallableTier

# -- the receiver


class Receiver(ThreadingHTTPServer):
    """Takes one event a request; answers 503 while it is down, and 422 to a sour one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.down = False
        self.orders: list[int] = []


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Receiver

    def do_POST(self) -> None:
        """Take an event."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 503 if self.server.down else 422 if event["total"] < 0 else 204
        if status == 204:
            self.server.orders.append(event["order"])
        self.send_response(status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a thread."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# -- the sender's side


def line_of(order: int, total: float) -> bytes:
    """Return an event as a line; its id makes it possible to know it again."""
    event = {"id": f"order-{order}", "order": order, "total": total}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def id_of(line: bytes) -> bytes | None:
    """Return the id of an event, or None for a line that was torn by a crash."""
    try:
        return str(json.loads(line)["id"]).encode()
    except (ValueError, KeyError, TypeError):
        return None


def post(address: tuple[str, int], lines: Sequence[bytes]) -> Outcome:
    """Send each event by a request of its own, and say how far it got."""
    for done, line in enumerate(lines):
        connection = HTTPConnection(*address, timeout=2.0)
        try:
            connection.request("POST", "/hooks", line, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return Delivered(done) if done else Retryable(error)
        finally:
            connection.close()
        if status >= 400:
            # What was taken comes first; the others are given to us again.
            return Delivered(done) if done else _failed(status)
    return Delivered()


def _failed(status: int) -> Outcome:
    return Retryable(f"status {status}") if status >= 500 else Permanent(f"status {status}")


async def apost(address: tuple[str, int], lines: Sequence[bytes]) -> Outcome:
    """As `post`, from an event loop."""
    return await asyncio.to_thread(post, address, lines)


def store_in(directory: Path) -> HeldStore:
    """Return the store for what the receiver does not take; it goes on where the last run ended."""
    store = HeldStore(
        str(directory / "webhooks"), app="shop", destination="receiver", run="webhooks",
        identify=id_of, weigh=lambda _: 1,
    )  # fmt: skip
    store.adopt()
    return store


RETRY = Retry(attempts=2, base=0.01)
BEFORE, MEANWHILE, AFTER = range(1, 4), range(4, 9), range(9, 11)
SOUR = 6


def events(orders: range) -> list[bytes]:
    """Return the events of *orders*; one of them the receiver never takes."""
    return [line_of(order, -1.0 if order == SOUR else order * 9.5) for order in orders]


def deliver(server: Receiver, directory: Path) -> list[Sent]:
    """Go through the outage on a thread."""
    store = store_in(directory)
    receiver = CallableTier(partial(post, server.server_address), name="receiver")
    chain = Chain([receiver, store], seconds=5.0, retry=RETRY)
    with Sender(chain, store=store) as sender:
        found = [sender.send(events(BEFORE))]
        server.down = True
        found += [sender.send([event]) for event in events(MEANWHILE)]
        found.append(sender.replay())
        server.down = False
        found.append(sender.send(events(AFTER)))
        # The breaker may still let the receiver rest; we know better.
        chain.hasten()
        found.append(sender.replay())
    return found


async def adeliver(server: Receiver, directory: Path) -> list[Sent]:
    """Go through the outage on an event loop."""
    store = store_in(directory)
    receiver = AsyncCallableTier(partial(apost, server.server_address), name="receiver")
    chain = Chain([receiver, store], seconds=5.0, retry=RETRY)
    async with AsyncSender(chain, store=store) as sender:
        found = [await sender.send(events(BEFORE))]
        server.down = True
        found += [await sender.send([event]) for event in events(MEANWHILE)]
        found.append(await sender.replay())
        server.down = False
        found.append(await sender.send(events(AFTER)))
        chain.hasten()
        found.append(await sender.replay())
    return found


def main() -> int:
    """Run the example; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--async", action="store_true", dest="on_loop", help="use an event loop")
    parser.add_argument("directory", nargs="?", help="where events are held; default: a new one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, receiving() as server:
        directory = Path(arguments.directory or scratch)
        if arguments.on_loop:
            found = asyncio.run(adeliver(server, directory))
        else:
            found = deliver(server, directory)
        left = list(directory.glob("webhooks*"))
    first, *meanwhile, vain, last, replayed = found
    print(f"before the outage   delivered {first.delivered}")
    held = sum(sent.held for sent in meanwhile)
    print(f"while it lasted     held {held}, replayed {vain.delivered}")
    print(f"when it was over    delivered {last.delivered}, held {last.held}")
    print(f"replayed            delivered {replayed.delivered}, held {replayed.held}")
    rejected = [json.loads(line)["order"] for sent in found for line in sent.rejected]
    print(f"rejected for good   order {', '.join(map(str, rejected))}")
    print(f"the receiver has    {server.orders}")
    expected = set(BEFORE) | set(MEANWHILE) | set(AFTER)
    complete = sorted([*server.orders, *rejected]) == sorted(expected) and not left
    print("nothing is lost, and nothing there twice" if complete else "FAILED")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
