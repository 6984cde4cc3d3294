"""The front end: names, short forms, weights of every kind, and errors on the user's line."""

import inspect
from inspect import isfunction, signature

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn import errors, ops
from graphcnn.ir import DType, Op, TensorType, evaluate, rebatch, verify
from tests.opinfo import INFO
from tests.tolerance import assert_within_bounds

RNG = np.random.default_rng(0)


def image(*shape, dtype="float32"):
    return gx.input("image", shape or (2, 4, 9, 9), dtype)


def weight(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def only_op(tensor):
    return gx.graph("g", tensor).nodes[-1].op


@pytest.mark.parametrize("name", sorted(INFO))
def test_every_op_has_a_function_of_its_name(name):
    function = getattr(gx, name)
    assert "name" in inspect.signature(function).parameters
    assert inspect.signature(function).parameters["name"].kind is inspect.Parameter.KEYWORD_ONLY
    assert name in gx.__all__


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (2, (2, 2, 2, 2)),
        ((1, 2), (1, 2, 1, 2)),
        ([1, 2], (1, 2, 1, 2)),
        ((1, 2, 3, 0), (1, 2, 3, 0)),
        (np.int64(1), (1, 1, 1, 1)),
        (np.array([1, 2]).tolist(), (1, 2, 1, 2)),
    ],
)
def test_short_forms_of_padding(given, normal):
    conv = only_op(gx.conv2d(image(), weight(3, 4, 3, 3), padding=given))
    assert conv == ops.Conv2d(padding=normal)
    assert only_op(gx.pad(image(), given)) == ops.Pad(normal)


@pytest.mark.parametrize(
    ("given", "normal"), [(2, (2, 2)), ((1,), (1, 1)), ([0, 3], (0, 3)), (np.int32(1), (1, 1))]
)
def test_short_forms_of_one_dimension(given, normal):
    x = image(2, 4, 9)
    conv = gx.conv1d(x, weight(3, 4, 3), stride=2, padding=given, dilation=(1,))
    assert only_op(conv) == ops.Conv1d((2,), normal)
    assert only_op(gx.max_pool1d(x, 5, 1, given)) == ops.MaxPool1d((5,), (1,), normal)
    assert only_op(gx.avg_pool1d(x, (5,), padding=given)) == ops.AvgPool1d((5,), (5,), normal)


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch copies; we do not
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "dilation"), [((3,), 2), ((4,), 1), ((3, 4), 1), ((2, 3), 3)])
def test_paddings_by_name_are_those_of_torch(padding, kernel, dilation):
    rank = len(kernel)
    x, w = RNG.standard_normal((2, 4, *(9, 10)[:rank])), RNG.standard_normal((6, 2, *kernel))
    options = {"padding": padding, "dilation": dilation, "groups": 2}
    ours, theirs = (getattr(module, f"conv{rank}d") for module in (gx, F))
    net = gx.graph("g", ours(gx.input("x", x.shape, "f64"), w, name="y", **options))
    wanted = theirs(torch.from_numpy(x), torch.from_numpy(w), **options).numpy()
    assert_within_bounds(net, {"x": x}, {"y": wanted})


def test_functions_of_one_tensor_read_like_the_others():
    """What `help` shows and `inspect` sees is made from the op's fields."""
    signature = inspect.signature(gx.leaky_relu)
    assert str(signature).replace("'", "") == (
        "(input: Tensor, negative_slope: float = 0.01, *, name: str | None = None) -> Tensor"
    )
    assert gx.leaky_relu.__name__ == gx.leaky_relu.__qualname__ == "leaky_relu"
    assert "negative_slope * x" in inspect.getdoc(gx.leaky_relu)
    given = gx.leaky_relu(input=image(), negative_slope=0.5, name="a")
    assert only_op(given) == only_op(gx.leaky_relu(image(), 0.5)) == ops.activation.LeakyRelu(0.5)
    assert given.name == "a"
    assert only_op(gx.gelu(image(), "tanh")) == ops.activation.Gelu("tanh")
    with pytest.raises(TypeError, match=r"leaky_relu\(\) got an unexpected .* 'slope'"):
        gx.leaky_relu(image(), slope=0.5)


def test_short_forms_of_pairs():
    w = weight(4, 1, 2, 2)
    conv = gx.conv2d(image(), w, stride=2, dilation=(1, 3), groups=np.int32(4))
    assert only_op(conv) == ops.Conv2d((2, 2), dilation=(1, 3), groups=4)
    assert only_op(gx.max_pool2d(image(), 3)) == ops.MaxPool2d((3, 3), (3, 3))
    assert only_op(gx.avg_pool2d(image(), (2, 1), 3)) == ops.AvgPool2d((2, 1), (3, 3))
    assert only_op(gx.reshape(image(), (2, -1))) == ops.Reshape((2, -1))


def test_negative_dimensions():
    assert only_op(gx.softmax(image(), -1)) == ops.Softmax(3)
    assert only_op(gx.flatten(image(), -2)) == ops.Flatten(2)
    assert only_op(gx.concat([image(), image()][:1] * 2, -3)) == ops.Concat(1)
    with pytest.raises(errors.RankError, match="dimension -5 is out of range"):
        gx.softmax(image(), -5)


def test_names():
    x = image(1, 2, 5, 5)
    w = weight(2, 2, 1, 1)
    h = gx.conv2d(x, w, weight(2))
    h = gx.conv2d(h, weight(2, 2, 1, 1), name="conv2d_1")
    h = gx.conv2d(h, weight(2, 2, 1, 1))
    h = gx.batch_norm(gx.relu(h), weight(2), abs(weight(2)))
    net = gx.graph("net", [gx.relu(h) + 1])
    assert [node.name for node in net.nodes] == [
        *("conv2d", "conv2d_1", "conv2d_2", "relu", "batch_norm", "relu_1", "add"),
    ]
    assert [param.name for param in net.params] == [
        *("conv2d.weight", "conv2d.bias", "conv2d_1.weight", "conv2d_2.weight"),
        *("batch_norm.weight", "batch_norm.bias"),
        *("batch_norm.running_mean", "batch_norm.running_var", "add.other"),
    ]


def test_nodes_stand_in_the_order_they_were_written():
    x = image()
    late = gx.relu(x, name="first")
    early = gx.tanh(x, name="second")
    net = gx.graph("net", [early, late])
    assert [node.name for node in net.nodes] == ["first", "second"]
    assert net.outputs == ("second", "first")
    assert net["first"].where.line + 1 == net["second"].where.line
    assert net["first"].where.file == __file__


def test_what_no_output_needs_is_left_out():
    x = image()
    gx.conv2d(x, weight(3, 4, 1, 1))
    unused = gx.input("unused", (1,))
    net = gx.graph("net", gx.relu(x))
    assert [value.name for value in net.inputs] == ["image"]
    assert not net.params
    assert unused.shape == (1,)


def test_one_array_is_one_param():
    x, w = image(1, 3, 6, 6), weight(3, 3, 3, 3)
    net = gx.graph("net", gx.conv2d(gx.conv2d(x, w), w))
    assert [param.name for param in net.params] == ["conv2d.weight"]
    assert net.nodes[0].inputs[1] == net.nodes[1].inputs[1]
    equal = gx.graph("net", gx.conv2d(gx.conv2d(x, w), w.copy()))
    assert len(equal.params) == 2


def test_numbers_and_what_fills_a_norm_are_constants():
    x = image(1, 3, 6, 6)
    h = gx.batch_norm(2 * x + np.float32(3), np.ones(3), np.ones(3))
    h = gx.layer_norm(h, 6, bias=np.ones(6)) * np.ones((3, 1, 1)) * np.ones(())
    net = gx.graph("net", h * gx.constant("taps", np.full((3, 1, 1), 0.5)))
    constant = {param.name for param in net.params if param.constant}
    norms = {"batch_norm.weight", "batch_norm.bias", "layer_norm.weight"}
    assert constant == {"mul.other", "add.other", "taps"} | norms
    weights = {param.name for param in net.params} - constant
    assert weights == {
        *("batch_norm.running_mean", "batch_norm.running_var", "layer_norm.bias"),
        *("mul_1.other", "mul_2.other"),
    }


def test_weights_are_not_copied_where_the_dtype_allows():
    w = weight(3, 4, 3, 3)
    t = torch.randn(3, 4, 3, 3)
    assert gx.graph("g", gx.conv2d(image(), w)).params[0].data is w
    shared = gx.graph("g", gx.conv2d(image(), t)).params[0].data
    assert np.shares_memory(shared, t.numpy())


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F32, DType.F64])
@pytest.mark.parametrize(
    "made",
    [
        lambda: weight(3, 4, 3, 3),
        lambda: weight(3, 4, 3, 3, dtype=np.float64),
        lambda: torch.randn(3, 4, 3, 3),
        lambda: torch.randn(3, 4, 3, 3).bfloat16(),
        lambda: torch.nn.Parameter(torch.randn(3, 4, 3, 3)),
        lambda: torch.randn(4, 3, 3, 3).transpose(0, 1),
        lambda: torch.randn(3, 4, 3, 3, dtype=torch.complex64).conj().imag,
        lambda: weight(3, 4, 3, 3).astype(">f4"),
    ],
    ids=["f32", "f64", "torch", "torch bf16", "parameter", "strided", "negative bit", "big endian"],
)
def test_weights_take_the_inputs_dtype(dtype, made):
    array = made()
    param = gx.graph("g", gx.conv2d(image(dtype=dtype.value), array)).params[0]
    assert param.type == TensorType((3, 4, 3, 3), dtype)
    plain = array if isinstance(array, np.ndarray) else array.detach().double().numpy()
    np.testing.assert_array_equal(param.data, dtype.round(plain))
    assert param.data.dtype == dtype.numpy


def test_operators():
    x = image(1, 2, 2, 2)
    y = 2 * (x + 1.5) * x + np.ones((2, 1, 1)) + np.float64(3)
    net = gx.graph("g", np.ones(()) * y)
    value = RNG.standard_normal((1, 2, 2, 2))
    wanted = 2 * (value + 1.5) * value + 4
    assert_within_bounds(net, {"image": value}, {net.outputs[0]: wanted})


def test_operators_whose_operands_have_an_order():
    x, vector, value = (
        image(1, 2, 2, 2),
        np.array([[[3.0]], [[-0.5]]]),
        1 + RNG.random((1, 2, 2, 2)),
    )
    outputs = [
        x - 1,
        1 - x,
        x / 2,
        2 / x,
        vector - x,
        x - vector,
        vector / x,
        x / torch.ones(2),
        -x,
    ]
    net = gx.graph("g", [*outputs, torch.ones(2) / x])
    a, v = value, vector
    wanted = [a - 1, 1 - a, a / 2, 2 / a, v - a, a - v, v / a, a, -a, 1 / a]
    named = dict(zip(net.outputs, wanted, strict=True))
    assert_within_bounds(net, {"image": value}, named)
    assert [str(only_op(y)) for y in (1 - x, 1 / x, -x)] == ["sub()", "div()", "neg()"]
    powers = [str(only_op(y)) for y in (x**3, x**x, 2**x)]
    assert powers == ["pow(exponent=3)", "power()", "power()"]
    assert list(gx.graph("g", gx.sub(1.0, x, name="y")).param_by_name) == ["y.input"]


BINARY = sorted(n for n, op in Op.registry.items() if issubclass(op, ops.Arithmetic))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands_take_one_tensor_at_least(name):
    function, x, number = getattr(gx, name), image(), np.float32(0.5)
    for pair in ((x, x), (x, number), (number, x), (x, weight(4, 1, 1)), (weight(4, 1, 1), x)):
        assert only_op(function(*pair)).name == name
    for pair in ((number, number), (weight(2), 1.0), ("x", x), (x, None), (x, True)):
        with pytest.raises(errors.InputKindError) as caught:
            function(*pair)
        assert f"{name} ({__file__}" in caught.value.where
    with pytest.raises(errors.NonFiniteWeights):
        function(np.nan, x)
    with pytest.raises(errors.ShapeError, match="broadcast"):
        function(weight(5), x)
    assert f"y = {Op.registry[name].__doc__[4:]}" in function.__doc__


def test_comparisons_and_other_operators():
    x, w, value = image(1, 2, 3, 4), weight(4, 5), RNG.integers(-2, 3, (1, 2, 3, 4)) / 2
    outputs = [x < 0.5, x > 0.5, x <= 0.5, x >= 0.5, x > x + 1, x**2, x**-1.0, x @ w]
    outputs += [np.ones((2, 3)) @ x, x.eq(0.5), x.ne(x), gx.where(x > 0, x, -1.0)]
    net = gx.graph("g", outputs)
    ordered = [value < 0.5, value > 0.5, value <= 0.5, value >= 0.5, value < -9]
    with np.errstate(divide="ignore"):
        wanted = [*ordered, value**2, 1 / value, value @ w, np.ones((2, 3)) @ value]
    wanted += [value == 0.5, value < -9, np.where(value > 0, value, -1)]
    with np.errstate(all="ignore"):
        got = evaluate(net, {"image": value})
    for name, array in zip(net.outputs, wanted, strict=True):
        np.testing.assert_allclose(got[name], array, 1e-6, err_msg=name)


def test_a_tensor_is_neither_true_nor_false():
    """A condition on one, as `0 < x < 1` is, would always hold."""
    x = image()
    for condition in (lambda: not x, lambda: 0 < x < 1, lambda: x or 1):
        with pytest.raises(errors.InputKindError, match=r"gx\.where"):
            condition()


def test_where_takes_one_tensor_at_least():
    x = image()
    for operands in ((x, 1.0, 2.0), (weight(4, 1, 1), x, 1.0), (1.0, 2.0, x), (x > 0, x, x)):
        assert only_op(gx.where(*operands)) == ops.Where()
    with pytest.raises(errors.InputKindError, match="symbolic tensors"):
        gx.where(1.0, 2.0, 3.0)
    with pytest.raises(errors.InputKindError, match="floating-point"):
        gx.where(np.ones(9, bool), x, 0.0)


def test_a_slope_per_channel_or_one():
    x = image(2, 3, 4, 4)
    assert only_op(x.prelu(weight(3))) == ops.Prelu()
    assert gx.graph("g", gx.prelu(x, weight(1), name="act")).params[0].name == "act.weight"


METHODS = [
    name
    for name in dir(gx)
    if isfunction(function := getattr(gx, name))
    and [*signature(function).parameters][:1] == ["input"]
]


@pytest.mark.parametrize("name", METHODS)
def test_what_takes_a_tensor_first_is_its_method(name):
    x = image()
    assert name in dir(x)
    method = getattr(x, name)
    assert (method.func, method.args) == (getattr(gx, name), (x,))


def test_methods_make_the_same_graph():
    x, w = image(), weight(3, 4, 3, 3)
    h = x.conv2d(w, padding=1, name="conv").relu().max_pool2d(2).add(1.0)
    method = gx.graph("g", h.leaky_relu(0.2).flatten(1).softmax(-1))
    h = gx.add(gx.max_pool2d(gx.relu(gx.conv2d(x, w, padding=1, name="conv")), 2), 1.0)
    assert method == gx.graph("g", gx.softmax(gx.flatten(gx.leaky_relu(h, 0.2), 1), -1))


def test_sizes_of_a_reshape_are_a_tuple_or_arguments():
    x = image()
    for h in (x.reshape(2, -1), x.reshape((2, -1)), gx.reshape(x, 2, -1), x.reshape([2, -1])):
        assert only_op(h) == ops.Reshape((2, -1))
    assert only_op(x.reshape(-1)) == only_op(gx.reshape(x, shape=(-1,))) == ops.Reshape((-1,))
    for wrong in ((2, (3,)), ((2, -1), 3), (2.5,), (True,), ("ab",)):
        with pytest.raises(errors.InvalidAttribute):
            x.reshape(*wrong)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rleu", "did you mean relu"),
        ("leakyrelu", "did you mean leaky_relu"),
        ("shap", "did you mean shape"),
        ("view", r"did you mean reshape\?"),
        ("size", r"did you mean shape\?"),
        ("where", r"did you mean graphcnn\.where\(condition, a, b\)\?"),
        ("concat", "no attribute 'concat'"),
        ("stack", "no attribute 'stack'"),
        ("fused", "no attribute 'fused'"),
        ("compile", "no attribute 'compile'"),
        ("__len__", "no attribute '__len__'"),
        ("xyzzy", r"'xyzzy'; dir\(\) lists"),
    ],
)
def test_other_methods_are_none(name, says):
    assert not hasattr(image(), name)
    with pytest.raises(AttributeError, match=says):
        getattr(image(), name)


@pytest.mark.parametrize(
    ("name", "says"),
    [("cat", "concat"), ("upsample", "interpolate"), ("relu7", "relu or relu6"), ("max", "amax")],
)
def test_a_function_of_another_name_is_hinted_at(name, says):
    assert not hasattr(gx, name)
    with pytest.raises(AttributeError, match=rf"'{name}'; did you mean {says}\b"):
        getattr(gx, name)


def test_equality_is_of_each_element():
    """As in torch: 1 where it holds. Tensors stay keys of dicts, and nothing equals None."""
    x, y = image(), image()
    assert only_op(x == 0) == only_op(np.float32(0) == x) == ops.Eq()
    assert only_op(x != 2 * x) == ops.Ne()
    assert (x == None, x != None) == (False, True)  # noqa: E711 -- what is asked
    assert {x: 1, y: 2}[y] == 2
    with pytest.raises(errors.InputKindError, match=r"gx\.where"):
        bool(x == y)
    assert only_op(abs(x)) == Op.registry["abs"]()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: (x > 0) & (x < 1), "gx.mul(a, b)"),
        (lambda x: True | (x < 1), "gx.maximum(a, b)"),
        (lambda x: x ^ x, "gx.ne(a, b)"),
        (lambda x: ~(x > 0), "gx.eq(a, 0)"),
    ],
)
def test_there_are_no_truth_values(call, says):
    with pytest.raises(errors.InputKindError) as caught:
        call(image())
    assert says in caught.value.remedy
    assert __file__ in caught.value.where


def test_a_flatten_may_end_before_the_last_dimension():
    x = gx.input("x", (2, 3, 4, 5))
    for start, end, shape in ((0, 1, (6, 4, 5)), (1, 2, (2, 12, 5)), (-3, -2, (2, 12, 5))):
        assert x.flatten(start, end).shape == shape
        torch_shape = tuple(torch.zeros(2, 3, 4, 5).flatten(start, end).shape)
        assert torch_shape == shape
    assert only_op(x.flatten(1, 3)) == only_op(x.flatten(1, -1)) == ops.Flatten(1)
    assert rebatch(gx.graph("g", x.flatten(1, 2)), 7).nodes[0].type.shape == (7, 12, 5)
    with pytest.raises(errors.InvalidAttribute, match="cannot come after"):
        x.flatten(2, 1)
    for wrong in ((1, 4), (1, -5), (-5, 2)):
        with pytest.raises(errors.RankError):
            x.flatten(*wrong)


def test_var_takes_unbiased_where_torch_does():
    x = image()
    assert only_op(x.var(1, False)) == only_op(x.var(1, correction=0))
    assert only_op(x.var(1, True, True)) == only_op(x.var(1, keepdim=True))
    assert only_op(x.var(1)).correction == 1
    with pytest.raises(errors.InvalidAttribute, match="say the same"):
        x.var(1, False, correction=1)
    assert only_op(x.mean(())) == only_op(x.mean())


REMEDIES = {
    "no size": (lambda: gx.input("x", (-1, 3, 8, 8)), errors.InvalidAttribute, "write 1 for the"),
    "none": (lambda: gx.input("x", (None, 3)), errors.InvalidAttribute, "write 1 for the batch"),
    "bmm": (
        lambda: gx.bmm(gx.input("a", (1, 3, 4)), gx.input("b", (3, 4, 5))),
        errors.ShapeError,
        "use matmul",
    ),
    "gather": (
        lambda: gx.gather(image(), -9, gx.input("i", (1, 1, 1, 1), "int64")),
        errors.RankError,
        "dimension from -4 to 3",
    ),
    "a sequence": (
        lambda: gx.conv2d(gx.input("x", (1, 3, 8)), weight(4, 3, 3, 3)),
        errors.RankError,
        "conv1d reads 3 dimensions",
    ),
    "an image": (lambda: gx.max_pool1d(image(), 2), errors.RankError, "max_pool2d reads 4 dim"),
    "no scale": (lambda: gx.interpolate(image()), errors.InvalidAttribute, "neither"),
    "both": (lambda: gx.interpolate(image(), 4, 2), errors.InvalidAttribute, "leave out one"),
    "linear": (
        lambda: gx.interpolate(image(), 4, mode="linear"),
        errors.InvalidAttribute,
        'pass mode="bilinear"',
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), REMEDIES.values(), ids=REMEDIES)
def test_remedies_are_of_the_mistake(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
    assert __file__ in caught.value.where


def test_errors_of_methods_name_the_users_line():
    with pytest.raises(errors.RankError) as caught:
        image().linear(weight(3, 9)).conv2d(weight(3, 4, 3))
    assert f"conv2d ({__file__}" in caught.value.where
    with pytest.raises(TypeError, match=r"relu\(\) too many"):
        image().relu(0.5)


def test_equal_scalars_of_different_nodes_are_separate_params():
    x = image()
    assert len(gx.graph("g", (x + 1) * (x + 1)).params) == 2


def test_params_without_data():
    w = gx.param("shared.weight", (4, 4, 1, 1))
    net = gx.graph("g", gx.conv2d(gx.conv2d(image(), w), w, gx.param("b", (4,))))
    assert [str(param) for param in net.params] == ["shared.weight: f32[4,4,1,1]", "b: f32[4]"]
    assert all(param.data is None for param in net.params)
    with pytest.raises(errors.DTypeMismatch, match="f16"):
        gx.conv2d(image(dtype="f16"), w)


def test_batch_norm_without_an_affine_part():
    mean, var = weight(4), abs(weight(4)) + 1
    net = gx.graph("g", gx.batch_norm(image(), mean, var, eps=0.5))
    x = RNG.standard_normal((2, 4, 9, 9))
    wanted = (x - mean[:, None, None]) / np.sqrt(var.astype(float)[:, None, None] + 0.5)
    assert_within_bounds(net, {"image": x}, {"batch_norm": wanted})


def test_an_input_may_be_an_output():
    x = image()
    net = gx.graph("g", [x, gx.relu(x)])
    assert net.outputs == ("image", "relu")
    verify(net)


MISTAKES = {
    "rank": (lambda: gx.conv2d(image(3, 8, 8), weight(2, 3, 3, 3)), errors.RankError),
    "channels": (lambda: gx.conv2d(image(), weight(2, 3, 3, 3)), errors.ChannelMismatch),
    "small": (lambda: gx.conv2d(image(1, 4, 2, 2), weight(2, 4, 3, 3)), errors.InputTooSmall),
    "small pool": (lambda: gx.max_pool2d(image(), 10), errors.InputTooSmall),
    "attribute": (lambda: gx.max_pool2d(image(), (1, 2, 3)), errors.InvalidAttribute),
    "same": (
        lambda: gx.conv2d(image(), weight(2, 4, 3, 3), stride=2, padding="same"),
        errors.InvalidAttribute,
    ),
    "full": (
        lambda: gx.conv2d(image(), weight(2, 4, 3, 3), padding="full"),
        errors.InvalidAttribute,
    ),
    "same rank": (lambda: gx.conv2d(image(), weight(2, 4, 3), padding="same"), errors.RankError),
    "nan": (lambda: gx.linear(image(2, 3), np.full((4, 3), np.nan)), errors.NonFiniteWeights),
    "overflow": (
        lambda: image(dtype="f16") * np.full((4, 1, 1), 1e6),
        errors.NonFiniteWeights,
    ),
    "number overflow": (lambda: image(dtype="f16") * 1e39, errors.NonFiniteWeights),
    "huge number": (lambda: image() * 10**400, errors.NonFiniteWeights),
    "slope": (lambda: gx.leaky_relu(image(), 1e39), errors.InvalidAttribute),
    "pad value": (lambda: gx.pad(image(dtype="f16"), 1, value=65520), errors.InvalidAttribute),
    "bool size": (lambda: gx.input("x", (True, 4)), errors.InvalidAttribute),
    "bool attribute": (lambda: gx.leaky_relu(image(), np.True_), errors.InvalidAttribute),
    "infinite scalar": (lambda: image() + float("inf"), errors.NonFiniteWeights),
    "text": (lambda: gx.conv2d(image(), "weight"), errors.InputKindError),
    "list": (lambda: gx.linear(image(1, 2), [[1.0, 2.0]]), errors.InputKindError),
    "complex": (lambda: gx.linear(image(1, 2), np.ones((1, 2), complex)), errors.InputKindError),
    "array": (lambda: gx.relu(np.ones(3)), errors.InputKindError),
    "none": (lambda: image() + None, errors.InputKindError),
    "bool": (lambda: image() * True, errors.InputKindError),
    "empty": (lambda: gx.linear(image(1, 2), np.ones((0, 2))), errors.InvalidAttribute),
    "dtype": (lambda: gx.input("x", (1,), "float8"), errors.UnknownDType),
    "shape": (lambda: gx.input("x", (0,)), errors.InvalidAttribute),
    "no shape": (lambda: gx.input("x", None), errors.InvalidAttribute),
    "name": (lambda: gx.input("a b", (1,)), errors.InvalidName),
    "param name": (lambda: gx.param("", (1,)), errors.InvalidName),
    "constant name": (lambda: gx.constant("a b", 1.0), errors.InvalidName),
    "constant of whole numbers": (lambda: gx.constant("a", 1, "int64"), errors.DTypeMismatch),
    "node name": (lambda: gx.relu(image(), name="a b"), errors.InvalidName),
    "concat": (lambda: gx.concat([]), errors.InvalidGraph),
    "dtypes": (lambda: image() + image(dtype="f16"), errors.DTypeMismatch),
    "branches": (lambda: image() + image(2, 4, 9, 8), errors.ShapeError),
    "output": (lambda: gx.graph("g", [np.ones(3)]), errors.InputKindError),
    "no output": (lambda: gx.graph("g", []), errors.InvalidGraph),
    "graph name": (lambda: gx.graph("a b", image()), errors.InvalidName),
    "equal names": (
        lambda: gx.graph("g", gx.relu(image(), name="a") + gx.tanh(image(), name="a")),
        errors.InvalidGraph,
    ),
    "equal inputs": (lambda: gx.graph("g", image() + image()), errors.InvalidGraph),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_raised_on_the_users_line(case):
    mistake, error = MISTAKES[case]
    with pytest.raises(error) as caught:
        mistake()
    assert type(caught.value) is error
    lines, first = inspect.getsourcelines(mistake)
    places = [f"{__file__}:{line}" for line in range(first, first + len(lines))]
    assert any(place in str(caught.value) for place in places), str(caught.value)
    assert caught.value.remedy


def test_the_name_of_the_node_is_in_the_error():
    with pytest.raises(errors.InputTooSmall, match=r"max_pool2d 'pool7' \(.*\.py:\d+\)"):
        gx.max_pool2d(image(), 10, name="pool7")


def test_non_finite_weights_name_the_param():
    bad = weight(2, 4, 3, 3)
    bad[1, 2, 0, 1] = np.inf
    with pytest.raises(errors.NonFiniteWeights, match=r"conv9\.weight' at \[1, 2, 0, 1\]"):
        gx.conv2d(image(), bad, name="conv9")


def test_weights_beyond_float16_are_told_from_infinite_ones():
    with pytest.raises(errors.NonFiniteWeights, match="infinite in f16") as caught:
        gx.linear(image(2, 3, dtype="f16"), np.full((4, 3), 1e5, np.float32))
    assert "a number beyond 65504 needs another dtype" in caught.value.remedy


def test_repr():
    assert repr(gx.relu(image(1, 2), name="r")) == "<call r: f32[1,2]>"


@pytest.mark.parametrize("change", ["meta", "sparse"])
def test_tensors_without_dense_data_are_no_weights(change):
    dense = torch.ones(3, 4, 3, 3)
    given = dense.to_sparse() if change == "sparse" else dense.to("meta")
    with pytest.raises(errors.InputKindError, match="dense") as caught:
        gx.conv2d(image(), given)
    assert change in caught.value.got


@pytest.mark.parametrize(("variance", "eps"), [(-1.0, 1e-5), (0.0, 0.0)])
def test_a_variance_without_a_root_is_refused(variance, eps):
    mean, var = np.zeros(4), np.array([1.0, variance, 1.0, 1.0])
    with pytest.raises(errors.InvalidAttribute, match="sqrt") as caught:
        gx.batch_norm(image(), mean, var, eps=eps)
    assert "test_functional.py" in caught.value.where
    assert "running_mean, then running_var" in caught.value.remedy


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    "number", [1e-8, np.float32(1e-8), np.float64(1e-8), np.array(1e-8), torch.tensor(1e-8)]
)
def test_numbers_are_as_wide_as_the_arithmetic(tmp_path, dtype, number):
    """They are not rounded to half precision, where this one would be zero."""
    made = gx.graph("g", gx.mul(image(dtype=dtype), number, name="y"))
    wide = "f64" if dtype == "float64" else "f32"
    assert str(made.param_by_name["y.other"].type) == f"{wide}[]"
    assert made.param_by_name["y.other"].data == np.asarray(number).astype(f"float{wide[1:]}")
    assert made["y"].type == made.inputs[0].type
    assert gx.parse(str(made)) == made
    gx.save(made, tmp_path / "net.gcn")
    assert gx.load(tmp_path / "net.gcn").fingerprint == made.fingerprint
    assert rebatch(made, 3)["y"].type.shape[0] == 3


def test_numpy_numbers_are_attributes():
    h = gx.leaky_relu(image(), np.float32(0.25))
    h = gx.pad(h, np.int64(1), value=np.float16(0.5))
    h = gx.batch_norm(h, np.zeros(4), np.ones(4), eps=np.float64(0.5))
    made = gx.graph("g", gx.dropout(h, np.float64(0.5)))
    assert gx.parse(str(made)) == made
    assert "negative_slope=0.25" in str(made)


def test_an_input_has_a_name():
    with pytest.raises(errors.InvalidName):
        gx.input(None, (1, 3))


def test_dimensions_of_a_reduction():
    """One, several in any order, negative ones, or all."""
    x = gx.input("x", (2, 3, 4, 5))
    for given, axes in ((1, (1,)), ((3, -2), (2, 3)), ([-1], (3,)), (None, (0, 1, 2, 3))):
        y = gx.mean(x, given, keepdim=True)
        assert y.shape == tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        assert gx.mean(x, given).shape == tuple(n for d, n in enumerate(x.shape) if d not in axes)
    assert gx.sum(x).shape == ()
    for wrong, kind in (
        ((1, -3), errors.InvalidAttribute),
        (4, errors.RankError),
        ("a", errors.InvalidAttribute),
    ):
        with pytest.raises(kind):
            gx.sum(x, wrong)


def test_bmm_is_matmul_of_as_many_matrices():
    x = image(2, 3, 4)
    assert gx.bmm(x, weight(2, 4, 5)).shape == (2, 3, 5)
    for other, error in ((weight(4, 5), errors.RankError), (weight(1, 4, 5), errors.ShapeError)):
        assert gx.matmul(x, other).shape == (2, 3, 5)
        with pytest.raises(errors.ShapeError, match="use matmul") as caught:
            gx.bmm(x, other)
        assert type(caught.value) is error
