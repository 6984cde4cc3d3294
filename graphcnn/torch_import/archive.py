"""Programs in `.pt2` archives, as `torch.export.save` writes them.

torch.export.load unpickles objects where an archive says so, which can run any code. So an archive
is looked through first, and one that holds more than tensors and a program is not loaded.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch.export import ExportedProgram

from graphcnn.disk import READ, in_file, plain_path, regular, told
from graphcnn.errors import FileProblem
from graphcnn.ir.graph import Graph
from graphcnn.torch_import.door import from_torch


def read(path: str | Path) -> Graph:
    """The graph of the program in an archive, on the example that is saved with it.

    Raises:
        FileProblem: for what is not such an archive, and for one with pickled objects.
        The errors of `from_torch`.
    """
    file = regular(plain_path(path), READ)
    with told(file, READ):
        program = _program(file)
    with in_file(file):
        return from_torch(program)


def _program(path: Path) -> ExportedProgram:
    try:
        pickled = _pickled(path)
        if pickled is None:
            program = torch.export.load(path)
    except OSError:
        raise
    except Exception as error:
        raise FileProblem(
            "an archive holds no exported program",
            where=str(path),
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            wanted="what torch.export.save(program, path) writes",
            remedy="save it again; an older torch may not read what a newer one wrote",
        ) from error
    if pickled is not None:
        raise FileProblem(
            "an archive holds pickled objects, which can run any code when they are read",
            where=str(path),
            got=pickled,
            wanted="tensors and a program alone",
            remedy="if you trust it: gx.from_torch(torch.export.load(path))",
        )
    return program


def _pickled(path: Path) -> str | None:
    """The first member of an archive that holds pickled objects other than tensors."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("_config.json"):
                payloads = json.loads(content)["config"].values()
                if any(one.get("use_pickle") for one in payloads):
                    return name
            elif name.endswith(".pt"):
                try:
                    torch.load(BytesIO(content), weights_only=True)
                except (pickle.UnpicklingError, RuntimeError):
                    return name
    return None
