"""Odd arguments of every kind, and every public function with arguments that fit."""

import enum
import inspect
import math
from pathlib import Path

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import graphcnn as gx
from graphcnn import ir, models, ops, report
from graphcnn.runtime.boundary import example_inputs

IMAGE = (1, 3, 4, 4)
ONES = np.ones(IMAGE, np.float32)


def image():
    return gx.input("x", IMAGE)


def line():
    return gx.input("x", IMAGE[:3])


def network():
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    return gx.graph("net", gx.relu(gx.conv2d(image(), weight, name="conv"), name="relu"))


NETWORK = network()
WEIGHTS = {param.name: param.data for param in NETWORK.params}
MODEL = gx.compile(NETWORK, target="numpy", device="cpu")
SPLIT = gx.parallel(gx.compile(NETWORK, target="numpy", device="cpu"), ["cpu"])
PROGRAM = torch.export.export(torch.nn.ReLU(), (torch.randn(2, 3),))
LINE = gx.compile(gx.graph("line", gx.relu(line())), target="numpy", device="cpu")


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
    affine = {"weight": vector, "bias": vector, "eps": 1e-5}
    lp_window = {"kernel_size": 2, "stride": 2, "ceil_mode": False}
    given = {"target": "numpy", "device": "cpu", "fuse": True, "passes": None}
    cases = {
        gx.input: {"name": "a", "shape": (1, 2), "dtype": "f32"},
        gx.param: {"name": "a", "shape": (1, 2), "dtype": "f32"},
        gx.constant: {"name": "a", "value": vector, "dtype": "f32"},
        gx.graph: {"name": "g", "outputs": image(), "structured": False},
        gx.conv2d: {
            "input": image(), "weight": np.ones((2, 3, 3, 3)), "bias": np.ones(2),
            "stride": 1, "padding": 0, "dilation": 1, "groups": 1,
        },
        gx.conv1d: {
            "input": line(), "weight": np.ones((2, 3, 3)), "bias": np.ones(2),
            "stride": 1, "padding": 0, "dilation": 1, "groups": 1,
        },
        gx.max_pool1d: {"input": line(), **window, "dilation": 1},
        gx.avg_pool1d: {"input": line(), **window, "count_include_pad": True},
        gx.interpolate: {
            "input": image(), "size": None, "scale_factor": 2.0, "mode": "bilinear",
            "align_corners": None, "recompute_scale_factor": None,
        },
        gx.lp_pool1d: {"input": line(), "norm_type": 2, **lp_window},
        gx.lp_pool2d: {"input": image(), "norm_type": 2, **lp_window},
        gx.adaptive_avg_pool1d: {"input": line(), "output_size": 2},
        gx.adaptive_max_pool1d: {"input": line(), "output_size": 2},
        gx.adaptive_avg_pool2d: {"input": image(), "output_size": (2, None)},
        gx.adaptive_max_pool2d: {"input": image(), "output_size": 2},
        gx.global_avg_pool1d: {"input": line()},
        gx.global_max_pool1d: {"input": line()},
        gx.global_max_pool2d: {"input": image()},
        gx.linear: {"input": gx.input("v", (2, 3)), "weight": np.ones((4, 3)), "bias": np.ones(4)},
        gx.max_pool2d: {"input": image(), **window, "dilation": 1},
        gx.avg_pool2d: {"input": image(), **window, "count_include_pad": True},
        gx.batch_norm: {
            "input": image(), "running_mean": vector, "running_var": vector,
            "weight": vector, "bias": vector, "eps": 1e-5,
        },
        gx.group_norm: {"input": image(), "num_groups": 3, **affine},
        gx.instance_norm: {
            "input": image(), "running_mean": vector, "running_var": vector,
            "use_input_stats": True, **affine,
        },
        gx.layer_norm: {
            "input": image(), "normalized_shape": (4,), "weight": np.ones(4), "bias": np.ones(4),
            "eps": 1e-5,
        },
        gx.dropout: {"input": image(), "p": 0.1},
        gx.softmax: {"input": image(), "dim": 1},
        gx.log_softmax: {"input": image(), "dim": 1},
        **{
            function: {"input": image(), "other": vector[0]}
            for function in (
                gx.add, gx.sub, gx.mul, gx.div, gx.power, gx.minimum, gx.maximum,
                gx.eq, gx.ne, gx.lt, gx.le, gx.gt, gx.ge,
            )
        },
        gx.where: {"condition": image(), "input": image(), "other": vector[0]},
        gx.matmul: {"input": image(), "other": np.ones((4, 5))},
        gx.prelu: {"input": image(), "weight": vector},
        gx.conv_transpose1d: {
            "input": line(), "weight": np.ones((3, 2, 3)), "bias": np.ones(2),
            "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1,
        },
        gx.conv_transpose2d: {
            "input": image(), "weight": np.ones((3, 2, 3, 3)), "bias": np.ones(2),
            "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1,
        },
        gx.flatten: {"input": image(), "start_dim": 1, "end_dim": 2},
        gx.reshape: {"input": image(), "shape": (1, -1)},
        gx.concat: {"tensors": [image(), image()], "dim": 1},
        gx.pad: {"input": image(), "padding": 1, "mode": "constant", "value": 0.0},
        gx.slice: {"input": image(), "dim": 2, "start": 1, "stop": -1, "step": 2},
        gx.narrow: {"input": image(), "dim": 2, "start": 1, "length": 2},
        gx.split: {"input": image(), "split_size_or_sections": 2, "dim": 2},
        gx.chunk: {"input": image(), "chunks": 2, "dim": 1},
        gx.permute: {"input": image(), "dims": (0, 2, 3, 1)},
        gx.transpose: {"input": image(), "dim0": 1, "dim1": 2},
        gx.squeeze: {"input": image(), "dim": 0},
        gx.unsqueeze: {"input": image(), "dim": 1},
        gx.expand: {"input": image(), "sizes": (2, -1, -1, -1)},
        gx.stack: {"tensors": [image(), image()], "dim": 1},
        gx.roll: {"input": image(), "shifts": 1, "dims": 2},
        gx.pixel_shuffle: {"input": gx.input("x", (1, 4, 2, 2)), "upscale_factor": 2},
        gx.pixel_unshuffle: {"input": image(), "downscale_factor": 2},
        image().__getitem__: {"key": 0},
        gx.parse: {"text": str(NETWORK)},
        gx.as_python: {"graph": NETWORK},
        gx.save: {"graph": NETWORK, "path": folder / "net.gcn"},
        gx.load: {"path": saved},
        gx.load_weights: {"graph": NETWORK, "weights": WEIGHTS, "strict": True},
        gx.from_torch: {"module": PROGRAM},
        gx.coverage: {"module": PROGRAM},
        gx.compile: {
            "graph": NETWORK, **given, "must_fuse": (), "must_not_fuse": (), "batches": (),
            "precision": "ieee", "winograd": True, "tune": False, "cuda_graph": True,
        },
        gx.stream: {"model": LINE},
        gx.parallel: {"model": MODEL, "devices": ["cpu"]},
        SPLIT.__call__: {"x": ONES},
        SPLIT.prepare: {"batches": (2,)},
        SPLIT.refit: {"weights": WEIGHTS, "strict": True},
        gx.to_torch: {"graph": NETWORK},
        gx.explain: {"model": MODEL},
        gx.verify: {"model": MODEL, "x": ONES},
        gx.compare: {"models": {"a": MODEL}, "arrays": {"x": ONES}, "seconds": 0},
        gx.estimate: {"graph": NETWORK, "device": "a100", "batch": 2, "dtype": "f16"},
        gx.profile: {"model": MODEL, "arrays": {"x": ONES}, "seconds": 0},
        # float32, which does not apply there: nothing is compiled.
        gx.gpu_report: {
            "graph": NETWORK, "arch": ("sm_75",), "precision": "tf32", "winograd": True,
            "fuse": True, "must_fuse": (), "must_not_fuse": (),
        },
        report.inspect: {"graph": NETWORK},
        report.run_once: {"model": MODEL, "seed": 0},
        report.inspect(NETWORK).save: {"path": folder / "report.json"},
        MODEL.__call__: {"x": ONES, "out": np.empty((1, 2, 2, 2), np.float32)},
        MODEL.loaded: {"inputs": {"x": ONES}, "poison": False},
        MODEL.part: {"graph": NETWORK},
        MODEL.refit: {"weights": WEIGHTS, "strict": True},
        MODEL.turn: {"batch": None},
        MODEL.prepare: {"batches": ()},
        NETWORK.__getitem__: {"name": "relu"},
        NETWORK.type_of: {"name": "relu"},
        ir.rebatch: {"graph": NETWORK, "batch": 2},
        ir.retype: {"graph": NETWORK, "dtype": "f16"},
        ir.with_he_weights: {"graph": NETWORK, "seed": 0},
        example_inputs: {"graph": NETWORK, "seed": 0},
        models.lenet: {"batch": 1, "dtype": "f32"},
        models.vgg11: {"batch": 1, "dtype": "f32", "size": 32, "classes": 3, "seed": 0},
        models.build: {"name": "lenet", "batch": 1, "dtype": "f32"},
    }  # fmt: skip
    unaries = (op for op in ir.Op.registry.values() if issubclass(op, ops.Unary))
    for reduce in (gx.amax, gx.amin, gx.mean, gx.sum):
        cases[reduce] = {"input": image(), "dim": (2, 3), "keepdim": True}
    cases[gx.bmm] = {"input": line(), "mat2": np.ones((1, 4, 2))}
    cases[gx.argmax] = {"input": image(), "dim": 1, "keepdim": False}
    whole = gx.input("i", (1, 3, 4, 4), "int64")
    cases[gx.embedding] = {"input": whole, "weight": np.ones((5, 2))}
    cases[gx.one_hot] = {"input": whole, "num_classes": 3, "dtype": "float32"}
    cases[gx.gather] = {"input": image(), "dim": 1, "index": whole}
    cases[gx.var] = {
        "input": image(), "dim": 1, "unbiased": None, "keepdim": False, "correction": 1,
    }  # fmt: skip
    cases[gx.local_response_norm] = {"input": image(), **vars(ops.LocalResponseNorm(3))}
    for draw in (gx.random_normal, gx.random_uniform):
        cases[draw] = {"input": image(), "seed": 1, "offset": 0}
    cases[gx.random_uniform]["bits"] = 24
    for op in (*unaries, ops.GlobalAvgPool2d):
        cases[getattr(gx, op.name)] = {"input": image(), **vars(op())}
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
