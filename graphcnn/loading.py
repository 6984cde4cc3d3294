"""The door for networks on disk: by its ending, a file goes to what reads its kind."""

from __future__ import annotations

from pathlib import Path

from graphcnn import files
from graphcnn.disk import plain_path
from graphcnn.ir import Graph


def load(path: str | Path) -> Graph:
    """Read a graph that `save` wrote, a text graph without weights, or a `.pt2` archive.

    A first line `# weights: "NAME"`, written by hand, gives a text the weights of any safetensors
    file beside it whose tensors have the names, shapes and dtypes of the graph's params.

    Weights that `save` wrote stay in their file, and are read when they are needed: a compiled
    model holds its own form of them, and nothing besides. The file must not be written to in place;
    to save another graph there, or to delete it, is safe.

    An archive is what `torch.export.save` wrote, and is read as `from_torch` reads the program; one
    that holds pickled objects besides is refused.

    Raises:
        FileProblem: when a file cannot be read, or the weights do not belong to the graph: tensors
            that are lacking or too many, of another shape or dtype, or not those that were saved
            with the text.
        ParseError: or an error of the graph, when the text is not a valid graph, or its weights are
            none that a graph may have.
        UnsupportedOp: or another error of `from_torch`, for an archive.
    """
    if plain_path(path).suffix == ".pt2":
        from graphcnn.torch_import.archive import read

        return read(path)
    return files.load(path)
