"""Graphs and reports on disk; a file is written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from graphcnn.errors import FileProblem
from graphcnn.frontend.from_text import parse
from graphcnn.ir import Graph, Param


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph as text to `path`, and its weights beside it as `.safetensors`.

    Raises:
        FileProblem: when a file cannot be written; neither is left half-written.
    """
    from safetensors.numpy import save as serialize

    data = {param.name: param.data for param in graph.params if param.data is not None}
    if data:
        write(Path(path).with_suffix(".safetensors"), serialize(data))
    write(Path(path), f"{graph}\n".encode())


def load(path: str | Path) -> Graph:
    """Read a graph that `save` wrote, or a text graph without weights.

    Raises:
        FileProblem: when a file cannot be read, or the weights do not belong to the graph.
        ParseError: or an error of the graph, when the text is not a valid graph.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    beside = Path(path).with_suffix(".safetensors")
    try:
        graph = parse(Path(path).read_text(encoding="utf-8"))
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
        if array is not None and array.shape != param.type.shape:
            raise FileProblem(
                "the weights beside a graph belong to another graph",
                where=f"{beside}, '{param.name}'",
                got=list(array.shape),
                wanted=list(param.type.shape),
                remedy="save graph and weights together with gx.save",
            )
        return param if array is None else replace(param, data=array)

    return graph.replace(params=tuple(filled(param) for param in graph.params))


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: to a temporary name, then renamed.

    Raises:
        FileProblem: when that fails; what was there before is untouched.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            os.unlink(temporary)
        raise FileProblem(
            "a file cannot be written",
            where=str(path),
            got=error.strerror,
            remedy="choose a folder that exists and that you may write to",
        ) from None
