"""Tails that a kernel may get wrong: each as a network, compiled as a user does."""

from functools import partial

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import DType
from graphcnn.runtime.boundary import example_inputs
from tests.stepwise import check_model

DRAW = np.random.default_rng(4)


def draw(*shape):
    return DRAW.standard_normal(shape).astype(np.float32)


def conv(x, filters=6, **options):
    options = {"padding": 1} | options
    return gx.conv2d(x, draw(filters, x.shape[1] // options.get("groups", 1), 3, 3), **options)


def conv1d(x, filters=6, **options):
    options = {"padding": 1} | options
    return gx.conv1d(x, draw(filters, x.shape[1] // options.get("groups", 1), 3), **options)


def image(*shape, name="image"):
    return gx.input(name, shape or (2, 5, 7, 9))


def norm(x):
    """A batch norm whose scale is negative for some channels: it falls where its input rises."""
    size = x.shape[1]
    sign = np.where(np.arange(size) % 2, 1, -1).astype(np.float32)
    return gx.batch_norm(
        x, draw(size), 1 + draw(size) ** 2, sign * (1 + draw(size) ** 2), draw(size)
    )


def twice():
    h = conv(image())
    return gx.relu(h) + gx.relu(h)


def itself():
    h = conv(image())
    return h + h


def itself_pooled():
    h = conv(image())
    return gx.max_pool2d(h + h, 2)


def gated_before_a_pool():
    h = conv(image())
    return gx.max_pool2d(h * gx.tanh(h), 2)


def gated_after_a_pool():
    h = gx.max_pool2d(conv(image()), 2)
    return h * gx.tanh(h)


def gated_after_a_pool_of_what_is_stored():
    h = conv(image())
    p = gx.max_pool2d(h, 2)
    return p * gx.tanh(p), h


def diamond_across_exports():
    h = conv(image())
    a, b = gx.sigmoid(h), gx.relu(h)
    return a * b + h, a, b, h


def diamond_that_leaves_and_comes_back():
    h = conv(image())
    a = gx.relu(h)
    side = conv(a)
    return a * gx.tanh(h) + side


def stored_residual():
    skip = gx.relu(conv(image(), 5, name="skip"))
    h = conv(skip, 5)
    return gx.relu(h + skip), skip


def stored_sum():
    skip = gx.relu(conv(image(), 5))
    h = conv(skip, 5) + skip
    return gx.relu(h), h, gx.max_pool2d(h, 2)


def operand_read_twice():
    r = gx.relu(image(2, 6, 7, 9, name="r"))
    h = conv(image())
    return gx.relu((h + r) * r) + r


def same_input_and_residual():
    x = image(2, 6, 7, 9)
    return gx.silu(conv(x) * x + x)


def nothing_follows():
    return conv(image())


def twelve_steps():
    h = conv(image())
    first = h
    for index in range(4):
        h = gx.tanh(h * 0.5) + (first if index % 2 else h)
    return h


def odd_pool(pool, *, export):
    h = conv(image())
    a = gx.relu(h)
    p = pool(a, (2, 4))
    return (p, a, h)[: 1 + export]


def norm_before_a_pool():
    h = gx.relu(conv(image()))
    return gx.max_pool2d(norm(h), 2)


def norm_of_what_is_stored():
    h = conv(image())
    return gx.max_pool2d(norm(h), 2), h


def falls_before_a_pool():
    return gx.max_pool2d(gx.leaky_relu(conv(image()), -0.5), 2)


def not_monotone(unary):
    return gx.max_pool2d(unary(conv(image()) * 2.0), 2)


def second(function):
    """The kernel's value is the second operand, and then both; a divisor is 1 to 2."""
    x = image()
    h = gx.sigmoid(conv(x, 5)) + 1.0
    return function(x, function(h, function(1.5, h)))


def before_a_pool(function, *, first):
    """Beside a number for each channel, of either sign."""
    h, vector = conv(image()), draw(6, 1, 1)
    return gx.max_pool2d(function(h, vector) if first else function(vector, gx.sigmoid(h)), 2)


def per_sample(shape):
    gate = gx.sigmoid(image(*shape, name="gate"))
    h = conv(image(shape[0], 5, 7, 9))
    return gx.max_pool2d(gx.relu((h + gate) * gate), 2)


def signal():
    x = gx.input("signal", (2, 6, 13))
    skip = gx.relu(conv1d(x, stride=1))
    h = conv1d(skip, groups=2, dilation=2, padding=2) + skip
    p = gx.max_pool1d(gx.relu(h), 2)
    q = gx.avg_pool1d(conv1d(p, 12, groups=6), 2)
    return q, p, h


def linear_of(*leading):
    x = gx.input("x", (*leading, 7))
    h = gx.linear(x, draw(6, 7), draw(6))
    r = gx.input("r", (*leading, 6))
    return gx.silu(gx.gelu(h + r) * gx.tanh(h)), h


def linear_with_a_residual_of_a_convolution():
    """Channels-last and row-major meet."""
    x = image(2, 5, 7, 9)
    r = gx.relu(conv(x, 5))
    h = gx.linear(x, draw(9, 9), draw(9))
    return gx.relu(h + r), gx.max_pool2d(r, 2)


def linear_of_a_signal_with_a_residual_of_a_convolution():
    x = gx.input("signal", (2, 6, 13))
    return gx.relu(gx.linear(x, draw(13, 13)) + conv1d(x)) * 0.5


def linear_that_repeats_its_residual():
    x = image(2, 5, 7, 9)
    r = gx.tanh(gx.global_avg_pool2d(conv(x, 5)))
    return gx.relu(gx.linear(x, draw(4, 9)) * r + r)


BINARY = (gx.sub, gx.div, gx.minimum, gx.maximum)
TAILS = {
    "relu(h) + relu(h)": twice,
    "h + h": itself,
    "h + h, pooled": itself_pooled,
    "x * tanh(x), pooled": gated_before_a_pool,
    "pooled, x * tanh(x)": gated_after_a_pool,
    "pooled and stored, x * tanh(x)": gated_after_a_pool_of_what_is_stored,
    "a diamond across exports": diamond_across_exports,
    "a diamond that leaves and comes back": diamond_that_leaves_and_comes_back,
    "a residual that is stored": stored_residual,
    "a sum that is stored": stored_sum,
    "an operand that is read twice": operand_read_twice,
    "the input as residual": same_input_and_residual,
    "no step": nothing_follows,
    "twelve steps": twelve_steps,
    **{
        f"{pool.__name__} of odd sizes, {export} stored": lambda pool=pool, export=export: odd_pool(
            pool, export=export
        )
        for pool in (gx.max_pool2d, gx.avg_pool2d)
        for export in range(3)
    },
    "a batch norm before a pool": norm_before_a_pool,
    "a batch norm of what is stored": norm_of_what_is_stored,
    "leaky_relu that falls": falls_before_a_pool,
    **{
        f"{unary.__name__} before a pool": lambda unary=unary: not_monotone(unary)
        for unary in (gx.gelu, gx.hardswish, gx.silu)
    },
    **{f"{function.__name__} of what is second": partial(second, function) for function in BINARY},
    **{
        f"{function.__name__} before a pool, {'first' if first else 'second'}": partial(
            before_a_pool, function, first=first
        )
        for function in BINARY
        for first in (True, False)
    },
    **{
        f"an operand {shape}": lambda shape=shape: per_sample(shape)
        for shape in ((1, 1, 1, 1), (2, 1, 1, 1), (2, 6, 1, 1), (1, 6, 1, 1), (1, 1, 7, 9))
    },
    "conv1d": signal,
    **{
        f"linear of rank {len(leading) + 1}": lambda leading=leading: linear_of(*leading)
        for leading in ((1, 1), (2, 3), (2, 3, 2), (1, 3, 2, 2))
    },
    "linear + conv2d": linear_with_a_residual_of_a_convolution,
    "linear + conv1d": linear_of_a_signal_with_a_residual_of_a_convolution,
    "linear * mean + mean": linear_that_repeats_its_residual,
}


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("name", TAILS)
def test_tails(name, fuse):
    outputs = TAILS[name]()
    graph = gx.graph("g", list(outputs) if isinstance(outputs, tuple) else outputs)
    model = gx.compile(graph, device="cpu", fuse=fuse)
    check_model(model, example_inputs(graph))
    assert gx.verify(model).ok
    steps = [step.node for step in model.plan.steps]
    assert all(steps.count(node.name) == 1 for node in model.graph.nodes)


MAX, AVG = gx.max_pool2d, gx.avg_pool2d
POOLS = {
    "3x3/2": partial(MAX, kernel_size=3, stride=2),
    "3x3/2, padded": partial(MAX, kernel_size=3, stride=2, padding=1),
    "3x3/2, ceil": partial(MAX, kernel_size=3, stride=2, ceil_mode=True),
    "2x2, ceil": partial(MAX, kernel_size=2, ceil_mode=True),
    "average of 2x2, ceil": partial(AVG, kernel_size=2, ceil_mode=True),
    "average of 3x3/2, padded": partial(
        AVG, kernel_size=3, stride=2, padding=1, count_include_pad=False
    ),
    "3x3": partial(MAX, kernel_size=3),
    "global": gx.global_avg_pool2d,
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", POOLS)
def test_pools_that_are_demanded(name, dtype):
    x = gx.input("image", (2, 5, 8, 7), dtype)
    h = gx.gelu(gx.conv2d(x, draw(6, 5, 3, 3), padding=1, name="conv"))
    graph = gx.graph("g", gx.relu(POOLS[name](h, name="pool") * 2.0, name="end"))
    model = gx.compile(graph, device="cpu", must_fuse=[("conv", "pool", "end")])
    check_model(model, example_inputs(graph))
    assert gx.verify(model).ok
    assert len(model.plan.steps) == 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_norm_across_channels_that_is_demanded(dtype):
    x = gx.input("image", (2, 5, 8, 7), dtype)
    h = gx.relu(gx.conv2d(x, draw(20, 5, 3, 3), padding=1, name="conv"))
    h = gx.local_response_norm(h, 5, alpha=0.5, k=2.0, name="norm")
    graph = gx.graph("g", gx.max_pool2d(h, 3, 2, name="pool"))
    model = gx.compile(graph, device="cpu", must_fuse=[("conv", "norm", "pool")])
    check_model(model, example_inputs(graph))
    assert gx.verify(model).ok
    assert len(model.plan.steps) == 1


@pytest.mark.parametrize("step", [gx.gelu, gx.hardswish, lambda h: h * 0.3, norm])
def test_what_reads_on_takes_the_number_that_is_stored(step):
    """A residual that leaves a thousandth: a rounding before the store shows in the sum."""
    x, other = image(2, 3, 16, 16), image(2, 6, 16, 16, name="other")
    kept = step(conv(x))
    graph = gx.graph("g", [kept, kept + other])
    model = gx.compile(graph, device="cpu", must_fuse=[("conv2d", "add")])
    arrays = example_inputs(graph)
    computed = np.asarray(model(**arrays)[graph.outputs[0]])
    arrays["other"] = -computed * (1 + draw(*computed.shape) / 1000)
    check_model(model, arrays)
    assert gx.verify(model, **arrays).ok


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("step", ["a computed summand", "a slope of zero"])
def test_a_pool_does_not_lose_the_nan_that_an_infinity_becomes(step, fuse):
    h = gx.conv2d(gx.input("x", (1, 2, 4, 4)), np.ones((2, 1, 1, 1)), groups=2)
    arrays = {"x": draw(1, 2, 4, 4)}
    arrays["x"][0, 0, 0, 0] = -np.inf
    if step == "a computed summand":
        h = h + gx.input("r", (1, 2, 1, 1))
        arrays["r"] = np.full((1, 2, 1, 1), np.inf, np.float32)
    else:
        h = gx.leaky_relu(h, 0.0)
    model = gx.compile(gx.graph("g", gx.max_pool2d(h, 2)), device="cpu", fuse=fuse)
    assert np.isnan(model(**arrays)[0, 0, 0, 0])
    assert gx.verify(model, **arrays).ok


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize(("dtype", "scale"), [("float16", 300.0), ("bfloat16", 1e20)])
def test_what_overflows_inside_a_tail(dtype, scale, fuse):
    """What is stored is infinite to all that read it; what is not stored is not."""
    x = gx.input("x", (1, 1, 4, 4), dtype)
    h = gx.conv2d(x, np.full((1, 1, 1, 1), scale))
    square = h * h
    outputs = [
        square,
        gx.silu(square * -1.0),
        gx.gelu(square),
        gx.max_pool2d(gx.tanh(square), 2),
        gx.avg_pool2d(h * -1.0 * h * (1 / scale), 2),
    ]
    model = gx.compile(gx.graph("g", outputs), device="cpu", fuse=fuse)
    array = DType.of(dtype).round(np.linspace(-2, 2, 16).reshape(1, 1, 4, 4))
    verdict = gx.verify(model, x=array)
    assert verdict.ok, str(verdict)
    assert np.isinf(np.asarray(model(x=array)["mul"], np.float32)).any()
