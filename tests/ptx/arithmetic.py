"""What instructions compute lane by lane.

Sums, products, quotients and square roots are rounded as IEEE 754 says, and so are fused products,
but for rare second roundings of what float64 cannot hold. Approximations (`ex2`, `rcp` and others)
are exact here, where a GPU is off by up to two units in the last place.
"""

import functools
import inspect

import numpy as np

from tests.ptx.formats import flush, from_bf16
from tests.ptx.operands import TYPES, UNSIGNED
from tests.ptx.program import UnknownInstruction

F32, F64 = TYPES["f32"], TYPES["f64"]
U32 = TYPES["u32"]
SIGN = np.array(0x80000000, np.uint32)


def in_double(function):
    return lambda x: function(x.astype(F64)).astype(x.dtype)


def fused(a, b, c):
    return (a.astype(F64) * b + c).astype(a.dtype)


def fused_down(a, b, c):
    """Rounded towards minus infinity."""
    exact = a.astype(F64) * b + c
    near = exact.astype(a.dtype)
    return np.where(near > exact, np.nextafter(near, a.dtype.type(-np.inf)), near)


def divided(a, b):
    """Integers towards zero; by zero, whatever."""
    if a.dtype.kind == "f":
        return a / b
    if a.dtype.kind == "u":
        return a // np.maximum(b, 1)
    sizes = np.abs(a.astype(np.int64)) // np.maximum(np.abs(b.astype(np.int64)), 1)
    return (sizes * np.sign(a) * np.sign(b)).astype(a.dtype)


def remainder(a, b):
    return a - divided(a, b) * b


def high(a, b):
    wide = np.int64 if a.dtype.kind == "i" else np.uint64
    return ((a.astype(wide) * b.astype(wide)) >> wide(8 * a.itemsize)).astype(a.dtype)


def shifted_left(x, count):
    kept = x << np.minimum(count, 8 * x.itemsize - 1).astype(x.dtype)
    return np.where(count < 8 * x.itemsize, kept, x.dtype.type(0))


def shifted_right(x, count):
    last = 8 * x.itemsize - 1
    if x.dtype.kind == "i":
        return x >> np.minimum(count, last).astype(x.dtype)
    return np.where(count <= last, x >> np.minimum(count, last).astype(x.dtype), x.dtype.type(0))


def field(x, start, length):
    """`length` bits from bit `start` on, the highest of them a sign in signed types."""
    bits = 8 * x.itemsize
    start = np.minimum(start, bits)
    length = np.minimum(length, bits - start)
    return shifted_right(shifted_left(x, bits - start - length), bits - length)


def permuted(a, b, selector):
    """`prmt`: each byte one of the eight of b and a, or its sign spread over the byte."""
    pool = np.stack([a, b], 1).view(np.uint8)  # [lanes, 8]
    chosen = (selector[:, None] >> np.arange(0, 16, 4, dtype=np.uint32)) & 15
    found = np.take_along_axis(pool, (chosen & 7).astype(np.int64), 1)
    signs = np.where(found & 0x80, 0xFF, 0).astype(np.uint8)
    return np.where(chosen & 8, signs, found).astype(np.uint8).view(np.uint32)[:, 0]


def looked_up(a, b, c, table):
    """`lop3`: of each three bits, the bit of the table that they number."""
    result = np.zeros_like(a)
    for index in range(8):
        parts = (v if index >> shift & 1 else ~v for v, shift in ((a, 2), (b, 1), (c, 0)))
        if int(table[0]) >> index & 1:
            result |= np.bitwise_and.reduce(list(parts))
    return result


# By opcode without its type and without .ftz; operands and result have the type of the opcode.
SAME_TYPE = {
    "add": np.add,
    "add.rn": np.add,
    "sub": np.subtract,
    "sub.rn": np.subtract,
    "mul": np.multiply,
    "mul.rn": np.multiply,
    "mul.lo": np.multiply,
    "mul.hi": high,
    "mad.lo": lambda a, b, c: a * b + c,
    "fma.rn": fused,
    "fma.rm": fused_down,
    "div": divided,
    "div.rn": np.divide,
    "div.full": np.divide,
    "rem": remainder,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "neg": np.negative,
    "abs": np.abs,
    "max": np.fmax,
    "min": np.fmin,
    "max.NaN": np.maximum,
    "min.NaN": np.minimum,
    "ex2.approx": in_double(np.exp2),
    "lg2.approx": in_double(np.log2),
    "rcp.approx": in_double(np.reciprocal),
    "rcp.rn": in_double(np.reciprocal),
    "sqrt.rn": np.sqrt,
    "sqrt.approx": np.sqrt,
    "rsqrt.approx": in_double(lambda x: 1 / np.sqrt(x)),
    "tanh.approx": in_double(np.tanh),
    "prmt": permuted,
    "lop3": looked_up,
}
# Two numbers in one register: the type of each, and of the register.
PACKED = {
    "f32x2": (TYPES["f32"], TYPES["b64"]),
    **{f"{kind}x2": (TYPES[kind], TYPES["b32"]) for kind in ("f16", "u16", "s16")},
}
# A sum of float32 with a narrower number, or with the product of two of them.
MIXED = ("add.rn.f32", "sub.rn.f32", "fma.rn.f32")
# Of two operands, and of three on 10.0 and later.
ANY_NUMBER = {np.fmax, np.fmin, np.maximum, np.minimum}
# Operands after the first are counts of 32 bits.
COUNTED = {"shl": shifted_left, "shr": shifted_right, "bfe": field}
ORDERED = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def unordered(a, b):
    return np.isnan(a) | np.isnan(b)


COMPARISONS = {
    **ORDERED,
    "num": lambda a, b: ~unordered(a, b),
    "nan": unordered,
    **{
        f"{name}u": lambda a, b, compare=compare: compare(a, b) | unordered(a, b)
        for name, compare in ORDERED.items()
    },
}


def _exactly(count, function, instruction):
    """The function, where it takes so many operands: NumPy writes to one too many."""
    if function in ANY_NUMBER:
        return lambda *x: functools.reduce(function, x)
    wanted = getattr(function, "nin", None) or len(inspect.signature(function).parameters)
    if wanted != count:
        raise UnknownInstruction(str(instruction))
    return function


def signature(instruction):
    """Of what works lane by lane: the function, the types of its operands, and of its result.

    Raises UnknownInstruction.
    """
    *names, last = instruction.parts
    dtype, count = TYPES.get(last), len(instruction.operands) - 1
    key = ".".join(name for name in names if name != "ftz")
    if last in PACKED and key in SAME_TYPE:
        part, whole = PACKED[last]
        function = _exactly(count, SAME_TYPE[key], instruction)
        return (
            (lambda *x: function(*(v.view(part) for v in x)).view(whole)),
            [whole] * count,
            whole,
        )
    if key in MIXED and last in ("f16", "bf16"):
        widen = from_bf16 if last == "bf16" else lambda x: x.view(np.float16).astype(F32)
        function = _exactly(count, SAME_TYPE[key.removesuffix(".f32")], instruction)
        return (
            (lambda *x: function(*map(widen, x[:-1]), x[-1])),
            [TYPES["b16"]] * (count - 1) + [F32],
            F32,
        )
    if dtype is None:
        raise UnknownInstruction(str(instruction))
    function, inputs, result = None, [dtype] * count, dtype
    if key in SAME_TYPE and not (key == "mul.hi" and dtype.itemsize == 8):
        function = _exactly(count, SAME_TYPE[key], instruction)
    elif key in COUNTED:
        function, inputs[1:] = COUNTED[key], [U32] * (count - 1)
    elif key in ("mul.wide", "mad.wide"):
        result = TYPES[f"{last[0]}{2 * int(last[1:])}"]
        inputs[2:] = [result] * (count - 2)

        def function(a, b, c=0):
            return a.astype(result) * b.astype(result) + c

    elif names[0] == "setp" and len(names) == 2 and names[1] in COMPARISONS:
        function, result = COMPARISONS[names[1]], TYPES["pred"]
        if names[1] == "ne" and dtype.kind == "f":  # ordered, unlike NumPy's

            def function(a, b):
                return (a != b) & ~unordered(a, b)

    elif key == "selp":
        inputs[2] = TYPES["pred"]

        def function(a, b, condition):
            return np.where(condition, a, b)

    elif key == "shf.l.wrap":

        def function(low, above, shift):
            wide = (above.astype(np.uint64) << UNSIGNED[64].type(32)) | low
            return (wide << (shift & 31) >> np.uint64(32)).astype(U32)

    if function is None:
        raise UnknownInstruction(str(instruction))
    if "ftz" in names:
        return (lambda *x: flush(function(*map(flush, x)))), inputs, result
    return function, inputs, result
