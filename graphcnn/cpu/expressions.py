"""Scalar operations of Triton IR as C expressions."""

from __future__ import annotations

import ctypes
import re
import struct

from graphcnn.cpu.ttir import Operation, Type
from graphcnn.errors import UnsupportedTritonOp

C_TYPES = {
    "i1": "_Bool",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "index": "int64_t",
    "f16": "half",
    "bf16": "bf16",
    "f32": "float",
    "f64": "double",
}
# What a launch can pass.
PARAMETERS = {
    "ptr": ctypes.c_void_p,
    "i1": ctypes.c_bool,
    "i8": ctypes.c_int8,
    "i16": ctypes.c_int16,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
}
BYTES = {"i1": 1, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4}

_INFIX = {
    "addi": "+",
    "subi": "-",
    "muli": "*",
    "andi": "&",
    "ori": "|",
    "xori": "^",
    "shli": "<<",
    "shrsi": ">>",
    "addf": "+",
    "subf": "-",
    "mulf": "*",
    "divf": "/",
}
_CALLS = {
    "divsi": "DIVIDE",
    "remsi": "REMAINDER",
    "maxsi": "MAX",
    "minsi": "MIN",
    "maxnumf": "MAX_NUMBER",
    "minnumf": "MIN_NUMBER",
    "maximumf": "MAX_NAN",
    "minimumf": "MIN_NAN",
}
_UNSIGNED = {"divui": "DIVIDE", "remui": "REMAINDER", "maxui": "MAX", "minui": "MIN"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
# Ours where the C library's cannot be vectorised; accuracy is stated in runtime.h.
_VECTOR_MATH = {"exp": "exp_f32", "exp2": "exp2_f32", "tanh": "tanh_f32", "cospi": "cospi_f32"}
_EXPONENTIAL = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt")
_TRIGONOMETRIC = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
_OTHERS = ("erf", "erfc", "floor", "ceil", "trunc", "round")
# The C library's function of each operation of the dialect `math`.
_MATH = {name: name for name in (*_EXPONENTIAL, *_TRIGONOMETRIC, *_OTHERS)} | {
    "absf": "fabs",
    "roundeven": "rint",
    "powf": "pow",
    "atan2": "atan2",
    "copysign": "copysign",
}
_INTEGER_CASTS = ("extsi", "extui", "trunci", "sitofp", "uitofp", "index_cast")
_FLOAT_CASTS = ("extf", "truncf", "fptosi", "fptoui")
_CASTS = {f"arith.{word}" for word in (*_INTEGER_CASTS, *_FLOAT_CASTS)} | {"tt.fp_to_fp"}
# Casts that do not round to nearest even.
_DIRECTED = re.compile(r"\b(rtz|toward_zero|downward|upward|to_nearest_away)\b")


def c_type(kind: Type) -> str:
    """The C type of one element."""
    if kind.element not in C_TYPES:
        raise UnsupportedTritonOp(
            f"the CPU backend has no element type {kind.element}",
            wanted=", ".join(C_TYPES),
            remedy="store such data as one of these types",
        )
    return C_TYPES[kind.element] + ("*" if kind.pointer else "")


def passed(kind: Type) -> str:
    """How a launch passes the argument for a parameter: a key of `PARAMETERS`."""
    word = "ptr" if kind.pointer else kind.element
    if word not in PARAMETERS:
        raise UnsupportedTritonOp(
            f"the CPU backend cannot pass a number of type {word} to a kernel",
            wanted=", ".join(PARAMETERS),
            remedy="pass the number as one of these types",
        )
    return word


def size(kind: Type) -> int:
    """Bytes of one element."""
    return 8 if kind.pointer else BYTES.get(kind.element, 8)


def is_float(kind: Type) -> bool:
    """A floating-point element."""
    return not kind.pointer and "f" in kind.element


def number(text: str, kind: Type) -> str:
    """A C expression in which `text` of the given type takes part in arithmetic."""
    if kind.pointer:
        return text
    return {"f16": f"half_to_float({text})", "bf16": f"bf16_to_float({text})"}.get(
        kind.element, text
    )


def rounded(text: str, kind: Type) -> str:
    """`text`, an arithmetic C expression, converted to the given type."""
    if kind.element in ("f16", "bf16") and not kind.pointer:
        return f"float_to_{'half' if kind.element == 'f16' else 'bf16'}({text})"
    return f"(({c_type(kind)})({text}))"


def literal(operation: Operation) -> str:
    """The element of an `arith.constant` all of whose elements are equal; zero for `ub.poison`,
    which stands where nobody reads before something else is in its place.
    """
    if operation.name == "ub.poison":
        return "0"
    kind = operation.result.type
    word = operation.text.rpartition(" : ")[0] or operation.text
    match = re.match(r"(?:dense<)?([^>]*)>?$", word)
    if match is None or "[" in word or '"' in word:
        raise operation.unsupported()
    word = match.group(1)
    if word in ("true", "false"):
        return str(int(word == "true"))
    if not is_float(kind):
        return f"INT64_C({word})" if kind.element in ("i64", "index") else f"({word})"
    if word.startswith("0x"):
        width = {"f16": "<H", "bf16": "<I", "f32": "<I", "f64": "<Q"}[kind.element]
        bits = int(word, 16) << (16 if kind.element == "bf16" else 0)
        form = {"f16": "<e", "f64": "<d"}.get(kind.element, "<f")
        value = struct.unpack(form, struct.pack(width, bits))[0]
    else:
        value = float(word)
    text = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}.get(
        str(value), f"({value!r}{'' if kind.element == 'f64' else 'f'})"
    )
    return rounded(text, kind) if kind.element in ("f16", "bf16") else text


def expression(operation: Operation, arguments: list[str]) -> str:
    """C for one element of an elementwise operation, given its operands' C texts.

    Raises:
        UnsupportedTritonOp: There is no such scalar operation here.
    """
    kinds = [operand.type for operand in operation.operands]
    result = operation.result.type
    name = operation.name
    word = name.partition(".")[2]
    if name in ("arith.cmpi", "arith.cmpf"):
        return _comparison(operation, arguments)
    if name in _CASTS:
        if _DIRECTED.search(operation.text):
            raise operation.unsupported()
        return _cast(name, kinds[0], result, arguments[0])
    if name in ("arith.bitcast", "tt.bitcast"):
        return f"BITCAST({c_type(result)}, {c_type(kinds[0])}, {arguments[0]})"
    if name == "arith.select":
        condition, value, other = arguments
        if other == "(0)" and not is_float(result) and not result.pointer:
            # GCC makes branches of the comparisons that read a conditional, and no vectors then.
            return f"({value} & -({c_type(result)}){condition})"
        return f"({condition} ? {value} : {other})"
    if name == "tt.addptr":
        return f"({arguments[0]} + {arguments[1]})"
    if name in ("tt.ptr_to_int", "tt.int_to_ptr"):
        return f"(({c_type(result)}){arguments[0]})"
    numbers = [number(text, kind) for text, kind in zip(arguments, kinds, strict=True)]
    text = _arithmetic(operation, word, numbers)
    if text is None:
        raise operation.unsupported()
    return rounded(text, result)


def unrounded_product(operation: Operation) -> Operation | None:
    """The product that a sum or difference takes unrounded, so that both round once.

    One that nothing else reads. The rule asks what a kernel computes, and not where: so a value is
    the same number in every loop nest that computes it, and a product that is stored is the number
    in memory to those that read it beside. A C compiler that contracts looks at one nest alone.
    """
    if operation.name not in ("arith.addf", "arith.subf"):
        return None
    if operation.result.type.element not in ("f32", "f64"):
        return None
    owners = (operand.owner for operand in operation.operands if len(operand.users) == 1)
    return next((o for o in owners if o is not None and o.name == "arith.mulf"), None)


def contraction(operation: Operation, product: Operation, arguments: list[str]) -> str:
    """C for a sum or difference with a product, given the texts of both factors and of the other
    operand."""
    factor, other_factor, other = arguments
    if operation.name == "arith.subf":
        if operation.operands[0] is product.result:
            other = f"-{other}"
        else:
            factor = f"-{factor}"
    return f"multiply_add_{operation.result.type.element}({factor}, {other_factor}, {other})"


def _arithmetic(operation: Operation, word: str, numbers: list[str]) -> str | None:
    kind = operation.result.type
    single = kind.element != "f64"
    suffix = "f" if single else ""
    if operation.name.startswith("arith."):
        if word in _INFIX:
            return f"{numbers[0]} {_INFIX[word]} {numbers[1]}"
        if word in _CALLS:
            return f"{_CALLS[word]}({numbers[0]}, {numbers[1]})"
        unsigned = [f"(({_unsigned(kind)}){text})" for text in numbers]
        if word in _UNSIGNED:
            return f"{_UNSIGNED[word]}({unsigned[0]}, {unsigned[1]})"
        match word:
            case "shrui":
                return f"{unsigned[0]} >> {unsigned[1]}"
            case "remf":
                return f"fmod{suffix}({numbers[0]}, {numbers[1]})"
            case "negf":
                return f"-{numbers[0]}"
        return None
    match operation.name:
        case "math.fma":
            return f"fma{suffix}({', '.join(numbers)})"
        case "math.rsqrt":
            return f"1 / sqrt{suffix}({numbers[0]})"
        case "math.absi":
            return f"({numbers[0]} < 0 ? -{numbers[0]} : {numbers[0]})"
        case "tt.precise_divf":
            return f"{numbers[0]} / {numbers[1]}"
        case "tt.precise_sqrt":
            return f"sqrt{suffix}({numbers[0]})"
        case "tt.clampf":
            rule = "NAN" if "= all" in operation.text else "NUMBER"
            return f"MIN_{rule}(MAX_{rule}({numbers[0]}, {numbers[1]}), {numbers[2]})"
        case "tt.mulhiui":
            wide = "unsigned __int128" if kind.element == "i64" else "uint64_t"
            bits = 64 if kind.element == "i64" else 32
            first, second = (f"({wide})({_unsigned(kind)}){text}" for text in numbers)
            return f"({first} * {second}) >> {bits}"
        case "tt.extern_elementwise":
            match_ = re.search(r'symbol = "__nv_(\w+?)(f?)"', operation.text)
            word = match_.group(1) if match_ else ""
            if word in _MATH.values() or (single and word in _VECTOR_MATH):
                return _call(word, single, numbers)
            return None
    return _call(word, single, numbers) if word in _MATH else None


def _call(word: str, single: bool, numbers: list[str]) -> str:
    if single and word in _VECTOR_MATH:
        return f"{_VECTOR_MATH[word]}({numbers[0]})"
    function = _MATH.get(word, word) + ("f" if single else "")
    return f"{function}({', '.join(numbers)})"


def _unsigned(kind: Type) -> str:
    return "uint8_t" if kind.element == "i1" else "u" + c_type(kind)


def _comparison(operation: Operation, arguments: list[str]) -> str:
    predicate = operation.text.split(",")[0].strip()
    kind = operation.operands[0].type
    first, second = (number(text, kind) for text in arguments)
    if operation.name == "arith.cmpi":
        if predicate in _COMPARE:
            return f"({first} {_COMPARE[predicate]} {second})"
        cast = f"({_unsigned(kind)})" if predicate[0] == "u" else ""
        return f"({cast}{first} {_COMPARE[predicate[1:]]} {cast}{second})"
    unordered = f"({first} != {first} || {second} != {second})"
    match predicate:
        case "uno":
            return unordered
        case "ord":
            return f"(!{unordered})"
        case "one":
            return f"({first} < {second} || {first} > {second})"
        case "une":
            return f"({first} != {second})"
    text = f"({first} {_COMPARE[predicate[1:]]} {second})"
    return text if predicate[0] == "o" else f"({text} || {unordered})"


def _cast(name: str, source: Type, target: Type, text: str) -> str:
    value = number(text, source)
    if name == "arith.extsi" and source.element == "i1":
        value = f"-{value}"
    elif name in ("arith.extui", "arith.uitofp") and source.element != "i1":
        value = f"({_unsigned(source)}){value}"
    elif name == "arith.trunci" and target.element == "i1":
        value = f"{value} & 1"
    elif name == "arith.fptoui":
        value = f"({_unsigned(target)})({value})"
    return rounded(value, target)
