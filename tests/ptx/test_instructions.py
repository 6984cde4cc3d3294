"""Single instructions, and the checks of memory, on one or two warps of hand-written PTX."""

import re

import numpy as np
import pytest
import torch

from tests.ptx.launching import execute
from tests.ptx.machine import EARLY, LATE
from tests.ptx.program import PtxError, UnknownInstruction, parse

HEAD = """
.visible .entry kernel(
	.param .u64 .ptr .global .align 1 kernel_param_0,
	.param .u64 .ptr .global .align 1 kernel_param_1
)
{
	.reg .pred %p<4>; .reg .b16 %rs<9>; .reg .b32 %r<16>; .reg .b64 %rd<9>;
	ld.param.b64 %rd1, [kernel_param_0];
	ld.param.b64 %rd2, [kernel_param_1];
	mov.u32 %r0, %tid.x;
	mul.wide.u32 %rd3, %r0, 4;
	add.s64 %rd4, %rd1, %rd3;
	add.s64 %rd5, %rd2, %rd3;
"""


def run(body, x, y, **options):
    """`body` finds the thread in %r0, its words of x and y at %rd4 and %rd5, 16 bytes of shared
    memory a thread, and 32 KiB of it in all."""
    options = {"schedule": LATE, "shared_bytes": 1 << 15} | options
    return execute(HEAD + body + "\n\tret;\n}\n", [x, y], **options)


def computed(opcode, numbers, dtype=np.float32, result=None):
    """What one instruction makes of up to four operands of 32 bits: rows of `numbers`."""
    given = np.zeros((4, 32), dtype)
    given[: len(numbers), : len(numbers[0])] = numbers
    x, y = torch.from_numpy(given.view(np.int32)), torch.full((32,), -1, dtype=torch.int32)
    loads = "".join(f"ld.global.b32 %r{i + 1}, [%rd4+{128 * i}];\n" for i in range(4))
    operands = ", ".join(f"%r{i + 1}" for i in range(len(numbers)))
    run(f"{loads} {opcode} %r9, {operands}; st.global.b32 [%rd5], %r9;", x, y)
    return y.numpy().view(result or dtype)[: len(numbers[0])]


INTEGERS = [[7, -7, 7, -7, 0, 2**31 - 1, -(2**31)], [2, 2, -2, -2, 3, -1, 3]]
WHOLE = {
    "div.s32": [3, -3, -3, 3, 0, -(2**31 - 1), -715827882],
    "rem.s32": [1, -1, 1, -1, 0, 0, -2],
    "mul.lo.s32": [14, -14, -14, 14, 0, -(2**31 - 1), -(2**31)],
    "mul.hi.s32": [0, -1, -1, 0, 0, -1, -2],
    "add.s32": [9, -5, 5, -9, 3, 2**31 - 2, -(2**31) + 3],
    "min.s32": [2, -7, -2, -7, 0, -1, -(2**31)],
}


@pytest.mark.parametrize("opcode", WHOLE)
def test_integers(opcode):
    assert computed(opcode, INTEGERS, np.int32).tolist() == WHOLE[opcode]


@pytest.mark.parametrize(
    ("opcode", "operands", "want"),
    [
        ("shl.b32", (0x81, 4), 0x810),
        ("shl.b32", (1, 32), 0),
        ("shr.u32", (0x80000000, 31), 1),
        ("shr.u32", (0x80000000, 99), 0),
        ("shr.s32", (0x80000000, 99), 0xFFFFFFFF),
        ("bfe.u32", (0xABCD, 4, 8), 0xBC),
        ("bfe.s32", (0x80, 7, 1), 0xFFFFFFFF),
        ("prmt.b32", (0x33221100, 0x77665544, 0x7520), 0x77552200),
        ("prmt.b32", (0x80, 0, 0x8888), 0xFFFFFFFF),
        ("shf.l.wrap.b32", (0xF0000000, 0x1, 4), 0x1F),
        ("xor.b32", (0xFF00, 0x0FF0), 0xF0F0),
        ("lop3.b32", (0b1100, 0b1010, 0b0110, 0x96), 0b1100 ^ 0b1010 ^ 0b0110),
        ("lop3.b32", (0b1100, 0b1010, 0b0110, 0xCA), 0b1010),
    ],
)
def test_bits(opcode, operands, want):
    (found,) = computed(opcode, [[value] for value in operands], np.uint32)
    assert found == want


@pytest.mark.parametrize(
    ("opcode", "operands", "want"),
    [
        ("max.f32", (float("nan"), 2.0), 2.0),
        ("max.NaN.f32", (float("nan"), 2.0), float("nan")),
        ("max.f32", (1.0, 3.0, 2.0), 3.0),
        ("add.f32", (1.0, 2.0**-25), 1.0),
        ("mul.rn.ftz.f32", (2.0**-100, 2.0**-30), 0.0),
        ("fma.rn.f32", (1 + 2.0**-23, 1 + 2.0**-23, -1.0), 2.0**-22 + 2.0**-46),
        ("fma.rm.ftz.f32", (1.5, 1.0, 12582913.0), 12582914.0),
        ("ex2.approx.ftz.f32", (-3.0,), 0.125),
        ("ex2.approx.ftz.f32", (-140.0,), 0.0),
        ("rcp.approx.ftz.f32", (4.0,), 0.25),
        ("rsqrt.approx.ftz.f32", (16.0,), 0.25),
        ("sqrt.rn.f32", (9.0,), 3.0),
        ("neg.f32", (0.0,), -0.0),
        ("cvt.ftz.sat.f32.f32", (float("nan"),), 0.0),
        ("cvt.ftz.sat.f32.f32", (2.0,), 1.0),
        ("cvt.rna.tf32.f32", (1 + 2.0**-11,), 1 + 2.0**-10),
        ("cvt.rna.tf32.f32", (-(1 + 2.0**-11 - 2.0**-23),), -1.0),
    ],
)
def test_floats(opcode, operands, want):
    found = computed(opcode, [[value] for value in operands])
    np.testing.assert_array_equal(found.view(np.int32), np.float32([want]).view(np.int32))


@pytest.mark.parametrize(
    ("opcode", "want"),
    [
        ("cvt.rzi.s32.f32", [2, -2, 2**31 - 1, -(2**31), 0]),
        ("cvt.rni.ftz.s32.f32", [2, -2, 2**31 - 1, -(2**31), 0]),
        ("cvt.rmi.s32.f32", [2, -3, 2**31 - 1, -(2**31), 0]),
    ],
)
def test_floats_to_integers(opcode, want):
    numbers = [2.5, -2.5, 3e9, float("-inf"), float("nan")]
    assert computed(opcode, [numbers], result=np.int32).tolist() == want


@pytest.mark.parametrize(("kind", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_pairs_of_halves_are_rounded_as_in_torch(kind, dtype):
    x = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    x[0, :3] = torch.tensor([float("inf"), 1 + 2.0**-9 + 2.0**-8, 1 + 2.0**-9])
    found = computed(f"cvt.rn.{kind}x2.f32", x.numpy(), result=np.int32)
    want = x.to(dtype).view(torch.int16).numpy()
    np.testing.assert_array_equal(found.view(np.int16).reshape(-1, 2), want[::-1].T)


@pytest.mark.parametrize(
    ("compare", "want"),
    [
        ("lt", [1, 0, 0]),
        ("ltu", [1, 0, 1]),
        ("ne", [1, 0, 0]),
        ("neu", [1, 0, 1]),
        ("num", [1, 1, 0]),
    ],
)
def test_comparisons_with_nan(compare, want):
    x = torch.tensor([[1.0, 2.0, float("nan")] + [0.0] * 29, [2.0] * 32])
    y = torch.zeros(32, dtype=torch.int32)
    body = f"""
        ld.global.b32 %r1, [%rd4]; ld.global.b32 %r2, [%rd4+128];
        setp.{compare}.f32 %p1, %r1, %r2; selp.b32 %r3, 1, 0, %p1; st.global.b32 [%rd5], %r3;"""
    run(body, x, y)
    assert y[:3].tolist() == want


def test_lanes_that_part_meet_again():
    """Lane n goes n times through a loop; then all shuffle, which needs all of them."""
    x, y = torch.zeros(32, dtype=torch.int32), torch.zeros(32, dtype=torch.int32)
    body = """
        mov.b32 %r1, 0; mov.b32 %r2, %r0;
    $again:
        setp.eq.b32 %p1, %r1, %r0;
        @%p1 bra $done;
        add.s32 %r2, %r2, %r1; add.s32 %r1, %r1, 1;
        bra.uni $again;
    $done:
        shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;
        st.global.b32 [%rd5], %r3;"""
    run(body, x, y)
    assert y.tolist() == [n + n * (n - 1) // 2 for n in (lane ^ 1 for lane in range(32))]


def test_what_is_not_known_is_named():
    x = torch.zeros(32)
    for text in (
        "frobnicate.b32 %r1, %r2",
        "add.rz.f32 %r1, %r1, %r1",
        "add.f32 %r1, %r1, %r1, %r1",
        "ld.local.b32 %r1, [%r0]",
    ):
        with pytest.raises(UnknownInstruction, match=re.escape(text)):
            run(f"{text};", x, x)
    with pytest.raises(UnknownInstruction, match="operand magic"):
        run("mov.b32 %r1, magic;", x, x)


def test_an_instruction_that_is_not_reached_need_not_be_known():
    x = torch.zeros(32)
    run("bra $end; frobnicate.b32 %r1, %r2;\n$end:\n", x, x)


def test_parts_of_a_program():
    text = HEAD + "\t.loc\t1 7 0 // a.py:7:0\n\t{ .reg .b16 c; @!%p1 mov.b16 c, 0x8000U; }\n"
    program = parse(text + "$L:\n\tmov.b32 %r1, {%rs1, c};\n\tret;\n}\n")
    assert program.parameters == {"kernel_param_0": 64, "kernel_param_1": 64}
    assert (program.registers["%rd8"], program.registers["c"]) == (64, 16)
    first, second = program.instructions[6:8]
    assert (first.negated, first.predicate, first.source) == (True, "%p1", "a.py:7:0")
    assert second.operands == ("%r1", "<%rs1, c>")
    assert program.labels == {"$L": 7}


def test_bounds_and_alignment():
    x, y = torch.zeros(64)[16:48], torch.zeros(32)
    with pytest.raises(PtxError, match=r"16 lanes, the first at byte 128 of a tensor of 128"):
        run("ld.global.b32 %r1, [%rd4+64];", x, y)
    with pytest.raises(PtxError, match=r"the first at byte -4 of a tensor"):
        run("ld.global.b32 %r1, [%rd4+-4];", x, y)
    with pytest.raises(PtxError, match="no multiple of the 8 bytes"):
        run("ld.global.v2.b32 {%r1, %r2}, [%rd4];", x, y)
    run("setp.lt.u32 %p1, %r0, 16; @%p1 ld.global.b32 %r1, [%rd4+64];", x, y)


SHARED = "shl.b32 %r1, %r0, 4; mov.b32 %r2, global_smem; add.s32 %r3, %r2, %r1;"
START = f"{SHARED} shl.b64 %rd6, %rd3, 2; add.s64 %rd7, %rd1, %rd6;"
END = "ld.shared.b32 %r5, [%r3+12]; st.global.b32 [%rd5], %r5;"
OWN = "st.shared.b32 [%r3], %r0;"
OTHER = "xor.b32 %r4, %r3, 512; ld.shared.b32 %r5, [%r4];"
PULL = "cp.async.ca.shared.global [ %r3 + 0 ], [ %rd7 + 0 ], 0x10, 0x10; cp.async.commit_group;"


@pytest.mark.parametrize("schedule", [EARLY, LATE])
def test_copies(schedule):
    x, y = torch.arange(128.0), torch.zeros(32)
    run(f"{START} {PULL} cp.async.wait_group 0; {END}", x, y, schedule=schedule)
    assert torch.equal(y, x[3::4])
    for wait in ("", "cp.async.wait_group 1;"):
        with pytest.raises(PtxError, match="before its copy was waited for"):
            run(f"{START} {PULL} {wait} {END}", x, y, schedule=schedule)
    with pytest.raises(PtxError, match="two copies to the same"):
        run(f"{START} {PULL} {PULL}", x, y, schedule=schedule)


def test_a_copy_of_less_is_followed_by_zeros():
    x, y = torch.arange(1.0, 129.0), torch.zeros(32)
    part = PULL.replace("0x10, 0x10", "0x10, %r6")
    run(f"{START} mov.b32 %r6, 12; {part} cp.async.wait_group 0; {END}", x, y)
    assert not y.any()


def test_a_copy_of_nothing_has_to_be_near():
    x, y = torch.zeros(128), torch.zeros(32)
    nothing = f"{START} mov.b32 %r6, 0; add.s64 %rd7, %rd7, 512; {PULL}".replace(
        ", 0x10;", ", %r6;"
    )
    with pytest.raises(
        PtxError, match=r"may not be mapped: .* first at byte 512 of a tensor of 512"
    ):
        run(nothing, x, y)
    run(nothing, x, y, masked_reach=512)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (f"{OWN} {OTHER}", "since the last barrier"),
        (f"{OWN} bar.sync 0; {OTHER}", None),
        (f"{OTHER} {OWN}", "since the last barrier"),
        ("st.shared.b32 [global_smem], %r0;", "two warps write"),
        ("st.shared.b32 [global_smem], 5;", None),
        ("ld.shared.b32 %r5, [%r3+32760];", "outside of 32768 bytes"),
        ("ld.shared.v2.b32 {%r5, %r6}, [%r3+4];", "no multiple of 8"),
    ],
)
def test_races_in_shared_memory(body, told):
    x, y = torch.zeros(64), torch.zeros(64)
    if told is None:
        run(f"{SHARED} {body}", x, y, num_warps=2)
    else:
        with pytest.raises(PtxError, match=told):
            run(f"{SHARED} {body}", x, y, num_warps=2)


def test_a_barrier_that_a_warp_does_not_reach():
    x = torch.zeros(64)
    body = "setp.lt.u32 %p1, %r0, 32; @%p1 bra $end; bar.sync 0;\n$end:\n"
    with pytest.raises(PtxError, match="1 of 2 warps wait at a barrier"):
        run(body, x, x, num_warps=2)
    with pytest.raises(PtxError, match="a part of a warp at a barrier"):
        run(body.replace("32", "8"), x, x)


@pytest.mark.parametrize(("stride", "sectors", "wavefronts"), [(4, 4, 1), (8, 8, 2), (128, 32, 32)])
def test_counters(stride, sectors, wavefronts):
    x, y = torch.zeros(1024), torch.zeros(32)
    body = f"""
        mul.lo.s32 %r1, %r0, {stride}; mov.b32 %r2, global_smem; add.s32 %r3, %r2, %r1;
        cvt.u64.u32 %rd6, %r1; add.s64 %rd7, %rd1, %rd6;
        ld.global.b32 %r4, [%rd7]; st.shared.b32 [%r3], %r4;"""
    counters = run(body, x, y)
    assert counters.requests["global load"] == 1
    assert counters.sectors["global load"] == sectors
    assert counters.wavefronts["shared store"] == wavefronts
    assert counters.instructions["ld.global"] == 1
