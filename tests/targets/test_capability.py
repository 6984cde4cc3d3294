"""The table of dtypes and devices: what it refuses, and the page that is made from it.

`pytest tests/targets/test_capability.py --update-golden` writes `docs/capabilities.md` anew.
"""

import pytest

import graphcnn as gx
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import DType, OpKind
from graphcnn.kernels import stages
from graphcnn.ops import LocalResponseNorm, Strided
from graphcnn.targets import groups, resolve, torch_ops, triton
from graphcnn.targets.capability import CAPABILITIES
from graphcnn.targets.chain import POOLS
from tests.opinfo import INFO
from tests.stand_in_gpu import stand_in_target

HEAD = """# What runs where

Made from `CAPABILITIES` in `graphcnn/targets/capability.py`, which the target `triton` asks about
every node, and from the tables of the targets.

## Dtypes of the kernels

| dtype | CPU | CUDA | why |
|---|---|---|---|"""
OPERATORS = """
## Operators

Of the targets: `triton` computes by a kernel of its own, as a stage of a kernel, or by a call of
PyTorch's operator between its kernels, `library` by PyTorch's operators, in float64 too, and
`numpy` all of them, in float64.

| operator | triton | in a fused tail | library |
|---|---|---|---|"""


def page():
    rows = [HEAD]
    for dtype, row in CAPABILITIES.items():
        cuda = "no" if row.cuda is None else f"{row.cuda / 10} and later"
        cpu = "yes" if row.cpu else "no"
        rows.append(f"| {dtype.long_name} | {cpu} | {cuda} | {row.because} |")
    rows.append(OPERATORS)
    for name, info in sorted(INFO.items()):
        op = info.samples[0].op
        own, tail = "a kernel", "starts one" if op.kind is OpKind.ANCHOR else "no"
        if isinstance(op, POOLS):
            tail = "windows that a tile holds"
        if isinstance(op, LocalResponseNorm):
            tail = "channels that a tile holds"
        if hasattr(stages, name):
            own, tail = "a stage", "yes"
        elif op.kind is OpKind.VIEW or isinstance(op, Strided):
            own = "another name"
        elif not (op.row(triton.TABLE) or op.row(groups.TABLE)):
            own, tail = "a library call", "no"
        rows.append(f"| `{name}` | {own} | {tail} | {'yes' if op.row(torch_ops.TABLE) else 'no'} |")
    return "\n".join(rows)


def test_the_page_is_up_to_date(golden):
    golden("docs/capabilities.md", page())


def network(dtype):
    return gx.graph("g", gx.relu(gx.input("x", (2, 3), dtype), name="bad"))


def test_every_dtype_has_a_row():
    assert set(CAPABILITIES) == set(DType)


@pytest.mark.parametrize(("dtype", "capability"), [("float16", 80), ("bfloat16", 90)])
def test_what_a_device_computes_is_lowered(dtype, capability):
    for target in (resolve("triton", "cpu"), stand_in_target(capability)[0]):
        assert len(target.lower(network(dtype)).steps) == 1


@pytest.mark.parametrize(
    ("dtype", "target", "got", "wanted"),
    [
        ("float64", lambda: resolve("triton", "cpu"), "bad: f64[2,3]", "f32, f16, bf16"),
        ("float64", lambda: stand_in_target(90)[0], "compute in float32", "f32, f16, bf16"),
        (
            "bfloat16",
            lambda: stand_in_target(75)[0],
            "new in 8.0",
            "compute capability 8.0 or later",
        ),
    ],
)
def test_what_it_does_not_compute_is_refused(dtype, target, got, wanted):
    with pytest.raises(UnsupportedOp) as caught:
        target().lower(network(dtype))
    assert "node 'bad'" in caught.value.where
    assert got in str(caught.value.got)
    assert caught.value.wanted == wanted
    assert 'target="library"' in caught.value.remedy
