"""Machine code as a list of instructions."""

from graphcnn.gpu_code.instructions import of_labels, of_sass
from tests.gpu_code.assembled import AMD, PTX, WAITING, sass


def jumps(code):
    """Of those that may jump or end: where to, and whether the next one may follow."""
    return {i: (x.target, x.goes_on) for i, x in enumerate(code) if x.target is not None}


def test_sass():
    code = of_sass(WAITING)
    assert len(code) == 18
    assert code[3].name == "LDGSTS.E.BYPASS.128"
    assert code[3].text == "LDGSTS.E.BYPASS.128 [R2], desc[UR4][R4.64]"
    assert jumps(code) == {
        1: (12, True),
        5: (13, True),
        9: (3, True),
        14: (13, True),
        15: (6, False),
        16: (16, False),
    }
    assert not code[12].goes_on


def test_jumps_of_sass_that_name_their_predicate():
    code = of_sass(
        sass(
            "BRA.U !UP1, @3@", "@UP0 BRA.U @3@", "CALL.REL.NOINC @3@", "@P1 EXIT", "RET.REL R2 0x0"
        )
    )
    assert [(x.target, x.goes_on) for x in code] == [
        (3, True),
        (3, True),
        (3, True),
        (None, True),
        (None, False),
    ]


def test_ptx():
    code = of_labels(PTX)
    names = [x.name for x in code]
    assert names == [
        "mov.b32",
        "mbarrier.try_wait.parity.shared.b64",
        "bra.uni",
        "bra",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16",
        "bra",
        "st.global.b32",
        "ret",
    ]
    assert jumps(code) == {2: (1, True), 3: (5, True), 5: (1, True)}
    assert not code[-1].goes_on


def test_a_label_that_stands_twice_is_the_nearest_before():
    text = "wait:\n mov.b32 a;\n @!p bra.uni wait;\nwait:\n mov.b32 b;\n @!p bra.uni wait;"
    assert jumps(of_labels(text)) == {1: (0, True), 3: (2, True)}


def test_amd():
    code = of_labels(AMD)
    assert [x.name for x in code][:2] == ["s_load_dwordx2", "buffer_load_dwordx4"]
    assert jumps(code) == {4: (1, True)}
    assert [i for i, x in enumerate(code) if not x.goes_on] == [7]
