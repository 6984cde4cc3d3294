"""Wrong calls end in an error of graphcnn's own, with a remedy; never in a foreign one.

`MISTAKES` names the error of each kind of wrong argument. The sweep passes everything odd to every
parameter of every public function.
"""

import enum
import inspect
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import graphcnn as gx
from graphcnn import errors, ir, models, report
from graphcnn.errors import GraphCNNError
from graphcnn.passes import Fuse, Simplify
from graphcnn.runtime.boundary import example_inputs

IMAGE = (1, 3, 4, 4)
ONES = np.ones(IMAGE, np.float32)


def image():
    return gx.input("x", IMAGE)


def network():
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    return gx.graph("net", gx.relu(gx.conv2d(image(), weight, name="conv"), name="relu"))


NETWORK = network()
MODEL = gx.compile(NETWORK, target="numpy", device="cpu")


def freed():
    tensor = torch.ones(IMAGE)
    tensor.untyped_storage().resize_(0)
    return tensor


def fake():
    with FakeTensorMode():
        return torch.ones(IMAGE)


class Subclass(torch.Tensor):
    pass


# What is more, or less, than an array of numbers: how it is made, and what the message calls it.
NO_ARRAYS = {
    "masked": (lambda: np.ma.masked_array(ONES, ONES > 0), "a masked array"),
    "matrix": (lambda: np.matrix([[1.0]]), "matrix"),
    "records": (lambda: np.rec.array([(1.0,)], dtype=[("a", "f4")]), "recarray"),
    "list": (lambda: [1.0], "list"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]), "nested"),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged),
        "NestedTensor",
    ),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.ones(IMAGE), 0.1, 0, torch.qint8),
        "quantized",
    ),
    "meta": (lambda: torch.ones(IMAGE, device="meta"), "meta"),
    "sparse": (lambda: torch.ones(IMAGE).to_sparse(), "sparse"),
    "fake": (fake, "FakeTensor"),
    "freed": (freed, "freed"),
    "subclass": (lambda: torch.ones(IMAGE).as_subclass(Subclass), "Subclass"),
}
NO_FLOATS = {
    "int8": lambda: np.ones(3, np.int8),
    "int64": lambda: np.arange(3),
    "bool": lambda: np.ones(3, bool),
    "complex": lambda: np.ones(3, np.complex64),
    "longdouble": lambda: np.ones(3, np.longdouble),
    "object": lambda: np.array([None] * 3),
    "text": lambda: np.array(["a"] * 3),
    "record": lambda: np.zeros(3, [("a", "f4")]),
    "torch int8": lambda: torch.ones(3, dtype=torch.int8),
    "conj": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
}


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


class Hostile:
    """Fails at whatever it is asked for."""

    __hash__ = None

    def fail(self, *_):
        raise RuntimeError("hostile")

    __repr__ = __eq__ = __bool__ = __len__ = __iter__ = __index__ = __float__ = fail
    name = property(fail)


class Number(enum.IntEnum):
    ONE = 1


def nest(depth):
    nested = []
    for _ in range(depth):
        nested = [nested]
    return nested


ODD = {
    "None": lambda: None,
    "object": object,
    "class": lambda: int,
    "hostile": Hostile,
    "function": lambda: image,
    "module": lambda: np,
    "generator": lambda: (i for i in range(3)),
    "True": lambda: True,
    "numpy bool": lambda: np.True_,
    "-1": lambda: -1,
    "0": lambda: 0,
    "enum": lambda: Number.ONE,
    "2**63": lambda: 2**63,
    "long int": lambda: 10**5000,
    "-long int": lambda: -(10**5000),
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "1e308": lambda: 1e308,
    "1j": lambda: 1j,
    "numpy int": lambda: np.int64(3),
    "numpy float": lambda: np.float64(0.5),
    "longdouble": lambda: np.longdouble(1) * 10**300 * 10**300,
    "date": lambda: np.datetime64("2020"),
    "empty string": lambda: "",
    "surrogate": lambda: "\ud800",
    "NUL": lambda: "a\0",
    "bytes": lambda: b"a",
    "path": lambda: Path("/no such folder/net.gcn"),
    "empty tuple": lambda: (),
    "list": lambda: [1, [2, "a"]],
    "long ints": lambda: [10**5000] * 4,
    "nested": lambda: nest(2000),
    "range": lambda: range(3),
    "set": lambda: {1},
    "dict": lambda: {"a": 1},
    "dict of ints": lambda: {1: 2},
    "scalar": lambda: np.ones(()),
    "vector": lambda: np.ones(3),
    "empty array": lambda: np.ones(0),
    "object array": lambda: np.array([None, {}]),
    "tensor": lambda: torch.ones(3),
    "0-d tensor": lambda: torch.tensor(1),
    "dtype": lambda: np.dtype("f4"),
    "torch dtype": lambda: torch.float32,
    "symbolic": image,
    "symbolics": lambda: [image(), image()],
    "graph": network,
    "model": lambda: MODEL,
    **{f"a {kind} array": make for kind, (make, _) in NO_ARRAYS.items()},
    **{f"{kind} array": make for kind, make in NO_FLOATS.items()},
}


def functions(folder):
    """Every public function with arguments that fit, by parameter."""
    vector = np.ones(3, np.float32)
    saved = folder / "saved.gcn"
    gx.save(NETWORK, saved)
    window = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False}
    given = {"target": "numpy", "device": "cpu", "fuse": True, "passes": None}
    cases = {
        gx.input: {"name": "a", "shape": (1, 2), "dtype": "f32"},
        gx.param: {"name": "a", "shape": (1, 2), "dtype": "f32"},
        gx.graph: {"name": "g", "outputs": image()},
        gx.conv2d: {
            "input": image(), "weight": np.ones((2, 3, 3, 3)), "bias": np.ones(2),
            "stride": 1, "padding": 0, "dilation": 1, "groups": 1,
        },
        gx.linear: {"input": gx.input("v", (2, 3)), "weight": np.ones((4, 3)), "bias": np.ones(4)},
        gx.max_pool2d: {"input": image(), **window, "dilation": 1},
        gx.avg_pool2d: {"input": image(), **window, "count_include_pad": True},
        gx.batch_norm: {
            "input": image(), "running_mean": vector, "running_var": vector,
            "weight": vector, "bias": vector, "eps": 1e-5,
        },
        gx.leaky_relu: {"input": image(), "negative_slope": 0.1},
        gx.dropout: {"input": image(), "p": 0.1},
        gx.softmax: {"input": image(), "dim": 1},
        gx.log_softmax: {"input": image(), "dim": 1},
        gx.add: {"input": image(), "other": vector[0]},
        gx.mul: {"input": image(), "other": vector[0]},
        gx.flatten: {"input": image(), "start_dim": 1},
        gx.reshape: {"input": image(), "shape": (1, -1)},
        gx.concat: {"tensors": [image(), image()], "dim": 1},
        gx.pad: {"input": image(), "padding": 1, "value": 0.0},
        gx.parse: {"text": str(NETWORK)},
        gx.save: {"graph": NETWORK, "path": folder / "net.gcn"},
        gx.load: {"path": saved},
        gx.compile: {
            "graph": NETWORK, **given, "must_fuse": (), "must_not_fuse": (), "batches": (),
        },
        gx.explain: {"model": MODEL},
        gx.verify: {"model": MODEL, "x": ONES},
        gx.compare: {"models": {"a": MODEL}, "arrays": {"x": ONES}, "seconds": 0},
        gx.profile: {"model": MODEL, "arrays": {"x": ONES}, "seconds": 0},
        report.inspect: {"graph": NETWORK},
        report.run_once: {"model": MODEL, "seed": 0},
        report.inspect(NETWORK).save: {"path": folder / "report.json"},
        MODEL.__call__: {"x": ONES},
        MODEL.loaded: {"inputs": {"x": ONES}, "poison": False},
        MODEL.part: {"graph": NETWORK},
        MODEL.turn: {"batch": None},
        MODEL.prepare: {"batches": ()},
        NETWORK.__getitem__: {"name": "relu"},
        NETWORK.type_of: {"name": "relu"},
        ir.rebatch: {"graph": NETWORK, "batch": 2},
        ir.with_he_weights: {"graph": NETWORK, "seed": 0},
        example_inputs: {"graph": NETWORK, "seed": 0},
        models.lenet: {"batch": 1, "dtype": "f32"},
        models.vgg11: {"batch": 1, "dtype": "f32", "size": 32, "classes": 3, "seed": 0},
        models.build: {"name": "lenet", "batch": 1, "dtype": "f32"},
    }  # fmt: skip
    for function in (gx.global_avg_pool2d, gx.relu, gx.sigmoid, gx.tanh, gx.silu):
        cases[function] = {"input": image()}
    for function, arguments in cases.items():
        if "name" in inspect.signature(function).parameters:
            arguments.setdefault("name", "a")
    return cases


def call(function, arguments):
    """Call by name where a parameter may be named, else by position."""
    parameters = inspect.signature(function).parameters.values()
    first = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in arguments]
    named = {name: value for name, value in arguments.items() if name not in first}
    result = function(*(arguments[name] for name in first), **named)
    if hasattr(result, "__enter__"):
        with result:
            pass


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
