"""A program made ready to run: one function of a warp for each instruction."""

from tests.ptx import transfers
from tests.ptx.arithmetic import signature
from tests.ptx.conversion import conversion
from tests.ptx.operands import TYPES, reader, writer
from tests.ptx.products import product
from tests.ptx.program import PtxError, UnknownInstruction

BARRIER = True  # what a step returns at which a warp stops for the others
PRED = TYPES["pred"]


class Code:
    """The steps of a program; an instruction is decoded when it is first executed."""

    def __init__(self, program):
        self.program = program
        self.steps = [None] * len(program.instructions)

    def run(self, warp):
        """Until the next barrier, or the end. Raises PtxError with the instruction at fault."""
        steps, executed = self.steps, warp.block.executed
        while not warp.finished:
            if warp.waiting:
                warp.meet()
            pc = warp.pc
            warp.pc = pc + 1
            executed[pc] += 1
            step = steps[pc]
            if step is None:
                step = steps[pc] = self._decoded(self.program.instructions[pc])
            try:
                stopped = step(warp)
            except PtxError as error:
                instruction = self.program.instructions[pc]
                place = f"warp {warp.number} of program {warp.block.place}"
                raise PtxError(f"{error}\n{instruction}, {place}") from None
            if stopped:
                return

    def _decoded(self, instruction):
        if instruction.parts[0] == "bra":
            return self._branch(instruction)
        step = self._step(instruction)
        if instruction.predicate is None:
            return step
        if instruction.parts[0] == "bar":
            raise UnknownInstruction(str(instruction))
        read, negated = reader(self.program, instruction.predicate, PRED), instruction.negated

        def guarded(warp):
            before = warp.active
            chosen = read(warp) ^ negated
            if before is not None:
                chosen = chosen & before
            if chosen.any():
                warp.active = None if chosen.all() else chosen
                step(warp)
                if instruction.parts[0] != "ret":
                    warp.active = before

        return guarded

    def _branch(self, instruction):
        target = self.program.labels[instruction.operands[0]]
        if instruction.predicate is None:
            return lambda warp: warp.jump(target)
        read, negated = reader(self.program, instruction.predicate, PRED), instruction.negated
        return lambda warp: warp.jump(target, read(warp) ^ negated)

    def _step(self, instruction):
        match instruction.parts:
            case ("ret",) if instruction.predicate is None:
                return lambda warp: warp.leave()
            case ("bar", "sync") if instruction.operands == ("0",):
                return _barrier
            case ("bar", "warp", "sync"):
                return _together
            case ("mov", _):
                return transfers.move(self.program, instruction)
            case ("ld" | "st", *_):
                return transfers.access(self.program, instruction)
            case ("cp", "async", *_):
                return transfers.copy(self.program, instruction)
            case ("ldmatrix" | "stmatrix", *_):
                return transfers.matrices(self.program, instruction)
            case ("shfl", *_):
                return transfers.shuffle(self.program, instruction)
            case ("mma", *_):
                return product(self.program, instruction)
            case ("cvt", *_):
                return self._lane_by_lane(instruction, conversion(instruction))
        return self._lane_by_lane(instruction, signature(instruction))

    def _lane_by_lane(self, instruction, made):
        function, inputs, result = made
        target, *sources = instruction.operands
        reads = [reader(self.program, *pair) for pair in zip(sources, inputs, strict=True)]
        write = writer(self.program, target, result)
        if len(reads) == 2:  # the most frequent form, without a list
            first, second = reads
            return lambda warp: write(warp, function(first(warp), second(warp)))
        return lambda warp: write(warp, function(*[read(warp) for read in reads]))


def _barrier(warp):
    if warp.active is not None or warp.waiting:
        raise PtxError("a part of a warp at a barrier")
    return BARRIER


def _together(warp):
    if warp.active is not None or warp.waiting:
        raise PtxError("a part of a warp waits for the rest of it")
