"""What moves data: loads, stores, asynchronous copies, ldmatrix, shuffles, and moves."""

import re

import numpy as np

from tests.ptx.operands import (
    LANES,
    TYPES,
    UNSIGNED,
    address,
    members,
    reader,
    writer,
)
from tests.ptx.program import PtxError, UnknownInstruction

U32, U64 = TYPES["u32"], TYPES["u64"]
CACHED = {"ca", "cg", "nc", "volatile"}  # what changes where data is kept, and not what it is


def _lanes(warp):
    return np.ones(LANES, bool) if warp.active is None else warp.active


def move(program, instruction):
    """`mov`, which also packs the parts of a vector into a register and unpacks them."""
    (kind,), (target, source) = instruction.parts[1:], instruction.operands
    dtype = TYPES[kind]
    if "<" not in target + source:
        read, write = reader(program, source, dtype), writer(program, target, dtype)
        return lambda warp: write(warp, read(warp))
    names = members(target if "<" in target else source)
    part = UNSIGNED[8 * dtype.itemsize // len(names)]
    if "<" in source:
        reads = [reader(program, name, part) for name in names]
        write = writer(program, target, dtype)

        def pack(warp):
            write(warp, np.stack([read(warp) for read in reads], 1).view(dtype)[:, 0])

        return pack
    read = reader(program, source, dtype)
    writes = [writer(program, name, part) for name in names]

    def unpack(warp):
        for write, values in zip(writes, read(warp)[:, None].view(part).T, strict=True):
            write(warp, values.copy())

    return unpack


def access(program, instruction):
    """`ld` and `st` of parameters, and of global and shared memory, also of vectors."""
    name, space, *names, kind = instruction.parts
    vector = next((int(n[1]) for n in names if re.fullmatch(r"v\d", n)), 1)
    known = {f"v{vector}"} | (CACHED if space == "global" else set())
    if kind not in TYPES or set(names) - known:
        raise UnknownInstruction(str(instruction))
    dtype = TYPES[kind]
    if (name, space) == ("ld", "param"):
        return _parameter(program, instruction, dtype)
    places = {"global": U64, "shared": U32}
    if name not in ("ld", "st") or space not in places:
        raise UnknownInstruction(str(instruction))
    size = vector * dtype.itemsize
    where, what = instruction.operands if name == "st" else instruction.operands[::-1]
    addresses = address(program, where, places[space])
    label = f"{space} {'store' if name == 'st' else 'load'}"
    if name == "st":
        reads = [reader(program, register, dtype) for register in members(what)]

        def store(warp):
            lanes = _lanes(warp)
            values = np.stack([read(warp) for read in reads], 1).view(np.uint8)
            warp.write(space, label, addresses(warp)[lanes], values[lanes])

        return store
    writes = [writer(program, register, dtype) for register in members(what)]

    def load(warp):
        lanes = _lanes(warp)
        found = np.zeros((LANES, size), np.uint8)
        found[lanes] = warp.read(space, label, addresses(warp)[lanes], size)
        for write, values in zip(writes, found.view(dtype).T, strict=True):
            write(warp, values.copy())

    return load


def _parameter(program, instruction, dtype):
    target, source = instruction.operands
    write, name = writer(program, target, dtype), source.strip("[] ")
    return lambda warp: write(warp, np.full(LANES, warp.block.parameters[name]).astype(dtype))


def copy(program, instruction):
    """`cp.async` in groups; where it copies less than all bytes, zeros follow."""
    match instruction.parts[2:]:
        case ("commit_group",):
            return lambda warp: warp.commit()
        case ("wait_group",):
            pending = int(instruction.operands[0])
            return lambda warp: warp.wait(pending)
        case ("wait_all",):
            return lambda warp: warp.wait_all()
        case ("ca" | "cg" as cache, "shared", "global") if len(instruction.operands) in (3, 4):
            size = int(instruction.operands[2], 0)
            if size not in ((16,) if cache == "cg" else (4, 8, 16)):
                raise UnknownInstruction(str(instruction))
        case _:
            raise UnknownInstruction(str(instruction))
    target, source, *_ = instruction.operands
    into, out_of = address(program, target, U32), address(program, source, U64)
    filled = instruction.operands[3] if len(instruction.operands) == 4 else str(size)
    read = reader(program, filled, U32)

    def start(warp):
        lanes = _lanes(warp)
        sizes = np.minimum(read(warp)[lanes], size)
        warp.copy(into(warp)[lanes], out_of(warp)[lanes], sizes, size)

    return start


MATRICES = re.compile(r"(ld|st)matrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared\.b16")


def matrices(program, instruction):
    """`ldmatrix`, `stmatrix`: 8x8 of 16-bit elements, whose rows the lanes address by eights."""
    match = MATRICES.fullmatch(instruction.opcode)
    if match is None:
        raise UnknownInstruction(str(instruction))
    loads, count, transposed = match[1] == "ld", int(match[2]), bool(match[3])
    where, what = instruction.operands[::-1] if loads else instruction.operands
    addresses, names = address(program, where, U32), members(what)
    label = f"{match[1]}matrix"

    def turned(values):
        parts = values.view(np.uint16).reshape(count, 8, 8)
        return np.ascontiguousarray(parts.swapaxes(1, 2) if transposed else parts)

    def rows(warp):
        if warp.active is not None:
            raise PtxError(f"{label} of a part of a warp")
        return addresses(warp)[: 8 * count]

    if not loads:
        reads = [reader(program, name, U32) for name in names]

        def store(warp):
            values = turned(np.stack([read(warp) for read in reads]))
            warp.write("shared", label, rows(warp), values.view(np.uint8).reshape(-1, 16))

        return store
    writes = [writer(program, name, U32) for name in names]

    def load(warp):
        found = turned(warp.read("shared", label, rows(warp), 16)).view(np.uint32)
        for write, values in zip(writes, found.reshape(count, LANES), strict=True):
            write(warp, values)

    return load


def shuffle(program, instruction):
    """`shfl.sync` within all lanes of a warp; a lane without a partner keeps its own."""
    match = re.fullmatch(r"shfl\.sync\.(bfly|idx|down|up)\.b32", instruction.opcode)
    target, value, other, clamp, mask = instruction.operands
    if match is None or (clamp, mask) not in (("31", "-1"), ("0x1f", "0xffffffff")):
        raise UnknownInstruction(str(instruction))
    write, read = writer(program, target, U32), reader(program, value, U32)
    argument, own = reader(program, other, U32), np.arange(LANES)
    partner = {
        "bfly": lambda n: own ^ n,
        "idx": lambda n: n & 31,
        "down": lambda n: own + n,
        "up": lambda n: own - n,
    }[match[1]]

    def run(warp):
        if warp.active is not None:
            raise PtxError("a shuffle among a part of a warp")
        lane = partner(argument(warp).astype(np.int64))
        lane = np.where((lane >= 0) & (lane < LANES), lane, own)
        write(warp, read(warp)[lane])

    return run
