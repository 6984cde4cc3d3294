"""Graphs and reports on disk; a file is written whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from graphcnn.errors import FileProblem
from graphcnn.frontend.from_text import parse
from graphcnn.ir import Graph, Param, check_graph, verify


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph as text to `path`, and its weights beside it as `.safetensors`.

    Raises:
        FileProblem: when a file cannot be written; neither is left half-written. Also for a graph
            without weights where `load` would give it the weights of an older file.
        InvalidGraph: for what is not a graph.
    """
    from safetensors.numpy import save as serialize

    check_graph(graph)
    text, beside = _files(path)
    data = {param.name: param.data for param in graph.params if param.data is not None}
    if data:
        write(beside, serialize(data))
    elif beside.exists():
        raise FileProblem(
            "a graph without weights would be loaded with the weights of an older file",
            where=str(text),
            got=f"{beside}, and a graph with no data for its params",
            remedy="remove that file, or save under another name",
        )
    write(text, f"{graph}\n".encode())


def load(path: str | Path) -> Graph:
    """Read a graph that `save` wrote, or a text graph without weights.

    Raises:
        FileProblem: when a file cannot be read, or the weights do not belong to the graph.
        ParseError: or an error of the graph, when the text is not a valid graph, or its weights are
            none that a graph may have.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    text, beside = _files(path)
    try:
        graph = parse(text.read_text(encoding="utf-8"))
        data = load_file(beside) if beside.exists() else {}
    except (OSError, UnicodeDecodeError, SafetensorError) as error:
        raise FileProblem(
            "a graph cannot be read",
            where=str(path),
            got=str(error),
            wanted="the text form of a graph, and its weights in a .safetensors file beside it",
            remedy="write it with gx.save(graph, path)",
        ) from None

    def filled(param: Param) -> Param:
        array = data.get(param.name)
        carried = param.type.dtype.numpy
        if array is not None and (array.shape, array.dtype) != (param.type.shape, carried):
            raise FileProblem(
                "the weights beside a graph belong to another graph",
                where=f"{beside}, '{param.name}'",
                got=f"{array.dtype}{list(array.shape)}",
                wanted=f"{carried}{list(param.type.shape)}",
                remedy="save graph and weights together with gx.save",
            )
        return param if array is None else replace(param, data=array)

    loaded = graph.replace(params=tuple(filled(param) for param in graph.params))
    verify(loaded)
    return loaded


def _files(path: str | Path) -> tuple[Path, Path]:
    """The file of a graph's text, and that of its weights."""
    named = Path(path) if isinstance(path, str | os.PathLike) else None
    if named is None or not named.name or "\0" in str(named) or named.suffix == ".safetensors":
        raise FileProblem(
            "this path cannot name a graph",
            where="path",
            got=repr(path),
            wanted="the path of a text file; its weights take the suffix .safetensors",
            remedy='choose a name such as "net.gcn"',
        )
    return named, named.with_suffix(".safetensors")


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: to a temporary name, then renamed.

    Raises:
        FileProblem: when that fails; what was there before is untouched.
    """
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FileProblem(
            "a file cannot be written",
            where=str(path),
            got=error.strerror,
            remedy="choose a folder that exists and that you may write to",
        ) from None
