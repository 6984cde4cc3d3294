"""Weights by name: from a state dict, a safetensors file, or an index of several such files.

Safetensors: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import difflib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.arguments import check_array, flag
from graphcnn.disk import WEIGHTS, plain_path, regular, told
from graphcnn.errors import FileProblem, InputKindError, WeightsMismatch, shown
from graphcnn.frontend.weights import numbers_of
from graphcnn.ir import Array, Graph, Param, check_graph, frozen, verify

_INDEX = ".safetensors.index.json"
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1"}
# What a batch norm of torch counts for its training, and nobody reads at inference.
_COUNTER = "num_batches_tracked"
_MOST_SHOWN = 20


def load_weights(
    graph: Graph, weights: Mapping[str, Any] | str | Path, *, strict: bool = True
) -> Graph:
    """The graph with the values that weights hold for its params, by name.

    Values are copied, and rounded to the dtype of their param, to nearest even: from a narrower
    dtype that is exact, so that a checkpoint in bfloat16 or float16 serves a float32 graph. A
    number beyond the range of a narrower dtype is refused. Params of whole numbers take such alone.

    Tensors called `num_batches_tracked` are ignored, and so is another name of a tensor that is
    taken, as tied weights have it. Truth values, as of a mask, are 1 and 0. Constants, such as the
    2 of `2 * x`, are no weights and keep their values, unless there is a tensor for them.

    Args:
        graph: Its params say which names, shapes and dtypes are wanted.
        weights: A mapping from names to NumPy arrays or torch tensors, such as a module's
            `state_dict()`; the path of a .safetensors file; or that of a .safetensors.index.json,
            which says in which file beside it each tensor is.
        strict: Whether every param needs a tensor, and every tensor a param. If not, params
            without a tensor keep the values that they have, tensors without a param are ignored,
            and both are told in a warning; shapes have to fit all the same.

    Raises:
        WeightsMismatch: one error for all names that are missing or unexpected and all tensors of
            another shape.
        InputKindError: for what is neither a mapping nor a path, and for whole numbers, or a
            quantized tensor, in place of weights.
        NonFiniteWeights: for NaN or infinity, also after rounding.
        FileProblem: for a file that cannot be read, or is a pickle, which could run any code.
        InvalidGraph, InvalidAttribute: for what is not a graph, or a flag.
    """
    check_graph(graph)
    flag(strict, "strict")
    given, where = _given(weights)
    where = f"graph '{graph.name}'{where and f', {where}'}"
    params = graph.param_by_name
    taken = {name: given[name] for name in params if name in given}
    for name, value in taken.items():
        check_array(value, f"weight '{name}'")
    shapes = {
        name: (tuple(value.shape), params[name].type.shape)
        for name, value in taken.items()
        if tuple(value.shape) != params[name].type.shape
    }
    missing = [n for n, p in params.items() if n not in given and not _is_kept(p)]
    memory = {_memory(value) for value in taken.values()}
    unexpected = [
        name
        for name, value in given.items()
        if name not in params and not _is_idle(name, value, memory)
    ]
    if shapes or (strict and (missing or unexpected)):
        raise _mismatch(where, missing, unexpected, shapes)
    if missing or unexpected:
        found = _found(missing, unexpected, {})
        warnings.warn(f"weights for {where}: {found}", stacklevel=2)
    filled = {name: _data(value, params[name]) for name, value in taken.items()}
    loaded = replace(
        graph,
        params=tuple(replace(p, data=filled.get(p.name, p.data)) for p in graph.params),
    )
    verify(loaded)
    return loaded


def _given(weights: object) -> tuple[Mapping[str, Any], str]:
    """The tensors by name, and the file that they come from, if any."""
    if isinstance(weights, str | os.PathLike):
        path = plain_path(weights)
        return _read(path), str(path)
    if isinstance(weights, Mapping) and all(isinstance(name, str) for name in weights):
        for name, value in weights.items():
            if isinstance(value, Mapping):
                raise InputKindError(
                    "a checkpoint holds more than weights",
                    where="the argument weights",
                    got=f"{shown(name)}: {type(value).__name__}",
                    wanted="a mapping from names to arrays",
                    remedy=f"pass the state dict inside of it, such as weights[{shown(name)}]",
                )
        return weights, ""
    module = callable(getattr(type(weights), "state_dict", None))
    raise InputKindError(
        "weights are a mapping from names to arrays, or the path of a file",
        where="the argument weights",
        got=shown(weights) if isinstance(weights, Mapping) else type(weights).__name__,
        wanted="a state dict, or the path of a .safetensors file or of an index of such files",
        remedy="pass module.state_dict()" if module else 'for example {"conv1.weight": array}',
    )


def _data(value: Any, param: Param) -> Array:
    """A copy of an array's numbers in the dtype of a param."""
    dtype = param.type.dtype
    kind = str(value.dtype).removeprefix("torch.")
    if dtype.is_float:
        value = value * 1.0 if kind == "bool" else value
        return frozen(numbers_of(value, dtype, param.name))
    if kind.startswith(("int", "uint")):
        given = value if isinstance(value, np.ndarray) else value.cpu().numpy()
        data = np.array(given, dtype.numpy)
        if (data == given).all():
            return frozen(data)
    raise InputKindError(
        "a param of whole numbers takes whole numbers",
        where=f"weight '{param.name}'",
        got=kind,
        wanted=f"whole numbers that {dtype.long_name} has",
        remedy=f"convert it, such as with array.astype(np.{dtype.long_name})",
    )


def _is_kept(param: Param) -> bool:
    """Whether a param needs no tensor."""
    return param.constant and param.data is not None


def _is_idle(name: str, value: object, taken: set[object]) -> bool:
    """Whether a tensor that no param wants is no surprise."""
    return name.rpartition(".")[2] == _COUNTER or _memory(value) in taken


def _memory(value: Any) -> object:
    """Equal for two names of one tensor; an object of its own for what is no array."""
    with suppress(InputKindError):
        check_array(value, "")
        start = value.ctypes.data if isinstance(value, np.ndarray) else value.data_ptr()
        return start, tuple(value.shape), str(value.dtype)
    return object()


def _mismatch(
    where: str,
    missing: list[str],
    unexpected: list[str],
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> WeightsMismatch:
    return WeightsMismatch(
        "weights do not fit the graph",
        where=where,
        got=_found(missing, unexpected, shapes),
        wanted="a tensor for each param of the graph, under its name and of its shape",
        remedy=_remedy(missing, unexpected, shapes),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        shapes=shapes,
    )


def _found(
    missing: list[str],
    unexpected: list[str],
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> str:
    near = {name: difflib.get_close_matches(name, unexpected, 1) for name in missing[:_MOST_SHOWN]}
    parts = {
        "missing": [
            f"{name} (given: {near[name][0]})" if near.get(name) else name for name in missing
        ],
        "unexpected": unexpected,
        "of another shape": [
            f"{name} is {list(got)}, not {list(wanted)}" for name, (got, wanted) in shapes.items()
        ],
    }
    listed = (f"{len(names)} {kind}: {_listed(names)}" for kind, names in parts.items() if names)
    return "; ".join(listed)


def _listed(names: Iterable[str]) -> str:
    names = [name if len(name) <= 120 else f"{name[:117]}..." for name in names]
    return ", ".join(names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")


def _remedy(missing: list[str], unexpected: list[str], shapes: Mapping[str, object]) -> str:
    if shapes:
        return (
            "build the graph with the sizes that the weights were trained with; "
            "error.shapes lists all"
        )
    if prefix := _prefix(missing, unexpected):
        strip = f"{{name.removeprefix({prefix!r}): value for name, value in weights.items()}}"
        return f"strip what stands before every name: {strip}"
    if prefix := _prefix(unexpected, missing):
        return (
            f"put {prefix!r} before every name: "
            f"{{{prefix!r} + name: value for name, value in weights.items()}}"
        )
    if any(_is_computed(name, unexpected) for name in missing):
        return (
            "the module computes weights of these, as weight_norm does: import it with its new "
            "ones, {p.name: p.data for p in gx.from_torch(module, *example).params}"
        )
    return (
        "rename the tensors; strict=False keeps params that have no tensor and ignores tensors "
        "that have no param"
    )


def _is_computed(name: str, unexpected: list[str]) -> bool:
    """Whether torch keeps tensors in a state dict of which it computes a weight."""
    return any("parametrizations." in one or one.startswith(f"{name}_") for one in unexpected)


def _prefix(names: list[str], longer: list[str]) -> str:
    """What stands before all of some names in others; "" for nothing."""
    if not names:
        return ""
    ends = (other for other in longer if other.endswith(f".{names[0]}"))
    prefixes = (other.removesuffix(names[0]) for other in ends)
    known = set(longer)
    return next((p for p in prefixes if all(p + name in known for name in names)), "")


def _read(path: Path) -> Mapping[str, Array]:
    """The tensors of a safetensors file, or of all those that an index names."""
    if path.name.endswith(_INDEX):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        return _read_file(path)
    pickle = path.suffix in _PICKLES
    raise FileProblem(
        "a pickle may run any code when it is read" if pickle else WEIGHTS,
        where=str(path),
        got=f"a file called *{path.suffix}" if path.suffix else "a name without an ending",
        wanted=f"*.safetensors, or *{_INDEX}",
        remedy="load it yourself, load_weights(graph, torch.load(path, weights_only=True)), or "
        "convert it with safetensors.torch.save_file",
    )


def _read_file(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError, deserialize

    with told(path, WEIGHTS, SafetensorError):
        content = regular(path, WEIGHTS).read_bytes()
        stored = deserialize(content)  # type: ignore[no-untyped-call]
    return {name: _array(name, each, path) for name, each in stored}


def _array(name: str, stored: Mapping[str, Any], path: Path) -> Array:
    dtype, shape, data = stored["dtype"], stored["shape"], stored["data"]
    if dtype == "BF16":
        # The upper half of a float32.
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    if dtype in _DTYPES:
        return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    raise InputKindError(
        "a weight is an array of floating-point numbers",
        where=f"{path}, '{name}'",
        got=dtype,
        wanted="F16, BF16, F32, F64",
        remedy="multiply the numbers of a quantized network by their scale, and save them in one "
        "of these",
    )


def _read_shards(path: Path) -> dict[str, Array]:
    with told(path, WEIGHTS):
        text = regular(path, WEIGHTS).read_text(encoding="utf-8")
    places: object = None
    with suppress(ValueError, RecursionError, AttributeError):
        places = json.loads(text).get("weight_map")
    if not isinstance(places, dict) or not all(map(_is_beside, places.values())):
        raise FileProblem(
            WEIGHTS,
            where=str(path),
            got=shown(text) if places is None else shown(places),
            wanted='{"weight_map": {"NAME": "FILE.safetensors", ...}}, the files beside it',
            remedy="save the weights again, or pass a .safetensors file",
        )
    found: dict[str, Array] = {}
    for file in dict.fromkeys(places.values()):
        shard = _read_file(path.with_name(file))
        wanted = [name for name, place in places.items() if place == file]
        lacking = [name for name in wanted if name not in shard]
        if lacking:
            raise FileProblem(
                WEIGHTS,
                where=f"{path}, {file}",
                got=f"no tensor {_listed(lacking)}",
                wanted="the tensors that the index says are there",
                remedy="the index and its files do not belong together: fetch them again",
            )
        found.update((name, shard[name]) for name in wanted)
    return found


def _is_beside(name: object) -> bool:
    """Whether a name is that of a safetensors file in the same folder."""
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and Path(name).name == name
        and "\0" not in name
    )
