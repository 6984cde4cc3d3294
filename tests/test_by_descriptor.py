"""One convolution by addresses and by tensor descriptors: the same numbers by the same tile."""

import pytest

from graphcnn import by_descriptor as module
from graphcnn import tap_order
from graphcnn.by_descriptor import ByDescriptor, by_descriptor
from graphcnn.kernels import Block
from graphcnn.report.tables import text
from graphcnn.targets.resolve_device import resolve_device


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(tap_order, "SECONDS", 0.0)
    monkeypatch.setattr(tap_order, "LAUNCHES", 1)


def test_both_ways_are_right_and_timed():
    found = by_descriptor(resolve_device("cpu"), images=2, side=5)
    assert found.problem is None
    assert found.addresses.rounds == found.descriptors.rounds == found.ratio.rounds
    (table,) = found.tables()
    assert [row[0] for row in table.rows] == ["addresses", "descriptors"]


def test_a_way_that_is_wrong_is_not_timed(monkeypatch):
    """A descriptor of one pixel fewer reads zeros in place of the last."""
    real = module.conv2d_box

    def conv2d_box(*args, **options):
        launch = real(*args, **options)
        x, *rest = launch.args
        assert isinstance(x, Block)
        return launch._replace(args=(x._replace(shape=(x.shape[0] - 1, x.shape[1])), *rest))

    monkeypatch.setattr(module, "conv2d_box", conv2d_box)
    found = by_descriptor(resolve_device("cpu"), images=1, side=5)
    assert found.problem.startswith("descriptors: ")
    assert found.addresses is found.descriptors is found.ratio is None
    assert "FAIL: not timed" in text(found.tables()[0])


def test_what_was_not_timed_has_no_figures():
    assert ByDescriptor(None, None, None, "wrong").tables()[0].rows == ()
