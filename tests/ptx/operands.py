"""Operands of instructions: a register holds an array of 32 lanes, as bits of any type."""

import re

import numpy as np

from tests.ptx.program import UnknownInstruction

LANES = 32
UNSIGNED = {bits: np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)}
TYPES = {
    "pred": np.dtype(bool),
    **{f"{letter}{bits}": dtype for letter in "bu" for bits, dtype in UNSIGNED.items()},
    **{f"s{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"f{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
}
SHARED_BASE = "global_smem"


def bits_of(dtype):
    return 1 if dtype.kind == "b" else 8 * dtype.itemsize


def garbage(bits):
    """What a register holds that nobody wrote: NaN, in every type."""
    if bits == 1:
        return np.zeros(LANES, bool)
    return np.full(LANES, (1 << bits) - 1, UNSIGNED[bits])


def members(text):
    """The registers of a vector, or of a single operand."""
    return [name.strip() for name in text.strip("<>").split(",")]


def reader(program, text, dtype):
    """A function from a warp to the operand's lanes, as `dtype`; wider registers are cut off."""
    bits = program.registers.get(text)
    if bits is None:
        return _special(text, dtype) or _constant(text, dtype)
    if bits == bits_of(dtype):
        return lambda warp: warp.registers[text].view(dtype)
    if bits < bits_of(dtype) or dtype.kind == "b":
        raise UnknownInstruction(f"{text} has {bits} bits and is read as {dtype}")
    cut = UNSIGNED[8 * dtype.itemsize]
    return lambda warp: warp.registers[text].view(UNSIGNED[bits]).astype(cut).view(dtype)


def writer(program, text, dtype):
    """A function of a warp and lanes that sets the lanes of a register that are active."""
    if text == "_":
        return lambda warp, values: None
    bits = program.registers.get(text)
    if bits != bits_of(dtype):
        raise UnknownInstruction(f"{text} has {bits} bits and is written as {dtype}")

    def write(warp, values):
        if warp.active is not None:
            values = np.where(warp.active, values, warp.registers[text].view(dtype))
        warp.registers[text] = values

    return write


def address(program, text, dtype):
    """A function from a warp to the addresses of `[register + offset]`, as int64."""
    base, offset = re.fullmatch(r"\[\s*([%$\w]+)\s*(?:\+\s*(-?\w+)\s*)?\]", text).groups()
    read, shift = reader(program, base, dtype), int(offset or "0", 0)
    return lambda warp: read(warp).astype(np.int64) + shift


def _special(text, dtype):
    """Registers that tell a thread its place, or None."""
    if match := re.fullmatch(r"%(tid|ctaid|nctaid|ntid)\.([xyz])", text):
        name, axis = match[1], "xyz".index(match[2])
        return lambda warp: warp.place(name, axis).astype(dtype)
    if text == "%laneid":
        return lambda warp: np.arange(LANES).astype(dtype)
    return None


def _constant(text, dtype):
    if text == SHARED_BASE:
        value = np.zeros((), dtype)
    elif re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
        value = np.uint32(int(text[2:], 16)).view(np.float32)
    elif re.fullmatch(r"0[dD][0-9a-fA-F]{16}", text):
        value = np.uint64(int(text[2:], 16)).view(np.float64)
    elif re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", text):
        number = int(text.rstrip("U"), 0)
        if dtype.kind == "b":
            value = np.bool_(number)
        else:
            bits = bits_of(dtype)
            value = np.array(number % (1 << bits), UNSIGNED[bits]).view(dtype)
    else:
        raise UnknownInstruction(f"the operand {text}")
    if value.dtype != dtype:  # the bits of a number, where an instruction has no type
        value = value.view(dtype)
    lanes = np.full(LANES, value, dtype)
    return lambda warp: lanes
