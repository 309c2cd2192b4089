from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.outcomes import DELIVERED, Partial, Retryable
from fallbacks.tiers._lines import chunk_end, count_whole, is_torn, judge

pytestmark = pytest.mark.unit

pieces_of = st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\n", b"") + b"\n"))


@given(pieces_of, st.data())
def test_any_byte_count_gives_exactly_the_whole_lines(pieces: list[bytes], data: st.DataObject):
    """
    The lines counted fit into what was written, and the next one does not.
    """
    joined = b"".join(pieces)
    written = data.draw(st.integers(0, len(joined)))
    whole = count_whole(pieces, written)

    assert joined[:written].count(b"\n") == whole


@given(st.lists(st.binary(min_size=1, max_size=6)), st.data())
def test_lines_reported_taken_are_always_a_prefix(pieces: list[bytes], data: st.DataObject):
    """
    Delivered, Partial and Retryable together account for each line once.
    """
    size = sum(map(len, pieces))
    written = data.draw(st.integers(0, size))
    error = OSError(28, "full")
    outcome = judge(pieces, size, written, error)

    match outcome:
        case Partial(indices, rest):
            assert list(range(len(indices))) == list(indices)
            assert Retryable(error) == rest
            assert sum(map(len, pieces[: len(indices)])) <= written < size
        case Retryable():
            assert written < len(pieces[0])
        case _:
            assert DELIVERED is outcome
            assert size == written


@given(st.binary(max_size=40).map(lambda b: b.replace(b"\x00", b"\n")), st.integers(1, 10))
def test_chunks_end_behind_newlines_and_lose_no_byte(data: bytes, limit: int):
    """
    Chunks put together are the data; a chunk over the limit is one long line.
    """
    chunks = []
    start = 0
    while start < len(data):
        end = chunk_end(data, start, limit)
        chunks.append(data[start:end])
        start = end

    assert data == b"".join(chunks)
    for chunk in chunks[:-1]:
        assert chunk.endswith(b"\n")
    for chunk in chunks:
        assert len(chunk) <= limit or b"\n" not in chunk[:-1]


@pytest.mark.parametrize(
    ("data", "written", "before", "expected"),
    [
        (b"ab\n", 0, True, True),
        (b"ab\n", 0, False, False),
        (b"ab\n", 1, False, True),
        (b"ab\n", 3, True, False),
        (b"\nab\n", 1, True, False),
    ],
)
def test_torn_is_told_by_the_last_byte_written(data, written, before, expected):
    """
    A write that took nothing changes nothing; else the last byte decides.
    """
    torn = is_torn(data, written, before)

    assert expected == torn
