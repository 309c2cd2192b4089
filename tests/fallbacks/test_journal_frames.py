"""
Journal frames: written and read back, and unharmed by any bytes.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks.journal.frames import (
    LONGEST,
    MAGIC,
    Acknowledgement,
    FrameKind,
    Header,
    Range,
    Scan,
    decode_ack,
    decode_header,
    decode_record,
    encode_ack,
    encode_frame,
    encode_header,
    encode_record,
    parse,
    ranges_of,
)
from fallbacks.position import Position

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent.parent / "golden"
HEADER = Header("shop", 1000, "boot", "pid:[1]", 7, "runa", 1, ("app", "audit"))


def record(n: int) -> bytes:
    """Return the frame of a record."""
    return encode_record(b"app,audit", b'{"n":%d,"id":"runa.1g-%d"}\n' % (n, n))


def payloads(data: bytes) -> list[bytes]:
    """Return the payloads of all frames."""
    return [frame.payload for frame in parse(data)]


def counts(data: bytes) -> tuple[int, int, int]:
    """Return the numbers of whole, torn and bad frames."""
    scan = parse(data)
    frames = len(list(scan))
    return frames, scan.torn, scan.bad


def test_frame_has_the_published_form() -> None:
    """The bytes of a frame are a permanent contract."""
    checksum = zlib.crc32(b'Rapp {"a":1}')

    assert b'\nJ1 R %08x 11 app {"a":1}\n' % checksum == encode_record(b"app", b'{"a":1}\n')
    assert encode_record(b"app", b"x\n") == encode_record(b"app", b"x")
    assert encode_record(b"app", b"x") == encode_frame(FrameKind.RECORD, b"app x")


def test_golden_segment_is_read_for_ever() -> None:
    """The segment kept since version 1 still says the same."""
    data = (GOLDEN / "journal-v1.j").read_bytes()
    scan = parse(data)
    frames = list(scan)

    assert ["HEADER", "RECORD", "RECORD", "ACKNOWLEDGEMENT", "RECORD"] == [
        frame.kind.name for frame in frames
    ]
    assert (1, 0) == (scan.torn, scan.bad)
    assert Header(
        "shop", 1000, "cb055853", "pid:[1]", 4242, "k3f9x2ab71qz", 1, ("app", "audit")
    ) == decode_header(frames[0].payload)
    assert (
        ("app", "audit"),
        (
            b'{"timestamp":"2026-11-21T01:44:00.000001Z","level":"error","logger":"shop",'
            b'"message":"one","id":"k3f9x2ab71qz.1g-1"}\n'
        ),
    ) == decode_record(frames[1].payload)
    assert Acknowledgement(
        "app", Position(2049, 131, 4096), (Range(b"k3f9x2ab71qz.1g", 1, 2),)
    ) == decode_ack(frames[3].payload)


def test_headers_and_acks_come_back() -> None:
    """What is encoded is decoded to the same facts."""
    frames = encode_ack("app", Position(1, 2, 3), [b"r.1g-2", b"r.1g-1", b"r.1g-9", b"r.2g-5"])

    assert HEADER == decode_header(payloads(encode_header(HEADER))[0])
    assert [
        Acknowledgement(
            "app",
            Position(1, 2, 3),
            (Range(b"r.1g", 1, 2), Range(b"r.1g", 9, 9), Range(b"r.2g", 5, 5)),
        )
    ] == [decode_ack(payload) for payload in payloads(b"".join(frames))]


def test_many_ids_need_several_frames() -> None:
    """No acknowledgement frame grows without bound."""
    frames = encode_ack("app", None, (b"r.1g-%d" % n for n in range(0, 10_000, 2)))

    assert 3 == len(frames)
    assert max(map(len, frames)) < 64 * 1024


@pytest.mark.parametrize("bad", [b"x", b"-3", b"a-", b"a-b", b"a,b-3", b"a b-3"])
def test_odd_id_cannot_be_acknowledged(bad: bytes) -> None:
    """An id without stream and number is a mistake of the caller."""
    with pytest.raises(ValueError, match="stream-number"):
        ranges_of([bad])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"app - ",
        b"app 1:2 r:1",
        b"app 1:2:3:4 r:1",
        b"app - r",
        b"app - r:x",
        b"app - r:1-",
        b"app - :1",
        b"a/b - r:1",
        b"app - r:+1",
        b"app - r:" + b"9" * 30,
    ],
)
def test_odd_acknowledgement_is_none(payload: bytes) -> None:
    """A payload that is not one acknowledges nothing."""
    ack = decode_ack(payload)

    assert ack is None or ack.ranges == ()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"version":true}',
        b'{"version":1,"app":1}',
        b'{"version":1,"app":"","boot":"","pidns":"","run":"","uid":1,"pid":1,"segment":1}',
        b'{"version":1,"app":"","boot":"","pidns":"","run":"","uid":1,"pid":1,"segment":"x"}',
    ],
)
def test_odd_header_is_none(payload: bytes) -> None:
    """A header that cannot be understood does not raise."""
    assert decode_header(payload) is None


def test_future_header_says_its_version() -> None:
    """Of a newer header only the version is believed."""
    header = decode_header(b'{"version":9,"anything":[]}')

    assert header is not None
    assert 9 == header.version


@pytest.mark.parametrize("payload", [b"", b"app", b"app ", b"a/b x", b", x", b"app a\nb"])
def test_odd_record_is_none(payload: bytes) -> None:
    """A payload without destinations or line is no record."""
    assert decode_record(payload) is None


def test_torn_tail_of_a_killed_process_is_torn_not_bad() -> None:
    """A frame cut anywhere, at the end or before zeros, is torn; the others are read."""
    last = record(2)
    for cut in range(2, len(last)):
        for tail in (b"", bytes(100)):
            assert (1, 1, 0) == counts(record(1) + last[:cut] + tail), cut


def test_short_write_in_the_middle_is_torn() -> None:
    """A frame cut by the next one is torn, and the next one is read."""
    for cut in range(5, len(record(2)) - 1):
        assert (2, 1, 0) == counts(record(1) + record(2)[:cut] + record(3)), cut


def test_missing_last_newline_costs_no_frame() -> None:
    """When only the final newline is missing, both frames around the gap are read."""
    assert (3, 0, 0) == counts(record(1) + record(2)[:-1] + record(3))


def test_flipped_bit_is_bad() -> None:
    """A complete frame that fails its CRC is damage."""
    data = bytearray(record(1) + record(2) + record(3))
    data[len(record(1)) + 30] ^= 1

    assert (2, 0, 1) == counts(bytes(data))


def test_garbage_between_and_after_is_bad() -> None:
    """Appended garbage costs no frame."""
    assert 2 == counts(record(1) + b"garbage" + record(2) + b"more" * 1000)[0]
    assert 0 < counts(record(1) + b"garbage")[2]


def test_absurd_length_is_not_believed() -> None:
    """A length beyond the longest is skipped without reading that much."""
    assert (1, 0) == counts(MAGIC + b"R 00000000 %d x" % (LONGEST + 1) + record(1))[:2]


def test_frames_across_windows_are_read() -> None:
    """A frame that begins in one window and ends in the next is whole."""
    frames = [encode_record(b"app", b"%d" % n * 700_000) for n in range(4)]

    assert (4, 0, 0) == counts(b"".join(frames))


def test_huge_garbage_is_read_in_windows() -> None:
    """Reading holds a window, however large the file."""
    size = 1 << 30
    asked: list[int] = []
    frame = record(1)

    def read(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        stop = min(stop, size)
        if start >= size - len(frame):
            return frame[start - size + len(frame) : stop - size + len(frame)]
        if stop > size - len(frame):
            return bytes(size - len(frame) - start) + frame[: stop - size + len(frame)]
        return bytes(stop - start)

    assert [frame] == [encode_frame(f.kind, f.payload) for f in Scan(read, size)]
    assert max(asked) <= LONGEST + 100


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.integers(1, 5).map(record),
            st.integers(1, 5).map(lambda n: record(n)[: 7 * n]),
            st.just(MAGIC),
            st.just(bytes(50)),
        ),
        max_size=12,
    )
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_parsed(parts: list[bytes]) -> None:
    """Parsing never raises, and finds every whole frame that nothing overlaps."""
    frames = list(parse(b"".join(parts)))
    data = b"".join(parts)

    for frame in frames:
        assert data[frame.start : frame.end] == encode_frame(frame.kind, frame.payload)
    if parts and len(parts[-1]) > 30 and parts[-1][:1] == b"\n":
        whole = [part for part in (record(n) for n in range(1, 6)) if part == parts[-1]]
        assert not whole or frames
