"""Graphs and reports on disk, written as `disk` says.

A saved graph is a text and the weights beside it, and the rename of the text is the one moment at
which a new pair takes the place of the old one: the first line of the text names the file of its
weights, which is named after the graph's fingerprint.

    # weights: "net.gcn.5d41402abc4b2a76.safetensors"
    graph net {
      ...

A graph without weights has `# weights: null` there.
"""

from __future__ import annotations

import fcntl
import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from graphcnn.disk import (
    READ,
    TEMPORARY,
    WRITTEN,
    in_file,
    locked,
    no_path,
    plain_path,
    put,
    regular,
    remove,
    told,
)
from graphcnn.errors import FileProblem, InvalidName, MissingWeights, shown
from graphcnn.frontend.from_text import parse
from graphcnn.ir import Array, Graph, frozen, let_go, verify
from graphcnn.ir.constants import mapped

_HEADER = "# weights: "
_WEIGHTS = r"\.([0-9a-f]{16})\.safetensors"


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph as text to `path`, and its weights to `path` + `.FINGERPRINT.safetensors`.

    When it returns, both are on the disk. Until then, and after a kill or a power failure, `load`
    gives the whole pair that was there before. A symbolic link stays, and its target is written;
    files that are there keep their modes. Other processes that save or load in the same folder
    wait.

    Raises:
        FileProblem: when a file cannot be written, or `path` is no regular file; the pair that was
            there is untouched.
        MissingWeights: for a graph some of whose params have data and some have not.
        InvalidGraph: or another error of the graph, for what is not a valid one.
    """
    from safetensors.numpy import save as serialize

    verify(graph)
    text = regular(_graph_path(path), WRITTEN)
    _check_whole(graph)
    # safetensors writes an array's memory as it lies.
    data = {p.name: np.asarray(p.data, order="C") for p in graph.params if p.data is not None}
    weights = text.with_name(f"{text.name}.{graph.fingerprint}.safetensors") if data else None
    header = f"{_HEADER}{json.dumps(weights and weights.name)}"
    with told(text, WRITTEN), locked(text.parent, fcntl.LOCK_EX):
        fresh = weights is not None and not weights.exists()
        try:
            if weights is not None:
                before = _named_weights(text)
                put(weights, serialize(data), text.with_name(before) if before else text)
            put(text, f"{header}\n{graph}\n".encode(), text)
        except BaseException:
            if weights is not None and fresh and _named_weights(text) != weights.name:
                weights.unlink(missing_ok=True)
            raise
        name = re.escape(text.name)
        leftovers = rf"\.{name}({_WEIGHTS})?{TEMPORARY}|{name}{_WEIGHTS}"
        remove(text.parent, leftovers, kept=weights)


def load(path: str | Path) -> Graph:
    """Read a graph that `save` wrote, or a text graph without weights: see `loading.load`.

    Raises:
        FileProblem, ParseError: and errors of the graph, as there.
    """
    text = regular(_graph_path(path), READ)
    with told(text, READ), locked(text.parent, fcntl.LOCK_SH):
        content = text.read_text(encoding="utf-8")
        with in_file(text):
            graph = parse(content)
        if graph.params and not content.startswith(_HEADER):
            _check_nothing_beside(text)
        name = _header(content, text)
        if name is None:
            return graph
        weights = regular(text.with_name(name), READ)
        return _with_weights(graph, weights, text)


def write(path: str | Path, content: bytes) -> None:
    """Write a file in one step; when it returns, the file is on the disk.

    A symbolic link stays, and its target is written; a file that is there keeps its mode.

    Raises:
        FileProblem: when that fails, or `path` is no regular file; what was there before is
            untouched.
    """
    file = regular(plain_path(path), WRITTEN)
    with told(file, WRITTEN), locked(file.parent, fcntl.LOCK_EX):
        put(file, content, file)
        remove(file.parent, rf"\.{re.escape(file.name)}{TEMPORARY}")


def _graph_path(path: str | Path) -> Path:
    """The path of a graph's text; `.safetensors` is for weights."""
    named = plain_path(path)
    if named.suffix == ".safetensors":
        raise no_path(path)
    return named


def _check_whole(graph: Graph) -> None:
    """Check that all params have data or none has, under names that safetensors takes."""
    bare = [param.name for param in graph.params if param.data is None]
    if bare and len(bare) < len(graph.params):
        raise MissingWeights(
            "a graph is saved with all of its weights, or without any",
            where=f"graph '{graph.name}'",
            got=f"no data for {_listed(bare)}",
            remedy="fill it with gx.ir.with_he_weights(graph, seed), or save gx.parse(str(graph))",
        )
    if "__metadata__" in graph.param_by_name:
        raise InvalidName(
            "safetensors files keep the name __metadata__ for themselves",
            where=f"graph '{graph.name}'",
            got="a param named __metadata__",
            remedy="rename it",
        )


def _named_weights(text: Path) -> str | None:
    """The name of the weights of the pair that is on the disk, if there is one."""
    with suppress(OSError, UnicodeError, FileProblem):
        return _header(text.read_text(encoding="utf-8"), text)
    return None


def _header(content: str, text: Path) -> str | None:
    """The name of the weights in the first line of a text."""
    line = content.partition("\n")[0]
    with suppress(ValueError, RecursionError):
        name = json.loads(line.removeprefix(_HEADER)) if line.startswith(_HEADER) else None
        if name is None:
            return None
        if isinstance(name, str) and name and Path(name).name == name and "\0" not in name:
            return name
    raise FileProblem(
        "the line that names the weights of a graph cannot be read",
        where=f"{text}, line 1",
        got=shown(line),
        wanted=f'{_HEADER}"NAME" with the name of a file in the same folder, or {_HEADER}null',
        remedy="save the graph again",
    )


def _check_nothing_beside(text: Path) -> None:
    """Check that a text that names no weights has none beside it."""
    earlier = text.with_suffix(".safetensors").name
    wanted = rf"{re.escape(text.name)}{_WEIGHTS}|{re.escape(earlier)}"
    names = (file.name for file in text.parent.iterdir())
    beside = sorted(name for name in names if re.fullmatch(wanted, name))
    if beside:
        raise FileProblem(
            "a text does not say whether the weights beside it are its own",
            where=str(text),
            got=_listed(beside),
            wanted=f"a first line that names its weights, or {_HEADER}null",
            remedy=f"add the line {_HEADER}{json.dumps(beside[0])} if they are; graphs saved by "
            "earlier versions lack it",
        )


def _with_weights(graph: Graph, file: Path, text: Path) -> Graph:
    """The graph with the data of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    types = {param.name: param.type for param in graph.params}

    def fail(where: str, got: str, wanted: str) -> FileProblem:
        return FileProblem(
            "the weights beside a graph belong to another graph, or are damaged",
            where=where,
            got=got,
            wanted=wanted,
            remedy="save graph and weights together with gx.save",
        )

    with told(file, READ, SafetensorError), safe_open(file, framework="numpy") as stored:
        names = set(stored.keys())
        lacking, extra = sorted(types.keys() - names), sorted(names - types.keys())
        if lacking or extra:
            got = f"lacking: {_listed(lacking)}; too many: {_listed(extra)}"
            raise fail(str(file), got, f"a tensor for each param of {text}")
        for name, type in types.items():
            carried = type.dtype.numpy
            held = stored.get_slice(name)
            found = f"{held.get_dtype()}{held.get_shape()}"
            wanted = f"{carried.kind}{8 * carried.itemsize}{list(type.shape)}".upper()
            if found != wanted:
                raise fail(f"{file}, '{name}'", found, wanted)
    # `save` never writes to a file that bears a fingerprint again, which others may do to theirs.
    named = re.search(f"{_WEIGHTS}$", file.name)
    data = {name: array if named else frozen(array) for name, array in _tensors(file).items()}
    params = tuple(replace(param, data=data[param.name]) for param in graph.params)
    graph = replace(graph, params=params)
    if named and named[1] != graph.fingerprint:
        got = f"fingerprint {graph.fingerprint}, {named[1]} when it was saved"
        raise fail(f"{text} and {file.name}", got, "a text and weights that nobody has changed")
    with in_file(file):
        verify(graph)
    for array in data.values():
        let_go(array)
    return graph


def _tensors(file: Path) -> dict[str, Array]:
    """The tensors of a valid safetensors file, where they lie in it."""
    content = mapped(file)
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    header.pop("__metadata__", None)
    found = {}
    for name, stored in header.items():
        shape, (first, last) = stored["shape"], stored["data_offsets"]
        dtype = np.dtype(f"<{stored['dtype'][0].lower()}{int(stored['dtype'][1:]) // 8}")
        array = np.frombuffer(content, dtype, (last - first) // dtype.itemsize, size + first)
        found[name] = array.reshape(shape)
    return found


def _listed(names: list[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more if names else "none"
