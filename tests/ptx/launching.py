"""Launches of kernels, executed from the PTX that Triton makes of them."""

import functools

import numpy as np

from graphcnn.gpu_code import architecture, compile_for
from tests.ptx.code import Code
from tests.ptx.counters import Counters
from tests.ptx.machine import Block, run_block
from tests.ptx.program import parse
from tests.ptx.shared import SharedMemory
from tests.ptx.tensors import Tensors


class Interpreter:
    """Runs launches on CPU tensors as a GPU would, under one schedule.

    Attributes:
        schedule: `machine.EARLY` or `machine.LATE`.
        capability: 80, 86, 89 or 120, whose tensor cores have one kind of instruction.
        edit: What is done to the PTX before, to plant a bug in it.
        counters: Of the first program of the last launch.
    """

    def __init__(self, schedule, capability=80, edit=None):
        self.schedule, self.capability, self.edit = schedule, capability, edit
        self.counters = None

    def __call__(self, launch):
        call = (launch.kernel, launch.args, launch.meta)
        code = compile_for(call, architecture(f"sm_{self.capability}"))
        self.counters = execute(
            self.edit(code.assembly) if self.edit else code.assembly,
            list(passed(code.signature, named(launch))),
            grid=launch.grid,
            num_warps=launch.meta["num_warps"],
            shared_bytes=code.shared_bytes,
            masked_reach=launch.masked_reach,
            schedule=self.schedule,
        )


def execute(ptx, values, *, grid=(1, 1, 1), num_warps=1, shared_bytes=0, masked_reach=0, schedule):
    """Run a kernel on tensors and numbers, program after program, and count what the first does.

    Raises PtxError and UnknownInstruction.
    """
    code = ready(ptx)
    tensors = Tensors([v for v in values if hasattr(v, "data_ptr")], masked_reach)
    pointers = iter(tensors.pointers)
    numbers = [next(pointers) if hasattr(v, "data_ptr") else int(v) for v in values]
    # The last parameters are Triton's own scratch memory, of which these kernels have none.
    names = list(code.program.parameters)
    parameters = dict.fromkeys(names, 0) | dict(zip(names, numbers, strict=False))
    order = np.random.default_rng(0)
    counters, executed = Counters(), [0] * len(code.steps)
    with np.errstate(all="ignore"):
        for z, y, x in np.ndindex(grid[::-1]):
            first = (x, y, z) == (0, 0, 0)
            shared, seen = SharedMemory(shared_bytes), counters if first else None
            block = Block(
                (x, y, z), grid, num_warps, parameters, tensors, shared, schedule, seen, executed
            )
            run_block(code, block, order)
            if first:
                counters.count(code.program.instructions, executed)
    return counters


@functools.lru_cache(maxsize=128)
def ready(ptx):
    return Code(parse(ptx))


def named(launch):
    """The runtime arguments of a launch by name."""
    names = [p.name for p in launch.kernel.params if p.name not in launch.meta]
    return dict(zip(names, launch.args, strict=False))


def passed(types, values):
    """What a launch passes: all but constexprs, nested tuples one after the other."""
    if isinstance(types, dict):
        types, values = zip(*((types[name], values.get(name)) for name in types), strict=True)
    for kind, value in zip(types, values, strict=True):
        if isinstance(kind, tuple):
            yield from passed(kind, value)
        elif kind != "constexpr":
            yield value
