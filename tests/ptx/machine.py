"""Warps of one program, and the order that barriers and copies leave them.

Between two barriers the warps run one after the other, in an order that is drawn. A schedule is one
of the extremes that a GPU may choose: copies are EARLY, there as soon as they start, or LATE, there
when somebody waits for their group. Either way they may not be touched before.
"""

from dataclasses import dataclass, field

import numpy as np

from tests.ptx.counters import Counters
from tests.ptx.operands import LANES, garbage
from tests.ptx.program import Program, PtxError
from tests.ptx.shared import SharedMemory
from tests.ptx.tensors import Tensors

EARLY, LATE = "early copies", "late copies"


@dataclass
class Block:
    """One program (CTA): where it is, what it was given, and what its warps share."""

    place: tuple[int, int, int]
    grid: tuple[int, int, int]
    num_warps: int
    parameters: dict[str, int]
    tensors: Tensors
    shared: SharedMemory
    schedule: str
    counters: Counters | None
    executed: list[int]  # how often a warp executed each instruction


@dataclass
class Copy:
    """An asynchronous copy of one warp: where its bytes go, and what they are."""

    addresses: np.ndarray
    values: np.ndarray  # [lanes, bytes]


@dataclass
class Warp:
    """32 lanes that run together, and their registers.

    `active` are the lanes that execute, None for all. Where lanes go apart, those behind run first,
    until they meet the others: `waiting` holds where these stand.
    """

    block: Block
    number: int
    registers: dict[str, np.ndarray]
    pc: int = 0
    active: np.ndarray | None = None
    waiting: list[tuple[int, np.ndarray]] = field(default_factory=list)
    finished: bool = False
    started: list[Copy] = field(default_factory=list)
    groups: list[list[Copy]] = field(default_factory=list)

    def place(self, name, axis):
        """%tid, %ctaid and what they count up to, along an axis."""
        if name == "tid":
            return self.number * LANES + np.arange(LANES) if axis == 0 else np.zeros(LANES, int)
        threads = (self.block.num_warps * LANES, 1, 1)
        known = {"ctaid": self.block.place, "nctaid": self.block.grid, "ntid": threads}
        return np.full(LANES, known[name][axis])

    def jump(self, target, taken=None):
        """Go on at `target`, or only with the lanes that are `taken`."""
        active = np.ones(LANES, bool) if self.active is None else self.active
        taken = active if taken is None else taken & active
        left = active & ~taken
        if not left.any():
            self.pc = target
        elif taken.any():
            self.waiting += [(target, taken), (self.pc, left)]
            self._resume()

    def leave(self):
        """`ret`."""
        if self.waiting:
            self._resume()
        else:
            self.finished = True

    def meet(self):
        """Let lanes that have to run first do so, and join those that stand at one place."""
        if min(pc for pc, _ in self.waiting) <= self.pc:
            active = np.ones(LANES, bool) if self.active is None else self.active
            self.waiting.append((self.pc, active))
            self._resume()

    def _resume(self):
        self.pc = min(pc for pc, _ in self.waiting)
        here = [lanes for pc, lanes in self.waiting if pc == self.pc]
        self.waiting = [(pc, lanes) for pc, lanes in self.waiting if pc != self.pc]
        active = np.logical_or.reduce(here)
        self.active = None if active.all() else active

    def read(self, space, label, addresses, size):
        """Bytes at addresses of the active lanes: [lanes, size]."""
        self._count(space, label, addresses, size)
        if space == "global":
            return self.block.tensors.read(addresses, size)
        return self.block.shared.read(self.number, addresses, size)

    def write(self, space, label, addresses, values):
        self._count(space, label, addresses, values.shape[1])
        if space == "global":
            self.block.tensors.write(addresses, values)
        else:
            self.block.shared.write(self.number, addresses, values)

    def copy(self, into, out_of, sizes, size):
        """Start to copy `sizes` bytes, and zeros up to `size`."""
        tensors, whole = self.block.tensors, sizes == size
        self._count("global", "copy from global", out_of[whole], size)
        self._count("shared", "copy to shared", into, size)
        values = np.zeros((into.size, size), np.uint8)
        values[whole] = tensors.read(out_of[whole], size)
        tensors.check_masked(out_of[sizes == 0])
        for lane in np.flatnonzero(~whole & (sizes > 0)):
            part = tensors.read(out_of[lane : lane + 1] + np.arange(sizes[lane]), 1)
            values[lane, : sizes[lane]] = part[:, 0]
        self.block.shared.start_copy(self.number, into, size)
        self.started.append(Copy(into, values))
        if self.block.schedule == EARLY:
            self.block.shared.arrive(into, values)

    def commit(self):
        self.groups.append(self.started)
        self.started = []

    def wait(self, pending):
        """Until at most so many of the groups are on their way."""
        while len(self.groups) > pending:
            for copy in self.groups.pop(0):
                self.block.shared.land(self.number, copy.addresses, copy.values)

    def wait_all(self):
        self.commit()
        self.wait(0)

    def _count(self, space, label, addresses, size):
        if self.block.counters is None:
            return
        if space == "global":
            self.block.counters.global_access(label, addresses, size)
        else:
            self.block.counters.shared_access(label, addresses, size)


def warps_of(program: Program, block: Block):
    """The warps of a program at its first instruction, with garbage in their registers."""
    kinds = {bits: garbage(bits) for bits in set(program.registers.values())}
    empty = {name: kinds[bits] for name, bits in program.registers.items()}
    return [Warp(block, number, dict(empty)) for number in range(block.num_warps)]


def run_block(code, block, order):
    """Run all warps to their end. `order` draws which goes first (a NumPy generator)."""
    warps = warps_of(code.program, block)
    while warps:
        for index in order.permutation(len(warps)):
            code.run(warps[index])
        left = [warp for warp in warps if not warp.finished]
        if left and len(left) < len(warps):
            raise PtxError(f"{len(left)} of {len(warps)} warps wait at a barrier, the others ended")
        warps = left
        block.shared.barrier()
