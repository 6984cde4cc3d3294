"""Indices: wrong ones are errors in every target, and what is known of an argmax."""

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import errors, ops
from graphcnn.runtime.boundary import example_inputs

F32 = 2.0**-24


def networks():
    i = gx.input("i", (2, 3), "int64")
    x = gx.input("x", (2, 5))
    table = np.arange(15.0).reshape(5, 3)
    return {
        "embedding": gx.embedding(i, table, name="called"),
        "one_hot": gx.one_hot(i, 5, name="called"),
        "gather": gx.gather(x, 1, i, name="called"),
    }


@pytest.mark.parametrize("target", ["triton", "library", "numpy"])
@pytest.mark.parametrize("wrong", [-1, 5, 2**40])
@pytest.mark.parametrize("name", networks())
def test_a_number_that_names_no_element_is_an_error(name, wrong, target):
    model = gx.compile(gx.graph("g", networks()[name]), device="cpu", target=target)
    given = {"i": np.array([[0, 4, 1], [2, wrong, 3]]), "x": np.zeros((2, 5), np.float32)}
    given = {value.name: given[value.name] for value in model.graph.inputs}
    with pytest.raises(errors.IndexOutOfRange) as caught:
        model(**given)
    assert str(wrong) in str(caught.value.got)
    assert caught.value.wanted == "0 to 4"
    if target != "numpy":
        assert "node 'called'" in caught.value.where


@pytest.mark.parametrize("name", networks())
def test_example_inputs_name_elements(name):
    model = gx.compile(gx.graph("g", networks()[name]), device="cpu")
    drawn = example_inputs(model.graph)["i"]
    assert drawn.dtype == np.int64
    assert {*drawn.ravel()} <= {*range(5)}
    assert np.ptp(drawn) > 0
    assert gx.verify(model).ok


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_indices_of_every_dtype(dtype):
    table = np.arange(15, dtype=np.float16).reshape(5, 3)
    graph = gx.graph("g", gx.embedding(gx.input("i", (4,), dtype), table))
    i = np.array([4, 0, 2, 2], dtype)
    got = gx.compile(graph, device="cpu")(i=i)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, table[i])


@pytest.mark.cpu
def test_a_prediction_in_the_graph():
    """The class of each image, which is read on by the library."""
    x = gx.input("x", (2, 3, 4, 4))
    classes = gx.conv2d(x, np.random.default_rng(0).standard_normal((5, 3, 4, 4))).flatten(1)
    best = classes.argmax(-1, name="best")
    graph = gx.graph(
        "g", [best, gx.one_hot(best, 5), gx.gather(classes, 1, classes.argmax(1, True))]
    )
    model = gx.compile(graph, device="cpu")
    given = example_inputs(model.graph)
    best, hot, largest = model(**given).values()
    assert best.dtype == np.int64
    np.testing.assert_array_equal(hot.argmax(1), best)
    assert largest.shape == (2, 1)
    assert gx.verify(model, **given).ok
    tensor = model(x=torch.from_numpy(given["x"]))["best"]
    assert tensor.dtype == torch.int64
    assert model(x=np.zeros((7, 3, 4, 4), np.float32))["best"].shape == (7,)


def test_the_first_of_equal_elements_and_the_first_nan():
    x = np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, np.nan], [-np.inf] * 3])
    for way in ("triton", "library", "numpy"):
        model = gx.compile(
            gx.graph("g", gx.argmax(gx.input("x", (3, 3)), 1)), device="cpu", target=way
        )
        np.testing.assert_array_equal(model(x=x.astype(np.float32)), [1, 0, 0])


def test_nothing_is_known_where_errors_may_exchange_the_largest():
    op, x = ops.Argmax(1), np.array([[1.0, 1.5, 0.0], [1.0, 1.1, 0.0], [2.0, 2.0, 0.0]])
    exact = op.reference(x)
    sure = op.error((x,), (np.full(x.shape, 0.1),), exact, F32)
    np.testing.assert_array_equal(sure, [0.0, np.inf, np.inf])
    np.testing.assert_array_equal(op.error((x,), (np.zeros(x.shape),), exact, F32), [0, 0, 0])


def test_whole_numbers_are_for_indices_only():
    i = gx.input("i", (2, 3), "int64")
    for use in (gx.relu, lambda x: x + 1.0, lambda x: gx.concat([x, x])):
        with pytest.raises(errors.DTypeMismatch, match="floating point"):
            use(i)
    with pytest.raises(errors.DTypeMismatch, match="whole numbers"):
        gx.embedding(gx.input("x", (2,)), np.ones((3, 4)))
