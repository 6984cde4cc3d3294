"""One network in every form that an engine reads, with an image and the output to expect.

    python -m bench.engines.exports FOLDER NETWORK BATCH DTYPE SIZE

A process of its own, so that no converter is in the memory of an engine. A form that cannot be
written leaves its reason in a file of its name and the ending `.absent`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import graphcnn as gx
from bench.engines.cases import Case

TORCH, ONNX, MNN, NCNN = "torch.pt2", "model.onnx", "model.mnn", "model.ncnn.param"
IMAGE, EXPECTED, FACTS = "image.npy", "expected.npy", "facts.json"
INPUT, OUTPUT = "image", "result"


class OneInput(torch.nn.Module):
    """A network whose input has a name that every converter keeps."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The network's output."""
        return self.network(image)


def export(case: Case, folder: Path) -> None:
    """Write all forms of a case's network."""
    graph = case.graph()
    (entry,) = graph.inputs
    image = entry.type.dtype.round(
        np.random.default_rng(1).standard_normal(entry.type.shape, np.float32)
    ).astype(np.float32)
    np.save(folder / IMAGE, image)
    gx.save(graph, folder / "graph.gcn")
    weights = sum(param.type.nbytes for param in graph.params)
    (folder / FACTS).write_text(json.dumps({"weights_bytes": weights}))
    given = torch.from_numpy(image)
    network = OneInput(gx.to_torch(graph)).eval()
    _write(folder / TORCH, lambda path: _export_torch(network, given, case.dtype, path))
    # Converters get float32 that holds the same numbers; what they store is the engine's choice.
    network.float()
    _write(folder / ONNX, lambda path: export_onnx(network, given, path))
    _write(folder / MNN, lambda path: _export_mnn(folder / ONNX, path))
    _write(folder / NCNN, lambda path: _export_ncnn(network, given, path))
    with torch.no_grad():
        expected = network.double()(given.double()).numpy()
    if not np.ptp(expected) > 0:
        raise ValueError(f"{case}: the expected output is constant and says nothing")
    np.save(folder / EXPECTED, expected)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
        if not path.exists():
            raise RuntimeError("its converter wrote nothing")
    except Exception as error:  # a converter's, of any kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        path.with_name(f"{path.name}.absent").write_text(reason[0])


def _export_torch(network: torch.nn.Module, image: torch.Tensor, dtype: str, path: Path) -> None:
    program = torch.export.export(network, (image.to(getattr(torch, dtype)),))
    torch.export.save(program, path)


def export_onnx(network: torch.nn.Module, image: torch.Tensor, path: Path) -> None:
    """Write a network as ONNX, with its weights inside."""
    torch.onnx.export(
        network,
        (image,),
        path,
        input_names=[INPUT],
        output_names=[OUTPUT],
        external_data=False,
        verbose=False,
    )


def _export_mnn(onnx: Path, path: Path) -> None:
    # Not by MNN.tools.mnnconvert: its import installs another package, which reports to a server.
    convert = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    files = ["--modelFile", str(onnx), "--MNNModel", str(path)]
    _run([sys.executable, "-c", convert, "-f", "ONNX", *files, "--bizCode", "x"])


def _export_ncnn(network: torch.nn.Module, image: torch.Tensor, path: Path) -> None:
    """One image: ncnn has no batches."""
    import pnnx

    script = path.with_name("model.pt")
    torch.jit.trace(network, image[:1]).save(script)
    shape = str([1, *image.shape[1:]]).replace(" ", "")
    _run([pnnx.EXEC_PATH, str(script), f"inputshape={shape}f32", "fp16=0"])
    script.unlink()


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with status {ran.returncode}")


if __name__ == "__main__":
    where, network, batch, dtype, size = sys.argv[1:]
    export(Case(network, int(batch), dtype, int(size) or None), Path(where))
