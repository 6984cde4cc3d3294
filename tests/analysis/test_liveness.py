"""Live ranges over steps of any kind."""

from __future__ import annotations

import pytest

from graphcnn.analysis import LiveRange, live_ranges


def test_ranges_start_at_the_write_and_end_at_the_last_read() -> None:
    ranges = live_ranges(
        reads=[["x", "w"], ["a"], ["a", "b"]],
        writes=[["a"], ["b", "unread"], ["y"]],
        inputs=["x", "spare"],
        outputs=["y", "b"],
    )
    assert ranges == {
        "x": LiveRange(-1, 0),
        "spare": LiveRange(-1, -1),
        "w": LiveRange(-1, 0),
        "a": LiveRange(0, 2),
        "b": LiveRange(1, 3),
        "unread": LiveRange(1, 1),
        "y": LiveRange(2, 3),
    }
    assert list(ranges) == ["x", "spare", "w", "a", "b", "unread", "y"]


def test_a_name_written_twice_lives_from_the_first_write() -> None:
    ranges = live_ranges(reads=[[], [], ["a"]], writes=[["a"], ["a"], []])
    assert ranges == {"a": LiveRange(0, 2)}


def test_an_input_that_is_an_output_lives_throughout() -> None:
    assert live_ranges([[]], [[]], inputs=["x"], outputs=["x"]) == {"x": LiveRange(-1, 1)}


def test_as_many_reads_as_writes() -> None:
    with pytest.raises(ValueError, match="shorter"):
        live_ranges(reads=[["a"], ["b"]], writes=[["a"]])


@pytest.mark.parametrize(
    ("a", "b", "meet"),
    [((0, 2), (2, 3), True), ((0, 1), (2, 3), False), ((0, 9), (3, 4), True)],
)
def test_overlap_is_inclusive_and_symmetric(
    a: tuple[int, int], b: tuple[int, int], meet: bool
) -> None:
    assert LiveRange(*a).overlaps(LiveRange(*b)) is meet
    assert LiveRange(*b).overlaps(LiveRange(*a)) is meet
