"""Keeps the Triton IR of a set of kernels as the installed version of Triton prints it.

`python -m tests.cpu.make_corpus` writes `tests/cpu/corpus/VERSION.zip`; the README there says more.
"""

import re
import tempfile
from pathlib import Path
from unittest.mock import patch
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import torch
import triton
import triton.language as tl

import graphcnn as gx
from graphcnn import cpu, triton_api
from graphcnn.cpu.emit import emit

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"


@triton.jit
def clipped(x, y, n, factor, BLOCK: tl.constexpr):
    """The kernel that `test_corpus.py` runs: y = max(x, 0) * factor."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(y + i, tl.maximum(value, 0.0) * factor, mask=i < n)


def weight(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def image(channels, dtype="float32"):
    return gx.input("image", (2, channels, 9, 7), dtype)


def convolution(dtype):
    h = gx.conv2d(image(3, dtype), weight(8, 3, 3, 3), weight(8), padding=1)
    return gx.max_pool2d(gx.relu(h), 2)


NETWORKS = {
    "conv2d_relu_pool": lambda: convolution("float32"),
    "conv2d_relu_pool_f16": lambda: convolution("float16"),
    "grouped": lambda: gx.conv2d(image(8), weight(4, 4, 3, 3), stride=2, groups=2),
    "depthwise": lambda: gx.silu(gx.conv2d(image(8), weight(8, 1, 3, 3), padding=1, groups=8)),
    "max_pool": lambda: gx.max_pool2d(image(8), 3, 2, padding=1),
    "avg_pool": lambda: gx.avg_pool2d(image(8), 2, count_include_pad=False),
    "mean": lambda: gx.global_avg_pool2d(image(8)),
    "softmax": lambda: gx.softmax(gx.input("rows", (3, 10)), 1),
    "linear": lambda: gx.linear(gx.input("row", (1, 33)), weight(10, 33), weight(10)),
    "pointwise": lambda: gx.tanh(image(8)) * 0.5 + weight(8, 1, 1),
    "concat": lambda: gx.concat([x := image(3), gx.relu(x)], 1),
}


def main() -> None:
    """Compile and check every network, and write the Triton IR of its kernels."""
    found: dict[str, str] = {}
    current = "clipped"

    def recorded(text, *, checked=False):
        program = emit(text, checked=checked)
        found.setdefault(f"{current}.{program.name}.ttir", without_paths(text))
        return program

    with tempfile.TemporaryDirectory() as cache, patch("graphcnn.cpu.backend.emit", recorded):
        triton.knobs.cache.dir = cache
        args = torch.zeros(100), torch.zeros(100), 100, 0.5
        triton_api.prepare(clipped, args, {"BLOCK": 64}, cpu.driver(sanitize=False))
        for current, make in NETWORKS.items():
            assert gx.verify(gx.compile(gx.graph(current, make()), device="cpu")).ok, current
    file = CORPUS / f"{triton.__version__}.zip"
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, text in found.items():
            archive.writestr(ZipInfo(name), text, ZIP_DEFLATED)  # ZipInfo: no time, no user
    print(f"{file.relative_to(ROOT)}: {len(found)} kernels, {file.stat().st_size} bytes")


def without_paths(text: str) -> str:
    """The text with this machine's folders left out of its locations."""
    text = text.replace(f'"{ROOT}/', '"')
    return re.sub(r'"/[^"]*(/triton/language/)', r'"\1', text)


if __name__ == "__main__":
    main()
