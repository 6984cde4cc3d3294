"""Results in the caller's own arrays: `out=`."""

import warnings

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import (
    InputKindError,
    OutputDeviceError,
    OutputDTypeError,
    OutputMemoryError,
    OutputShapeError,
    UnexpectedInput,
)
from graphcnn.ir import DType
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.destinations import destinations
from tests.runtime.small_networks import small

TARGETS = ("triton", "library", "numpy")
SHAPE = (2, 4, 6, 6)


def network(dtype="float32"):
    x = gx.input("x", (2, 3, 6, 6), dtype)
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float16)
    return gx.graph("net", gx.relu(gx.conv2d(x, w, padding=1), name="y"))


def several():
    """Two of one value, one of its input, and one that is a view."""
    x = gx.input("x", (2, 3, 4))
    y = gx.relu(x, name="y")
    return y, gx.sigmoid(y, name="z"), gx.reshape(y, (-1, 12), name="flat")


@pytest.fixture(scope="module", params=TARGETS)
def model(request):
    return gx.compile(network(), target=request.param, device="cpu")


def image(batch=2):
    return np.random.default_rng(1).standard_normal((batch, 3, 6, 6)).astype(np.float32)


KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}


def guarded(shape, strides, kind, dtype=np.float32):
    """An array of NaN with these strides, in elements, and the whole memory around it."""
    reach = 1 + sum((d - 1) * s for d, s in zip(shape, strides, strict=True))
    memory = np.full(reach + 64, np.nan, dtype)
    skipped = -memory.ctypes.data % 64 // memory.itemsize
    bytes_ = [s * memory.itemsize for s in strides]
    array = np.lib.stride_tricks.as_strided(memory[skipped:], shape, bytes_)
    return kind(array), memory


LAYOUTS = {
    "row-major": (144, 36, 6, 1),
    "channels last": (144, 1, 24, 4),
    "transposed": (144, 36, 1, 6),
    "every other": (288, 72, 12, 2),
    "rows of something wider": (400, 90, 15, 1),
    "batch last": (1, 72, 12, 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(model, layout, kind):
    x = KINDS[kind](image())
    wanted = model(x)
    out, memory = guarded(SHAPE, LAYOUTS[layout], KINDS[kind])
    assert model(x, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), np.asarray(wanted))
    assert np.isfinite(memory).sum() == np.asarray(out).size
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_write_to_a_plain_array_themselves(kind, monkeypatch):
    model = gx.compile(network(), device="cpu")
    out, _ = guarded(SHAPE, LAYOUTS["row-major"], KINDS[kind])
    monkeypatch.setattr("graphcnn.runtime.staging.write", None)
    monkeypatch.setattr("graphcnn.targets.device.Device.copy", None)
    assert model(KINDS[kind](image()), out=out) is out
    assert np.isfinite(np.asarray(out)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_another_batch_size(model, kind, batch):
    x = KINDS[kind](image(batch))
    out, _ = guarded((batch, *SHAPE[1:]), LAYOUTS["row-major"], KINDS[kind])
    model(x, out=out)
    np.testing.assert_array_equal(np.asarray(out), np.asarray(model(x)))
    with pytest.raises(OutputShapeError, match=rf"\[2, 4, 6, 6\].*\n.*\[{batch}, 4, 6, 6\]"):
        model(x, out=guarded(SHAPE, LAYOUTS["row-major"], KINDS[kind])[0])


def test_a_misaligned_array(model):
    memory = np.full(288 * 4 + 1, 255, np.uint8)
    out = memory[1:].view(np.float32).reshape(SHAPE)
    assert not out.flags.aligned
    model(image(), out=out)
    np.testing.assert_array_equal(out.copy(), model(image()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(target, dtype):
    model = gx.compile(network(dtype), target=target, device="cpu")
    x = DType.of(dtype).round(image())
    out = np.full(SHAPE, np.nan, x.dtype)
    np.testing.assert_array_equal(model(x, out=out), model(x))
    tensor = torch.from_numpy(x).to(getattr(torch, dtype))
    place = torch.full(SHAPE, torch.nan, dtype=tensor.dtype)
    assert torch.equal(model(tensor, out=place), model(tensor))
    with pytest.raises(OutputDTypeError, match=f"float64.*\n.*wanted: {out.dtype}"):
        model(x, out=np.empty(SHAPE))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_several_outputs_by_name(target, fuse, kind):
    graph = gx.graph("g", [*several()])
    model = gx.compile(graph, target=target, device="cpu", fuse=fuse)
    x = KINDS[kind](example_inputs(graph)["x"])
    wanted = model(x)
    out = {name: 0 * array for name, array in reversed(wanted.items())}
    arrays = dict(out)
    assert model(x, out=out) is out
    for name, array in arrays.items():
        assert out[name] is array
        np.testing.assert_array_equal(np.asarray(array), np.asarray(wanted[name]))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "arrange",
    [tuple, list, lambda found: {"first": found[0], "rest": (found[1], [found[2], None])}],
)
def test_several_outputs_in_a_structure(target, arrange):
    graph = gx.graph("g", arrange([*several()]), structured=True)
    model = gx.compile(graph, target=target, device="cpu")
    x = example_inputs(graph)["x"]
    wanted = graph.structure.parts_of(model(x))
    arrays = [np.full_like(array, np.nan) for array in wanted]
    out = arrange(arrays)
    assert model(x, out=out) is out
    for array, right in zip(arrays, wanted, strict=True):
        np.testing.assert_array_equal(array, right)


@pytest.mark.parametrize("target", TARGETS)
def test_a_value_that_is_returned_twice(target):
    y = gx.relu(gx.input("x", (3,)), name="y")
    x, wanted = np.array([-1, 0, 2], np.float32), [0, 0, 2]
    named = gx.graph("g", y).replace(outputs=("y", "y"))
    out = {"y": np.ones(3, np.float32)}
    gx.compile(named, target=target, device="cpu")(x, out=out)
    np.testing.assert_array_equal(out["y"], wanted)
    model = gx.compile(gx.graph("g", (y, y), structured=True), target=target, device="cpu")
    one, two = model(x, out=(np.ones(3, np.float32), np.ones(3, np.float32)))
    np.testing.assert_array_equal([one, two], [wanted, wanted])


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_and_params_as_results(target):
    x, p = gx.input("x", (2, 6)), np.linspace(0, 1, 6, dtype=np.float32)
    graph = gx.graph("g", gx.add(x, p, name="sum"))
    param = graph.params[0].name
    model = gx.compile(graph.replace(outputs=("x", "sum", param)), target=target, device="cpu")
    out = {"x": np.empty((2, 6), "f"), "sum": np.empty((2, 6), "f"), param: np.empty(6, "f")}
    given = np.ones((2, 6), np.float32)
    model(given, out=out)
    np.testing.assert_array_equal(out["x"], given)
    np.testing.assert_array_equal(out[param], p)
    np.testing.assert_array_equal(out["sum"], 1 + np.stack([p, p]))


@pytest.mark.parametrize("target", TARGETS)
def test_a_graph_without_inputs(target):
    text = "graph g {\n param p: f32[2,3]\n y: f32[2,3] = relu(p)\n return y\n}"
    graph = gx.parse(text)
    data = np.array([[-1, 0, 1], [2, -2, 3]], np.float32)
    graph = graph.replace(params=(type(graph.params[0])("p", graph.params[0].type, data),))
    model = gx.compile(graph, target=target, device="cpu", passes=())
    for kind in KINDS.values():
        out = kind(np.empty((2, 3), np.float32))
        assert model(out=out) is out
        np.testing.assert_array_equal(np.asarray(out), np.maximum(data, 0))


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_called_out_stays_an_input(target):
    graph = gx.graph("g", gx.relu(gx.input("out", (2, 3)), name="y"))
    model = gx.compile(graph, target=target, device="cpu")
    array = np.array([[-1, 2, 3], [4, -5, 6]], np.float32)
    kept = array.copy()
    for got in (model(out=array), model(array)):
        assert got is not array
        np.testing.assert_array_equal(got, np.maximum(kept, 0))
    np.testing.assert_array_equal(array, kept)
    assert gx.verify(model, out=array).ok
    with pytest.raises(UnexpectedInput, match="'out' is given twice"):
        model(array, out=np.empty_like(array))


def test_tensors_of_inference_mode():
    model = gx.compile(network(), device="cpu")
    x = torch.from_numpy(image())
    with torch.inference_mode():
        inside = torch.empty(SHAPE)
        strided = torch.empty(SHAPE).to(memory_format=torch.channels_last)
        outside_of_it = model(x, out=torch.empty(SHAPE)).clone()
    for out in (inside, strided):
        assert out.is_inference()
        assert torch.equal(model(x, out=out), outside_of_it)


@pytest.mark.parametrize("layout", ["row-major", "channels last"])
def test_autograd_hears_of_it(layout):
    """What was saved for a backward pass is not overwritten unnoticed."""
    model = gx.compile(network(), device="cpu")
    out, _ = guarded(SHAPE, LAYOUTS[layout], torch.from_numpy)
    weight = torch.ones(SHAPE, requires_grad=True)
    loss = (weight * out).sum()
    model(torch.from_numpy(image()), out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def base():
    return np.zeros((*SHAPE[:3], 12), np.float32)


def read_only():
    array = np.zeros(SHAPE, np.float32)
    array.setflags(write=False)
    return array


FAULTS = {
    "a list": (lambda: [1.0], InputKindError, "list"),
    "a dict": (lambda: {"y": base()}, InputKindError, "dict"),
    "masked": (lambda: np.ma.zeros(SHAPE, np.float32), InputKindError, "masked"),
    "a tensor": (lambda: torch.zeros(SHAPE), InputKindError, "wanted: ndarray"),
    "rank": (lambda: np.zeros(SHAPE[1:], np.float32), OutputShapeError, "[4, 6, 6]"),
    "size": (lambda: np.zeros((2, 4, 6, 7), np.float32), OutputShapeError, "[2, 4, 6, 7]"),
    "batch": (lambda: np.zeros((1, 4, 6, 6), np.float32), OutputShapeError, "the batch"),
    "double": (lambda: np.zeros(SHAPE), OutputDTypeError, "float64"),
    "byte order": (lambda: np.zeros(SHAPE, ">f4"), OutputDTypeError, ">f4"),
    "read-only": (read_only, OutputMemoryError, "read-only"),
    "reversed": (lambda: np.zeros(SHAPE, "f")[:, ::-1], OutputMemoryError, "not reversed"),
    "broadcast": (
        lambda: np.lib.stride_tricks.as_strided(base(), SHAPE, (0, 144, 24, 4)),
        OutputMemoryError,
        "not expanded",
    ),
    "windows": (
        lambda: np.lib.stride_tricks.as_strided(base(), SHAPE, (576, 144, 4, 4)),
        OutputMemoryError,
        "not expanded",
    ),
}
TENSOR_FAULTS = {
    "an array": (lambda: np.zeros(SHAPE, np.float32), InputKindError, "wanted: Tensor"),
    "sparse": (lambda: torch.zeros(SHAPE).to_sparse(), InputKindError, "sparse"),
    "meta": (lambda: torch.zeros(SHAPE, device="meta"), InputKindError, "meta"),
    "size": (lambda: torch.zeros(SHAPE[::-1]), OutputShapeError, "[6, 6, 4, 2]"),
    "half": (lambda: torch.zeros(SHAPE, dtype=torch.half), OutputDTypeError, "float16"),
    "expanded": (
        lambda: torch.zeros(1, 4, 6, 6).expand(SHAPE),
        OutputMemoryError,
        "not expanded",
    ),
    "a gradient": (
        lambda: torch.zeros(SHAPE, requires_grad=True),
        OutputMemoryError,
        "detach()",
    ),
    "negated": (
        lambda: torch.zeros(SHAPE, dtype=torch.complex64).conj().imag,
        OutputMemoryError,
        "negated",
    ),
}


def refused(model, x, out, error, says):
    kept = np.asarray(x).copy()
    with pytest.raises(error) as caught:
        model(x, out=out)
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert caught.value.remedy
    assert caught.value.where
    np.testing.assert_array_equal(np.asarray(x), kept)


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_take_no_results(model, fault):
    make, error, says = FAULTS[fault]
    refused(model, image(), make(), error, says)


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
def test_tensors_that_take_no_results(model, fault):
    make, error, says = TENSOR_FAULTS[fault]
    refused(model, torch.from_numpy(image()), make(), error, says)


def test_a_tensor_on_another_device():
    graph = network()
    inputs = {"x": torch.from_numpy(image())}
    with pytest.raises(OutputDeviceError, match=r"output 'y'\n.*got: +cpu\n.*wanted: cuda:1"):
        destinations(graph, graph, torch.empty(SHAPE), inputs, torch.device("cuda", 1))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_an_input(kind):
    graph = gx.graph("g", gx.relu(gx.input("x", (2, 3, 4)), name="y"))
    model = gx.compile(graph, device="cpu")
    memory = np.random.default_rng(0).standard_normal((4, 3, 8)).astype(np.float32)
    memory = KINDS[kind](memory)
    x = memory[:2, :, ::2]
    for out in (x, memory[1:3, :, ::2], memory[:2, :, :4], memory[0:4:2, :, 4:]):
        refused(model, x, out, OutputMemoryError, "memory of input 'x'")
    wanted = np.maximum(np.asarray(x), 0)
    for out in (memory[2:, :, ::2], memory[:2, :, 1::2]):  # between its elements, too
        np.testing.assert_array_equal(np.asarray(model(x, out=out)), wanted)
        np.testing.assert_array_equal(np.maximum(np.asarray(x), 0), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_another_result(kind):
    model = gx.compile(gx.graph("g", [*several()][:2]), device="cpu")
    x = KINDS[kind](np.ones((2, 3, 4), np.float32))
    memory = KINDS[kind](np.zeros((2, 6, 4), np.float32))
    for z in (memory[:, :3], memory[:, 2:5]):
        out = {"y": memory[:, :3], "z": z}
        refused(model, x, out, OutputMemoryError, "memory of out, output 'y'")
    model(x, out={"y": memory[:, :3], "z": memory[:, 3:]})
    np.testing.assert_array_equal(np.asarray(memory[:, :3]), np.ones((2, 3, 4)))
    np.testing.assert_allclose(np.asarray(memory[:, 3:]), 1 / (1 + np.exp(-1)), rtol=1e-6)


@pytest.mark.parametrize("out", [1, {}, {"y": 1}, {"y": 1, "z": 1, "w": 1}, (1, 1), "yz"])
def test_another_structure_by_name(out):
    model = gx.compile(gx.graph("g", [*several()][:2]), device="cpu", target="numpy")
    refused(model, np.ones((2, 3, 4), np.float32), out, InputKindError, "a dict of y, z")


@pytest.mark.parametrize("out", [1, {}, (1,), [1, 1], (1, 1, 1)])
def test_another_structure(out):
    graph = gx.graph("g", several()[:2], structured=True)
    model = gx.compile(graph, device="cpu", target="numpy")
    refused(model, np.ones((2, 3, 4), np.float32), out, InputKindError, "wanted: (y, z)")


def test_nothing_is_written_where_one_of_several_is_wrong():
    model = gx.compile(gx.graph("g", [*several()][:2]), device="cpu")
    out = {"y": np.full((2, 3, 4), 7, np.float32), "z": np.empty((2, 3), np.float32)}
    with pytest.raises(OutputShapeError, match="output 'z'"):
        model(np.ones((2, 3, 4), np.float32), out=out)
    assert (out["y"] == 7).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_results_outlive_the_next_calls(target, kind):
    """Those with a place of the caller's, and those without."""
    model = gx.compile(small(), target=target, device="cpu")
    generator = np.random.default_rng(0)
    images = [generator.standard_normal((2, 3, 8, 8)).astype(np.float32) for _ in range(6)]
    held = []
    for number, each in enumerate(images):
        x = KINDS[kind](each)
        out = KINDS[kind](np.empty((2, 5), np.float32)) if number % 2 else None
        held.append(model(x, out=out))
        assert out is None or held[-1] is out
    alone = [model(KINDS[kind](each)) for each in images]
    for got, wanted in zip(held, alone, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    assert len({np.asarray(got).ctypes.data for got in held}) == len(held)


def test_no_warning():
    model = gx.compile(network(), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS.values():
            model(kind(image()), out=kind(np.empty(SHAPE, np.float32)))
