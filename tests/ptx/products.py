"""`mma.sync`: the matrix product of a warp.

Products are exact, and the sum of 8 or 16 of them and the accumulator is rounded once to float32; a
tensor core cuts the smaller summands off, and so loses a few units more. Of tf32 operands it reads
19 bits: the 13 lowest are dropped here too, and not rounded.
"""

import re

import numpy as np

from tests.ptx.formats import from_bf16
from tests.ptx.operands import LANES, TYPES, members, reader, writer
from tests.ptx.program import PtxError, UnknownInstruction

GROUP, THREAD = np.arange(LANES) >> 2, np.arange(LANES) & 3
KINDS = {
    "f16": (2, lambda bits: bits.view(np.float16)),
    "bf16": (2, lambda bits: from_bf16(bits.view(np.uint16))),
    "tf32": (1, lambda bits: (bits & np.uint32(0xFFFFE000)).view(np.float32)),
}


def places(rows, columns, of_register, registers, each):
    """Where in [registers, lanes, each] the element of every row and column lies."""
    index = np.empty((rows, columns), np.int64)
    for register in range(registers):
        for element in range(each):
            row, column = of_register(register, element)
            index[row, column] = (register * LANES + np.arange(LANES)) * each + element
    return index


def product(program, instruction):
    """A step of m16n8k8 or m16n8k16 with float32 sums; fragments are those of the PTX manual."""
    match = re.fullmatch(
        r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.f32\.(\w+)\.\2\.f32", instruction.opcode
    )
    if match is None or match[2] not in KINDS:
        raise UnknownInstruction(str(instruction))
    depth, (each, decode) = int(match[1]), KINDS[match[2]]
    names = [members(operand) for operand in instruction.operands]
    sums, *operands = (
        [reader(program, name, TYPES[kind]) for name in part]
        for kind, part in zip(("f32", "b32", "b32"), (names[3], *names[1:3]), strict=True)
    )
    outputs = [writer(program, name, TYPES["f32"]) for name in names[0]]
    step = 4 * each  # of the reduction, from one register of a thread to the next
    left = places(
        16,
        depth,
        lambda r, e: (GROUP + 8 * (r % 2), THREAD * each + e + step * (r // 2)),
        len(names[1]),
        each,
    )
    right = places(
        depth, 8, lambda r, e: (THREAD * each + e + step * r, GROUP), len(names[2]), each
    )
    into = places(16, 8, lambda r, _: (GROUP + 8 * (r // 2), 2 * THREAD + r % 2), 4, 1)
    back = np.argsort(into.ravel())

    def matrix(warp, registers, index, convert):
        stacked = np.stack([read(warp) for read in registers])
        return convert(stacked).ravel()[index].astype(np.float64)

    def run(warp):
        if warp.active is not None:
            raise PtxError("a matrix product of a part of a warp")
        a, b = (
            matrix(warp, part, index, decode)
            for part, index in zip(operands, (left, right), strict=True)
        )
        total = matrix(warp, sums, into, lambda x: x) + a @ b
        lanes = total.astype(np.float32).ravel()[back].reshape(4, LANES)
        for output, values in zip(outputs, lanes, strict=True):
            output(warp, values)

    return run
