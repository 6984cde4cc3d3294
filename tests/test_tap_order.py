"""One convolution with its taps innermost and outermost: the same numbers by the same kernel."""

import pytest
import torch

from graphcnn import tap_order as module
from graphcnn.gpu_code import architecture, compile_for
from graphcnn.report.tables import text
from graphcnn.tap_order import TapOrder, launches, tap_order
from graphcnn.targets.resolve_device import resolve_device


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "LAUNCHES", 1)


def test_both_orders_are_right_and_timed():
    found = tap_order(resolve_device("cpu"), images=2, side=5)
    assert found.problem is None
    assert found.innermost.rounds == found.outermost.rounds == found.ratio.rounds
    (table,) = found.tables()
    assert [row[0] for row in table.rows] == ["innermost", "outermost"]


def test_an_order_that_is_wrong_is_not_timed(monkeypatch):
    """Outermost without the padding of a whole pixel: it reads other taps."""
    real = module.conv2d

    def conv2d(*args, padding, **options):
        return real(*args, padding=(0, min(padding[1], 4)), **options)

    monkeypatch.setattr(module, "conv2d", conv2d)
    found = tap_order(resolve_device("cpu"), images=1, side=5)
    assert found.problem.startswith("taps outermost: ")
    assert found.innermost is found.outermost is found.ratio is None
    assert "FAIL: not timed" in text(found.tables()[0])


@pytest.mark.compile
@pytest.mark.parametrize("capability", [80, 90, 120])
def test_both_read_pixels_through_l1_by_as_many_instructions(capability):
    shapes = ((8, 56, 56, 512), (64, 3, 512), (8, 56, 56, 64))
    x, w, y = (torch.empty(shape, dtype=torch.float16) for shape in shapes)
    found = {
        name: compile_for(
            (launch.kernel, launch.args, launch.meta), architecture(f"sm_{capability}")
        )
        for name, launch in launches(x, w, y).items()
    }
    counts = {name: code.assembly.count("cp.async.ca") for name, code in found.items()}
    assert counts["innermost"] == counts["outermost"] > 0
    assert not any(code.spills_in_loops for code in found.values())


def test_an_order_that_was_not_timed_has_no_figures():
    assert TapOrder(None, None, None, "wrong").tables()[0].rows == ()
