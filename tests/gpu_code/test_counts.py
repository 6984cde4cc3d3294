"""What machine code is made of."""

import pytest

from graphcnn.gpu_code.counts import counted
from graphcnn.gpu_code.instructions import of_labels, of_sass
from tests.gpu_code.assembled import AMD, PTX, WAITING, sass


def test_the_main_loop_and_what_is_around_it():
    """The 3 to 9 of the loop, and the jump back from the wait; before, 0 to 2; behind, 10 to 12."""
    counts = counted(of_sass(WAITING), [])
    assert (counts.before, counts.step, counts.after) == (3, 8, 3)
    assert (counts.matrix, counts.copies, counts.shuffles) == ("HGMMA", "8", 1)
    assert counts.stores
    assert counts.spills_in_loops == 0


def test_an_unrolled_step_is_that_of_the_loop_it_was_written_as():
    assert counted(of_sass(WAITING), of_labels(PTX)).step == 4


def test_a_loop_that_was_unrolled_altogether():
    code = of_sass(
        sass(
            "LDGSTS.E [R2], desc[UR4][R4.64]",
            *["HMMA.16816.F32 R4, R8, R2, R4", "LDG.E.U16 R9, desc[UR4][R4.64]"] * 3,
            "STG.E desc[UR4][R2.64], R4",
            "EXIT",
        )
    )
    counts = counted(code, [])
    assert (counts.before, counts.step, counts.after) == (1, 5, 3)
    # The loads between may be of what comes behind: here of a bias.
    assert counts.copies == "4"


@pytest.mark.parametrize(
    ("loads", "copies"),
    [
        (["UTMALDG.4D [UR8], [UR4]"], "TMA"),
        (["UTMALDG.4D [UR8], [UR4]", "LDGSTS.E.BYPASS.128 [R2], desc[UR4][R4.64]"], "16"),
        (["LDGSTS.E.BYPASS.128 [R2], desc[UR4][R4.64]", "LDG.E R9, desc[UR4][R4.64]"], "plain"),
        (["LDS R9, [R4]"], "-"),
    ],
)
def test_copies(loads, copies):
    code = of_sass(sass("NOP", *loads, "UTCHMMA gdesc[UR10], tmem[UR7]", "@P0 BRA @1@", "EXIT"))
    counts = counted(code, [])
    assert (counts.matrix, counts.copies) == ("UTCHMMA", copies)


def test_spilled_registers_in_a_loop_and_outside():
    outside = of_sass(sass("STL [R1], R2", "NOP", "@P0 BRA @1@", "LDL R2, [R1]", "EXIT"))
    inside = of_sass(sass("STL [R1], R2", "LDL R2, [R1]", "@P0 BRA @1@", "EXIT"))
    assert counted(outside, []).spills_in_loops == 0
    assert counted(inside, []).spills_in_loops == 1


def test_a_kernel_without_products():
    counts = counted(of_sass(sass("NOP", "SHFL.BFLY PT, R0, R1, 0x1, 0x1f", "EXIT")), [])
    assert (counts.before, counts.step, counts.after) == (3, 0, 0)
    assert (counts.matrix, counts.copies, counts.shuffles) == ("", "-", 1)
    assert not counts.stores


def test_amd():
    code = of_labels(AMD)
    counts = counted(code, code)
    assert (counts.before, counts.step, counts.after) == (1, 4, 3)
    assert (counts.matrix, counts.copies, counts.shuffles) == ("v_mfma", "plain", 1)
    assert counts.stores
