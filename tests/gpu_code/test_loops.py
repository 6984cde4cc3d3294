"""The loops of machine code."""

from graphcnn.gpu_code.instructions import of_labels, of_sass
from graphcnn.gpu_code.loops import loops
from tests.gpu_code.assembled import AMD, PTX, WAITING, sass


def found(code):
    return sorted(map(sorted, loops(code)))


def test_a_wait_behind_the_end_belongs_to_its_loop_and_begins_none():
    assert found(of_sass(WAITING)) == [[3, 4, 5, 6, 7, 8, 9, 13, 14, 15], [13, 14]]


def test_loops_within_a_loop():
    code = of_sass(
        sass("NOP", "NOP", "@P0 BRA @1@", "NOP", "@P1 BRA @3@", "@P2 BRA @1@", "EXIT", "BRA @7@")
    )
    assert found(code) == [[1, 2, 3, 4, 5], [3, 4]]  # two have one head


def test_a_loop_that_is_entered_in_its_middle_begins_there():
    code = of_sass(sass("BRA @3@", "NOP", "@P0 EXIT", "NOP", "BRA @1@"))
    assert found(code) == [[1, 2, 3, 4]]


def test_code_that_nothing_reaches_has_no_loops():
    assert found(of_sass(sass("EXIT", "BRA @1@"))) == []
    assert loops([]) == []


def test_loops_between_labels():
    assert found(of_labels(PTX)) == [[1, 2, 3, 4, 5]]
    assert found(of_labels(AMD)) == [[1, 2, 3, 4]]
