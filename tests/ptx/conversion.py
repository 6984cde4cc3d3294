"""`cvt`: numbers of one type as numbers of another."""

import numpy as np

from tests.ptx.formats import flush, from_bf16, to_bf16, to_tf32
from tests.ptx.operands import TYPES
from tests.ptx.program import UnknownInstruction

TO_INTEGER = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
PAIRS = {"f16x2": "f16", "bf16x2": "bf16"}


def to_integer(x, dtype, rounding):
    """Numbers beyond the type become its ends, and NaN 0."""
    limits = np.iinfo(dtype)
    whole = np.nan_to_num(TO_INTEGER[rounding](x.astype(np.float64)), nan=0.0)
    inside = np.clip(whole, float(limits.min), float(limits.max))
    if dtype.itemsize == 8:
        raise UnknownInstruction("a float as an integer of 64 bits")
    return inside.astype(dtype)


def conversion(instruction):
    """The function, types of operands and of the result, as `arithmetic.signature` has them.

    Raises UnknownInstruction.
    """
    *modifiers, to, source = instruction.parts[1:]
    match sorted(modifiers), to, source:
        case ["rn"], ("f16x2" | "bf16x2"), "f32":
            half = _narrow(PAIRS[to])

            def pair(upper, lower):
                low = half(lower).view(np.uint16).astype(np.uint32)
                return (half(upper).view(np.uint16).astype(np.uint32) << np.uint32(16)) | low

            return pair, [TYPES["f32"]] * 2, TYPES["b32"]
        case ["rn"], ("f16" | "bf16"), "f32":
            return _narrow(to), [TYPES["f32"]], TYPES["b16"]
        case ["rna"], "tf32", "f32":
            return to_tf32, [TYPES["f32"]], TYPES["b32"]
        case [], "f32", "bf16":
            return from_bf16, [TYPES["b16"]], TYPES["f32"]
        case ["ftz", "sat"], "f32", "f32":

            def saturate(x):
                return np.clip(np.nan_to_num(flush(x), nan=0.0), 0, 1)

            return saturate, [TYPES["f32"]], TYPES["f32"]
        case names, _, _ if to in TYPES and source in TYPES:
            return _plain(instruction, set(names), TYPES[to], TYPES[source])
    raise UnknownInstruction(str(instruction))


def _narrow(name):
    return to_bf16 if name == "bf16" else lambda x: x.astype(np.float16)


def _plain(instruction, names, to, source):
    """Between integers, between floats, and from one to the other."""
    rounding = names - {"ftz"}
    kinds = to.kind == "f", source.kind == "f"
    if kinds == (False, True) and len(rounding) == 1 and rounding <= set(TO_INTEGER):
        (name,) = rounding
        return (lambda x: to_integer(x, to, name)), [source], to
    widens = kinds == (True, True) and to.itemsize > source.itemsize
    if (kinds == (False, False) or widens) and not names:
        return (lambda x: x.astype(to)), [source], to
    if kinds[0] and not widens and names == {"rn"}:
        return (lambda x: x.astype(to)), [source], to
    raise UnknownInstruction(str(instruction))
