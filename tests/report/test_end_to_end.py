"""How far outputs are from the reference of the source."""

import numpy as np

import graphcnn as gx
from graphcnn.ir import evaluate
from graphcnn.report.end_to_end import References
from tests.strategies import inputs

DRAW = np.random.default_rng(4)


def errors(net, model, arrays):
    with model.loaded(arrays) as executor:
        executor.run()
        return References(arrays).errors(model, executor)


def test_the_error_is_that_of_the_result():
    x = gx.input("x", (2, 3, 6, 6))
    h = gx.relu(gx.conv2d(x, DRAW.standard_normal((4, 3, 3, 3), np.float32)), name="h")
    net = gx.graph("net", [gx.softmax(gx.flatten(h), name="y"), h])
    model = gx.compile(net, device="cpu")
    for batch in (2, 3):
        arrays = {"x": DRAW.standard_normal((batch, 3, 6, 6), np.float32)}
        wanted, got = evaluate(gx.ir.rebatch(net, batch), arrays), model(**arrays)
        for found in errors(net, model, arrays):
            off = np.abs(got[found.name] - wanted[found.name]).max()
            assert 0 < found.error == off
            assert found.relative == off / np.ptp(wanted[found.name])
            assert not found.constant
            assert not found.unbounded


def test_elements_without_a_finite_reference_are_counted():
    net = gx.graph("net", gx.mul(gx.input("x", (1, 4)), 2.0, name="y"))
    model = gx.compile(net, device="cpu")
    arrays = inputs(net) | {"x": np.array([[1.0, np.nan, np.inf, 3.0]], np.float32)}
    (found,) = errors(net, model, arrays)
    assert (found.error, found.relative, found.unbounded) == (0, 0, 2)
