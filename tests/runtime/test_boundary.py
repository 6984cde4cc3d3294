"""What goes into a compiled model and what comes out."""

import warnings

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.errors import (
    BatchError,
    InputDeviceError,
    InputDTypeError,
    InputKindError,
    InputShapeError,
    MissingInput,
    MissingWeights,
    UnexpectedInput,
)
from graphcnn.ir import DType
from graphcnn.runtime.boundary import check_device, example_inputs
from graphcnn.targets.device import Device
from tests.tolerance import F32, assert_within_bounds

TARGETS = ("triton", "library", "numpy")


def two_inputs(dtype="float32", batch=2):
    """relu(image) * scale: one input of rank 4, one of rank 2."""
    image = gx.input("image", (batch, 3, 4, 5), dtype)
    scale = gx.input("scale", (batch, 60), dtype)
    return gx.graph("net", gx.mul(gx.flatten(gx.relu(image)), scale, name="y"))


@pytest.fixture(scope="module", params=TARGETS)
def model(request):
    return gx.compile(two_inputs(), target=request.param, device="cpu")


@pytest.fixture
def arrays(model):
    return example_inputs(model.graph)


def assert_right(got, model, arrays):
    dtype = model.source.inputs[0].type.dtype
    assert_within_bounds(model.source, arrays, {"y": got}, unit=F32, dtype=dtype)


def wrong(**changes):
    return lambda arrays: arrays | {n: change(arrays[n]) for n, change in changes.items()}


MISTAKES = {
    "missing": (
        lambda arrays: {"image": arrays["image"]},
        MissingInput,
        ("'scale'", "model(image=..., scale=...)"),
    ),
    "nothing": (lambda arrays: {}, MissingInput, ("'image'", "no input")),
    "unexpected": (
        lambda arrays: {**arrays, "img": arrays["image"]},
        UnexpectedInput,
        ("'img'", "image: f32[2,3,4,5], scale: f32[2,60]", "by its name"),
    ),
    "list": (
        wrong(scale=lambda a: a.tolist()),
        InputKindError,
        ("input 'scale'", "list", "numpy.asarray"),
    ),
    "number": (wrong(scale=lambda a: 1.0), InputKindError, ("float",)),
    "mixed kinds": (
        wrong(scale=torch.from_numpy),
        InputKindError,
        ("image: ndarray, scale: Tensor", "one kind"),
    ),
    "rank": (
        wrong(image=lambda a: a[0]),
        InputShapeError,
        ("input 'image'", "[3, 4, 5]", "[2, 3, 4, 5]", "transpose"),
    ),
    "channels last": (
        wrong(image=lambda a: a.transpose(0, 2, 3, 1)),
        InputShapeError,
        ("[2, 4, 5, 3]", "[N, C, H, W]"),
    ),
    "size": (wrong(image=lambda a: a[..., :4]), InputShapeError, ("[2, 3, 4, 4]", "resize")),
    "no samples": (wrong(image=lambda a: a[:0]), InputShapeError, ("[0, 3, 4, 5]",)),
    "batches": (
        wrong(image=lambda a: a[:1]),
        InputShapeError,
        ("different batch sizes", "[1, 2]", "same number of samples"),
    ),
    "double": (
        wrong(image=np.float64),
        InputDTypeError,
        ("input 'image'", "float64", "float32", "convert"),
    ),
    "integers": (
        wrong(image=lambda a: a.astype("uint8")),
        InputDTypeError,
        ("uint8", "float32"),
    ),
    "byte order": (wrong(image=lambda a: a.astype(">f4")), InputDTypeError, (">f4",)),
}


@pytest.mark.parametrize(("change", "error", "says"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_with_their_remedy(model, arrays, change, error, says):
    with pytest.raises(error) as caught:
        model(**change(arrays))
    assert type(caught.value) is error
    assert caught.value.remedy
    for part in says:
        assert part in str(caught.value)


def test_a_mistake_leaves_the_model_usable(model, arrays):
    with pytest.raises(InputShapeError):
        model(image=arrays["image"][0], scale=arrays["scale"])
    assert_right(model(**arrays), model, arrays)


def test_numpy_in_numpy_out(model, arrays):
    got = model(**arrays)
    assert type(got) is np.ndarray
    assert got.dtype == np.float32
    assert got.flags.owndata
    assert got.flags.writeable
    assert_right(got, model, arrays)


def test_torch_in_torch_out(model, arrays):
    got = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    assert isinstance(got, torch.Tensor)
    assert (got.dtype, got.device.type) == (torch.float32, "cpu")
    assert_right(got.numpy(), model, arrays)


def arranged():
    generator = np.random.default_rng(1)
    base = generator.standard_normal((2, 3, 4, 5)).astype(np.float32)
    read_only = base.copy()
    read_only.setflags(write=False)
    return {
        "a transposed array": base.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2),
        "a reversed array": base[:, ::-1, :, ::-1],
        "every other column": np.repeat(base, 2, axis=3)[..., ::2],
        "a broadcast array": np.broadcast_to(base[:1], base.shape),
        "a read-only array": read_only,
        "channels last": torch.from_numpy(base).to(memory_format=torch.channels_last),
        "a strided tensor": torch.from_numpy(np.repeat(base, 2, axis=2))[:, :, ::2],
        "an expanded tensor": torch.from_numpy(base[:1]).expand(2, 3, 4, 5),
        "a tensor with gradients": torch.from_numpy(base).requires_grad_(),
        "a tensor on a tape": torch.from_numpy(base).requires_grad_() * 2,
    }


@pytest.mark.parametrize("how", arranged())
def test_any_memory_order(model, arrays, how):
    image = arranged()[how]
    scale = arrays["scale"]
    if isinstance(image, torch.Tensor):
        scale = torch.from_numpy(scale)
        exact = {"image": image.detach().numpy(), "scale": scale.numpy()}
    else:
        exact = {"image": image, "scale": scale}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = model(image=image, scale=scale)
    if isinstance(got, torch.Tensor):
        assert not got.requires_grad
        got = got.numpy()
    assert_right(got, model, exact)


def test_outputs_are_the_callers_own(model, arrays):
    first = model(**arrays)
    kept = first.copy()
    second = model(**{name: 2 * array for name, array in arrays.items()})
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = np.nan
    np.testing.assert_array_equal(model(**arrays), kept)


def test_inputs_stay_the_callers_own(model, arrays):
    kept = {name: array.copy() for name, array in arrays.items()}
    model(**arrays)
    for name, array in kept.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("target", TARGETS)
def test_bfloat16_is_carried_by_float32(target):
    model = gx.compile(two_inputs("bfloat16"), target=target, device="cpu")
    arrays = example_inputs(model.graph)
    got = model(**arrays)
    assert got.dtype == np.float32
    assert not (got.view(np.uint32) & 0xFFFF).any()
    assert_right(got, model, arrays)
    with pytest.raises(InputDTypeError, match="wanted: float32"):
        model(**{name: array.astype(np.float16) for name, array in arrays.items()})
    tensors = {name: torch.from_numpy(array).bfloat16() for name, array in arrays.items()}
    again = model(**tensors)
    assert again.dtype == torch.bfloat16
    np.testing.assert_array_equal(again.float().numpy(), got)
    with pytest.raises(InputDTypeError, match="wanted: bfloat16"):
        model(**{name: tensor.float() for name, tensor in tensors.items()})


@pytest.mark.parametrize("target", TARGETS)
def test_numpy_floats_that_bfloat16_does_not_have_are_rounded(target):
    graph = gx.graph("g", gx.relu(gx.input("x", (4,), "bfloat16")))
    x = np.array([1 + 2**-9, 3.14159, -1.0, 1 + 3 * 2**-8], np.float32)
    got = gx.compile(graph, target=target, device="cpu")(x=x)
    np.testing.assert_array_equal(got, graph.inputs[0].type.dtype.round(np.maximum(x, 0)))


@pytest.mark.parametrize("target", TARGETS)
def test_several_outputs_bear_the_sources_names(target):
    x = gx.input("x", (2, 6))
    left = gx.mul(gx.relu(x, name="first"), 1.0, name="second")
    right = gx.add(gx.dropout(gx.relu(x), name="third"), 0.5, name="last")
    graph = gx.graph("g", [left, right, gx.dropout(left, name="fourth")])
    arrays = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)}
    got = gx.compile(graph, target=target, device="cpu")(**arrays)
    assert list(got) == ["second", "last", "fourth"]
    assert_within_bounds(graph, arrays, got, unit=F32, dtype=DType.F32)
    got["second"][:] = np.nan
    assert not np.isnan(got["fourth"]).any()


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_and_params_as_outputs(target):
    x, p = gx.input("x", (2, 6)), np.linspace(0, 1, 6, dtype=np.float32)
    total = gx.add(x, p, name="sum")
    param = gx.graph("g", total).params[0].name
    graph = gx.graph("g", total)
    graph = graph.replace(outputs=("x", "sum", param))
    model = gx.compile(graph, target=target, device="cpu")
    arrays = {"x": np.ones((2, 6), np.float32)}
    got = model(**arrays)
    np.testing.assert_array_equal(got["x"], arrays["x"])
    np.testing.assert_array_equal(got[param], p)
    # One addition in float32: every target rounds it alike.
    np.testing.assert_array_equal(got["sum"], 1 + np.stack([p, p]))
    for name, other in (("x", arrays["x"]), (param, graph.params[0].data)):
        assert not np.shares_memory(got[name], other)
        got[name][:] = np.nan
    np.testing.assert_array_equal(model(**arrays)["sum"], 1 + np.stack([p, p]))


@pytest.mark.parametrize("target", TARGETS)
def test_a_value_that_is_returned_twice(target):
    graph = gx.graph("g", gx.relu(gx.input("x", (3,)), name="y"))
    model = gx.compile(graph.replace(outputs=("y", "y")), target=target, device="cpu")
    got = model(x=np.array([-1, 0, 2], np.float32))
    assert list(got) == ["y"]
    np.testing.assert_array_equal(got["y"], [0, 0, 2])


@pytest.mark.parametrize("target", TARGETS)
def test_scalars(target):
    image, scale = gx.input("image", (2, 3)), gx.input("scale", ())
    model = gx.compile(gx.graph("g", gx.mul(image, scale)), target=target, device="cpu")
    arrays = {"image": np.arange(6, dtype=np.float32).reshape(2, 3), "scale": np.array(2, "f")}
    np.testing.assert_array_equal(model(**arrays), 2 * arrays["image"])
    with pytest.raises(BatchError, match="share a first dimension"):
        model(image=arrays["image"][:1], scale=arrays["scale"])
    one = gx.compile(gx.graph("g", gx.relu(scale)), target=target, device="cpu")
    assert one(scale=np.array(2.5, np.float32)).shape == ()
    assert one(scale=np.array(2.5, np.float32)) == 2.5


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_without_a_common_batch_size(target):
    image, scale = gx.input("image", (2, 3, 4, 4)), gx.input("scale", (3, 1, 1))
    model = gx.compile(gx.graph("g", gx.mul(image, scale)), target=target, device="cpu")
    arrays = example_inputs(model.graph)
    np.testing.assert_array_equal(model(**arrays), arrays["image"] * arrays["scale"])
    with pytest.raises(BatchError) as caught:
        model(image=arrays["image"][:1], scale=arrays["scale"])
    assert "shapes it was compiled for" in caught.value.remedy


@pytest.mark.parametrize("target", TARGETS)
def test_a_graph_without_inputs(target):
    text = """graph g {
      param p: f32[2,3]
      y: f32[2,3] = relu(p)
      return y
    }"""
    graph = gx.parse(text)
    data = np.array([[-1, 0, 1], [2, -2, 3]], np.float32)
    params = (type(graph.params[0])("p", graph.params[0].type, data),)
    model = gx.compile(graph.replace(params=params), target=target, device="cpu", passes=())
    np.testing.assert_array_equal(model(), np.maximum(data, 0))
    alone = graph.replace(params=params, nodes=(), outputs=("p",))
    np.testing.assert_array_equal(gx.compile(alone, target=target, device="cpu")(), data)


@pytest.mark.parametrize("target", TARGETS)
def test_missing_weights(target):
    x = gx.input("x", (1, 3, 8, 8))
    graph = gx.graph("g", gx.relu(gx.conv2d(x, gx.param("w", (4, 3, 3, 3)))))
    model = gx.compile(gx.parse(str(graph)), target=target, device="cpu")
    with pytest.raises(MissingWeights) as caught:
        model(x=np.zeros((1, 3, 8, 8), np.float32))
    assert "param 'w: f32[4,3,3,3]'" in caught.value.where
    assert "with_he_weights" in caught.value.remedy


def test_example_inputs_are_seeded():
    graph = two_inputs("float16")
    first, again, other = (example_inputs(graph, seed) for seed in (0, 0, 1))
    for name, array in first.items():
        assert array.dtype == np.float16
        np.testing.assert_array_equal(array, again[name])
        assert (array != other[name]).mean() > 0.9


@pytest.mark.parametrize("count", [1, 2])
def test_arrays_without_a_name_are_for_the_first_inputs(model, arrays, count):
    named = dict([*arrays.items()][count:])
    assert_right(model(*[*arrays.values()][:count], **named), model, arrays)


@pytest.mark.parametrize(
    ("given", "named", "says"),
    [
        (("image", "scale", "scale"), (), "too many arrays"),
        (("image", "scale"), ("image",), "'image' is given twice"),
        (("image",), ("scale", "image"), "'image' is given twice"),
        (("image", "scale"), ("other",), "no input 'other'"),
    ],
)
def test_arrays_that_are_too_many(model, arrays, given, named, says):
    arrays = {**arrays, "other": arrays["scale"]}
    with pytest.raises(UnexpectedInput, match=says) as caught:
        model(*(arrays[name] for name in given), **{name: arrays[name] for name in named})
    assert caught.value.remedy


def test_a_call_that_is_too_short(model, arrays):
    with pytest.raises(MissingInput, match="'scale'"):
        model(arrays["image"])


def test_an_input_may_have_any_name():
    x, y = gx.input("self", (1, 4)), gx.input("arrays", (1, 4))
    net = gx.compile(gx.graph("net", gx.add(x, y)), device="cpu")
    one, two = np.arange(4, dtype="f4")[None], np.ones((1, 4), "f4")
    np.testing.assert_array_equal(net(self=one, arrays=two), one + two)


@pytest.mark.parametrize("change", ["meta", "sparse"])
def test_tensors_without_dense_data_are_refused(model, arrays, change):
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors["scale"] = (
        tensors["scale"].to_sparse()
        if change == "sparse"
        else torch.empty(tensors["scale"].shape, device="meta")
    )
    with pytest.raises(InputKindError, match="dense") as caught:
        model(**tensors)
    assert change in str(caught.value.got)


def test_a_tensor_on_another_device_is_refused_with_both_named():
    device = Device("cuda", torch.device("cuda", 1), None)
    check_device({"x": np.ones(3)}, device)
    with pytest.raises(InputDeviceError, match=r"input 'x'\n.*got: +cpu\n.*wanted: cuda:1"):
        check_device({"x": torch.ones(3)}, device)


def odd_strides(tensor):
    """The same tensor with strides that mean nothing, for its dimensions of size 1."""
    strides = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.as_strided(tensor.shape, [step if n > 1 else 12345 for n, step in strides])


@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (1, 4, 1, 1), (3, 1, 1, 7)], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_strides_of_dimensions_of_size_1_do_not_matter(target, shape):
    graph = gx.graph("g", gx.sigmoid(gx.input("x", shape), name="y"))
    x = odd_strides(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert 12345 in x.stride()
    got = gx.compile(graph, target=target, device="cpu")(x=x)
    assert_within_bounds(graph, {"x": x.numpy()}, {"y": got}, unit=F32, dtype=DType.F32)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: x,
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: torch.stack([x, 2 * x], -1)[..., 0],
    ],
    ids=["plain", "channels last", "transposed", "every other"],
)
def test_pools_of_negative_values_in_any_memory_format(arrange):
    """Padding never wins, whatever the strides."""
    graph = gx.graph("g", gx.max_pool2d(gx.input("x", (2, 4, 8, 8)), 3, 2, 1))
    x = arrange(-torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.1)
    wanted = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    assert torch.equal(gx.compile(graph, device="cpu")(x=x), wanted)
