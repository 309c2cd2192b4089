from __future__ import annotations

import pytest

from fallbacks import Batch

pytestmark = pytest.mark.unit

LINES = [b"a\n", b"b\n", b"c\n"]


def test_lines_are_joined_once() -> None:
    """
    The bytes of a batch are its lines in order, and the same object each time.
    """
    batch = Batch(LINES)

    assert b"a\nb\nc\n" == batch.data
    assert batch.data is batch.data


def test_batch_reads_like_a_sequence() -> None:
    """
    A batch has the length, the items and the slices of its lines.
    """
    batch = Batch(LINES)

    assert (3, LINES, b"b\n", [b"b\n", b"c\n"], b"c\n") == (
        len(batch),
        list(batch),
        batch[1],
        batch[1:],
        batch[-1],
    )


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
)
def test_selected_lines_keep_the_mark_unless_told_otherwise(
    before: bool, asked: bool | None, after: bool
) -> None:
    """
    `select` gives the lines in the order asked for; the mark is inherited or replaced.
    """
    chosen = Batch(LINES, duplicate=before).select([2, 0], duplicate=asked)

    assert ([b"c\n", b"a\n"], after) == (list(chosen), chosen.duplicate)


def test_selecting_leaves_the_batch_alone() -> None:
    """
    A batch never changes.
    """
    batch = Batch(LINES)
    batch.select([0], duplicate=True)

    assert (LINES, False) == (list(batch), batch.duplicate)


def test_repr_tells_size_and_mark() -> None:
    """
    A repr can be compared.
    """
    assert ("<Batch [3 lines]>", "<Batch [0 lines, duplicate]>") == (
        repr(Batch(LINES)),
        repr(Batch([], duplicate=True)),
    )
