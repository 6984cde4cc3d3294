"""Wrong calls end in an error of graphcnn's own, with a remedy; never in a foreign one.

`MISTAKES` names the error of each kind of wrong argument. The sweep passes everything odd to every
parameter of every public function.
"""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn import errors, ir, models
from graphcnn.errors import GraphCNNError
from graphcnn.passes import Fuse, Simplify
from tests.odd_calls import (
    IMAGE,
    MODEL,
    NETWORK,
    NO_ARRAYS,
    NO_FLOATS,
    ODD,
    ONES,
    Number,
    call,
    functions,
    image,
)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*quantize")
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_plain_array_is_neither_weight_nor_input(kind):
    make, says = NO_ARRAYS[kind]
    for use in (
        lambda: gx.mul(image(), make()),
        lambda: gx.conv2d(image(), make()),
        lambda: MODEL(x=make()),
        lambda: gx.verify(MODEL, x=make()),
    ):
        with pytest.raises(errors.InputKindError) as caught:
            use()
        assert says in caught.value.got
        assert caught.value.remedy


def test_tensors_inside_a_transform_are_no_inputs():
    with pytest.raises(errors.InputKindError, match="without memory of its own"):
        torch.func.vmap(lambda tensor: MODEL(x=tensor))(torch.ones(2, *IMAGE))


@pytest.mark.parametrize("kind", NO_FLOATS)
def test_weights_are_floats(kind):
    with pytest.raises(errors.InputKindError, match="floating-point") as caught:
        gx.linear(gx.input("v", (2, 3)), NO_FLOATS[kind]())
    assert "scale" in caught.value.remedy


def test_the_negative_bit_is_read():
    tensor = torch.randn(IMAGE, dtype=torch.complex64).conj().imag
    assert tensor.is_neg()
    np.testing.assert_array_equal(
        MODEL(x=tensor).numpy(), MODEL(x=np.array(tensor.resolve_neg().numpy()))
    )
    param = gx.graph("g", gx.mul(image(), tensor)).params[0]
    np.testing.assert_array_equal(param.data, tensor.resolve_neg().numpy())


def test_a_mapped_file_is_an_array(tmp_path):
    mapped = np.memmap(tmp_path / "w", np.float32, "w+", shape=(3, 1, 1))
    mapped[:] = 2
    np.testing.assert_array_equal(gx.graph("g", gx.mul(image(), mapped)).params[0].data, mapped)


MISTAKES = {
    "no tensors": (lambda: gx.concat(None), errors.InputKindError, "tensors"),
    "a generator": (
        lambda: gx.concat(image() for _ in range(2)),
        errors.InputKindError,
        "list or tuple",
    ),
    "no outputs": (lambda: gx.graph("g", None), errors.InputKindError, "outputs"),
    "an array as a name": (
        lambda: gx.relu(image(), name=np.ones(2)),
        errors.InvalidName,
        "ndarray of shape",
    ),
    "a tensor as a name": (lambda: gx.input(torch.ones(2), IMAGE), errors.InvalidName, "name"),
    "an array as a flag": (
        lambda: gx.max_pool2d(image(), 2, ceil_mode=np.ones(2)),
        errors.InvalidAttribute,
        "ceil_mode",
    ),
    "a word as a flag": (
        lambda: gx.compile(NETWORK, fuse="no"),
        errors.InvalidAttribute,
        "fuse is True or False",
    ),
    "an empty batch": (
        lambda: MODEL(x=np.ones((0, *IMAGE[1:]), np.float32)),
        errors.InputShapeError,
        "at least one sample",
    ),
    "passes": (lambda: gx.compile(NETWORK, passes=5), errors.InputKindError, "passes"),
    "a class as a pass": (
        lambda: gx.compile(NETWORK, passes=[Simplify]),
        errors.InputKindError,
        "Simplify",
    ),
    "groups": (
        lambda: gx.compile(NETWORK, must_fuse=np.ones(2)),
        errors.InvalidAttribute,
        "must_fuse",
    ),
    "groups beside passes": (
        lambda: gx.compile(NETWORK, passes=[Fuse()], must_not_fuse=torch.ones(2)),
        errors.InvalidAttribute,
        "must_not_fuse",
    ),
    "target": (lambda: gx.compile(NETWORK, target=np.ones(2)), errors.UnknownTarget, "ndarray"),
    "device": (
        lambda: gx.compile(NETWORK, target="library", device=np.ones(2)),
        errors.DeviceUnavailable,
        "ndarray",
    ),
    "rank": (lambda: gx.input("x", (1,) * 65), errors.TooLarge, "32 dimensions"),
    "rank in text": (
        lambda: gx.parse(f"graph g {{\n input x: f32[{','.join('1' * 65)}]\n return x\n}}"),
        errors.ParseError,
        "32 dimensions",
    ),
    "long ints": (lambda: gx.input("x", (10**5000,)), errors.TooLarge, "2^63"),
    "negative long ints": (lambda: gx.input("x", (-(10**5000),)), errors.InvalidAttribute, "int"),
    "a number beyond float64": (lambda: image() * 10**400, errors.NonFiniteWeights, "inf"),
    "a complex number": (lambda: image() * np.complex64(1j), errors.InputKindError, "complex64"),
    "a tensor as a dtype": (
        lambda: gx.input("x", (1,), gx.input("f32", (1,))),
        errors.UnknownDType,
        "Input of shape",
    ),
    "an abstract dtype": (
        lambda: gx.input("x", (1,), np.floating),
        errors.UnknownDType,
        "floating",
    ),
    "seconds": (
        lambda: gx.profile(MODEL, seconds="1"),
        errors.InvalidAttribute,
        "seconds is a number",
    ),
    "endless seconds": (
        lambda: gx.compare({"a": MODEL}, seconds=math.inf),
        errors.InvalidAttribute,
        "seconds is a number",
    ),
    "an input as seconds": (
        lambda: gx.profile(MODEL, seconds=ONES),
        errors.InvalidAttribute,
        'profile(model, {"seconds": array})',
    ),
    "inputs in a list": (lambda: gx.profile(MODEL, [ONES]), errors.InputKindError, "mapping"),
    "a base class": (lambda: gx.Tensor(image().type, "t"), errors.InputKindError, "gx.input"),
    "a made-up graph": (
        lambda: gx.compile(gx.Graph("g", (), (), ("relu",), ("relu",))),
        errors.InvalidGraph,
        "nodes, a tuple of Nodes",
    ),
    "a made-up body": (
        lambda: gx.compile(
            NETWORK.replace(nodes=(*NETWORK.nodes[:1], replace(NETWORK["relu"], op=ir.Fused(5))))
        ),
        errors.InvalidGraph,
        "nodes, a tuple of Nodes",
    ),
    "weights of bf16": (
        lambda: gx.compile(
            gx.parse(
                "graph g {\n input x: bf16[2]\n param p: bf16[2]\n y: bf16[2] = add(x, p)\n"
                " return y\n}"
            ).replace(
                params=(ir.Param("p", ir.TensorType((2,), ir.DType.BF16), np.full(2, 1.001, "f")),)
            )
        ),
        errors.InvalidGraph,
        "no bfloat16 numbers",
    ),
    "a network's option": (
        lambda: models.build("lenet", size=3),
        errors.InvalidAttribute,
        "no such option",
    ),
    "classes": (lambda: models.vgg11(size=32, classes=10**14), errors.TooLarge, "memory"),
    "channels": (
        lambda: gx.batch_norm(gx.input("x", (1, 10**15)), np.ones(1), np.ones(1)),
        errors.TooLarge,
        "memory",
    ),
    "seed": (lambda: models.vgg11(size=32, seed=-1), errors.InvalidAttribute, "seed is"),
    "a name of no value": (lambda: NETWORK["ghost"], errors.UnknownNode, "ghost"),
    "the type of no value": (lambda: NETWORK.type_of("ghost"), errors.UnknownNode, "ghost"),
}


@pytest.mark.parametrize(("call", "error", "says"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["seconds", "model", "models", "arrays"])
def test_an_input_may_have_the_name_of_a_parameter(name):
    graph = gx.graph("g", gx.relu(gx.input(name, (2, 3))))
    model = gx.compile(graph, target="numpy", device="cpu")
    arrays = {name: np.array([[-1, 2, 3], [4, 5, 6]], np.float32)}
    np.testing.assert_array_equal(model(**arrays), np.maximum(arrays[name], 0))
    assert gx.verify(model, **arrays).ok
    assert gx.profile(model, arrays, seconds=0).ok
    assert gx.compare({"a": model}, arrays, seconds=0).ok
    with pytest.raises(errors.UnexpectedInput):
        gx.profile(model, {**arrays, "other": arrays[name]}, seconds=0)


def test_every_public_function_is_swept(tmp_path):
    cases = functions(tmp_path)
    public = {getattr(gx, name) for name in gx.__all__}
    assert {thing for thing in public if inspect.isfunction(thing)} <= cases.keys()
    for function, arguments in cases.items():
        call(function, arguments)
        named = {
            p.name for p in inspect.signature(function).parameters.values()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }  # fmt: skip
        assert named <= arguments.keys(), function


def refusal(function, arguments):
    """The error of a call, or None; a foreign one passes through."""
    try:
        call(function, arguments)
    except GraphCNNError as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*quantize")
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("odd", ODD)
def test_nothing_foreign_comes_out(tmp_path, monkeypatch, odd):
    monkeypatch.chdir(tmp_path)
    calls = [
        (function, {**arguments, parameter: ODD[odd]()})
        for function, arguments in functions(tmp_path).items()
        for parameter in arguments
    ]
    found = [refusal(*each) for each in calls]
    refused = [error for error in found if error is not None]
    assert len(refused) > 60
    for error in refused:
        text = str(error)
        assert error.remedy, text
        assert len(text.encode()) < 5000, text


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(2), Number.ONE])
def test_numbers_of_other_kinds_print_and_parse(value):
    graph = gx.graph("g", gx.leaky_relu(image(), value))
    assert gx.parse(str(graph)) == graph
