"""A part of PyTorch's own operator samples; `bench/opinfo.py` runs all of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("expecttest", reason="torch.testing's tables of operators need expecttest")

pytestmark = pytest.mark.pure
PATH = Path(__file__).parents[2] / "bench/opinfo.py"


@pytest.fixture(scope="module")
def opinfo():
    spec = importlib.util.spec_from_file_location("opinfo_bench", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their own
    spec.loader.exec_module(module)
    return module


# Of each family some operators, and of each operator its first samples.
PARTS = {
    "conv": "F.conv2d F.conv_transpose1d addmm",
    "pool": "F.max_pool2d F.avg_pool2d",
    "norm": "F.group_norm F.local_response_norm",
    "activation": "F.gelu F.threshold",
    "pointwise": "rsub where pow",
    "shape": "flatten permute F.pixel_shuffle F.interpolate",
    "reduction": "var amax",
    "indexing": "__getitem__",
}


@pytest.mark.parametrize("family", PARTS)
def test_samples_pass(opinfo, monkeypatch, family):
    monkeypatch.setitem(opinfo.FAMILIES, family, PARTS[family])
    outcomes = [one for one in opinfo.run([family], 2, "numpy") if one.verdict != "outside"]
    assert outcomes
    assert [one for one in outcomes if one.verdict != "passed"] == []


def test_error_inputs_end_in_errors_of_ours(opinfo, monkeypatch):
    """Also those that torch finds when it looks into tensors."""
    monkeypatch.setattr(opinfo, "FAMILIES", {"some": "gather F.max_pool1d cat reshape addmm"})
    outcomes = [one for one in opinfo.run(["errors"], 3, "numpy") if one.verdict != "outside"]
    assert len({one.op for one in outcomes}) >= 4
    assert [one for one in outcomes if one.verdict != "refused"] == []
