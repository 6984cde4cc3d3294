"""Canonicalize: one spelling per computation."""

from __future__ import annotations

import pytest

from graphcnn.passes import Canonicalize
from tests.passes.before_after import becomes, declines

IMAGE = "f64[1,4,8,8]"


@pytest.mark.parametrize("line", ["mul(x, s)", "mul(s, x)"])
def test_gate_by_its_own_sigmoid_is_silu(line: str) -> None:
    log = becomes(
        Canonicalize(),
        f"s: {IMAGE} = sigmoid(x)\ny: {IMAGE} = {line}\nreturn y",
        f"y: {IMAGE} = silu(x)\nreturn y",
    )
    assert log.survivor("s") == "y"


@pytest.mark.parametrize(
    ("line", "result", "reasons"),
    [
        (
            f"y: {IMAGE} = mul(x, s)\nz: {IMAGE} = relu(s)",
            "y, z",
            ["canonicalize: y: 's' is also read by z [z]"],
        ),
        (
            f"y: {IMAGE} = mul(x, s)",
            "y, s",
            ["canonicalize: y: 's' is also read by the caller [s]"],
        ),
        (f"y: {IMAGE} = mul(r, s)", "y", []),
        (f"y: {IMAGE} = add(x, s)", "y", []),
        (f"y: {IMAGE} = mul(s, s)", "y", []),
    ],
)
def test_other_gates_stay(line: str, result: str, reasons: list[str]) -> None:
    body = f"s: {IMAGE} = sigmoid(x)\n{line}\nreturn {result}"
    assert declines(Canonicalize(), body) == reasons


@pytest.mark.parametrize("op", ["add", "mul", "minimum", "maximum"])
def test_constants_go_to_the_right(op: str) -> None:
    becomes(
        Canonicalize(),
        f"y: {IMAGE} = {op}(c, x)\nreturn y",
        f"y: {IMAGE} = {op}(x, c)\nreturn y",
    )


@pytest.mark.parametrize("op", ["sub", "div"])
def test_constants_stay_on_the_left_where_the_order_matters(op: str) -> None:
    assert declines(Canonicalize(), f"y: {IMAGE} = {op}(c, x)\nreturn y") == []


@pytest.mark.parametrize("shape", ["4,1,1", "1,4,1,1"])
@pytest.mark.parametrize("line", ["add(h, k)", "add(k, h)"])
def test_constant_per_channel_is_the_bias(shape: str, line: str) -> None:
    sources = f"input x: f64[1,4,8,8]\nparam v: f64[4,4,1,1]\nparam k: f64[{shape}]"
    log = becomes(
        Canonicalize(),
        f"h: {IMAGE} = conv2d(x, v)\na: {IMAGE} = {line}\ny: {IMAGE} = relu(a)\nreturn y",
        f"a: {IMAGE} = conv2d(x, v, a.bias)\ny: {IMAGE} = relu(a)\nreturn y",
        sources,
        more="param a.bias: f64[4]",
    )
    assert log.survivor("h") == "a"


def test_constant_per_channel_is_the_bias_in_one_dimension() -> None:
    becomes(
        Canonicalize(),
        "h: f64[2,3,8] = conv1d(x, v)\ny: f64[2,3,8] = add(h, k)\nreturn y",
        "y: f64[2,3,8] = conv1d(x, v, y.bias)\nreturn y",
        "input x: f64[2,4,8]\nparam v: f64[3,4,1]\nparam k: f64[3,1]",
        more="param y.bias: f64[3]",
    )


@pytest.mark.parametrize("op", ["max_pool1d", "avg_pool1d"])
def test_ceil_mode_in_one_dimension(op: str) -> None:
    pool = f"{op}(x, kernel_size=(2,), stride=(2,)"
    becomes(
        Canonicalize(),
        f"y: f64[2,3,4] = {pool}, ceil_mode=True)\nreturn y",
        f"y: f64[2,3,4] = {pool})\nreturn y",
        "input x: f64[2,3,8]",
    )


@pytest.mark.parametrize(
    ("shape", "name", "more"),
    [("5", "k", ""), ("1,5", "y.bias", "param y.bias: f64[5]")],
)
def test_constant_per_feature_is_the_bias_of_linear(shape: str, name: str, more: str) -> None:
    sources = f"input x: f64[2,4]\nparam v: f64[5,4]\nparam k: f64[{shape}]"
    becomes(
        Canonicalize(),
        "h: f64[2,5] = linear(x, v)\ny: f64[2,5] = add(h, k)\nreturn y",
        f"y: f64[2,5] = linear(x, v, {name})\nreturn y",
        sources,
        more,
    )


def test_the_bias_gets_a_free_name() -> None:
    sources = """input x: f64[1,4,8,8]
        param v: f64[4,4,1,1]
        param y.bias: f64[4,1,1]"""
    becomes(
        Canonicalize(),
        f"""h: {IMAGE} = conv2d(x, v)
        y: {IMAGE} = add(h, y.bias)
        z: {IMAGE} = mul(y, y.bias)
        return z""",
        f"""y: {IMAGE} = conv2d(x, v, y.bias.2)
        z: {IMAGE} = mul(y, y.bias)
        return z""",
        sources,
        more="param y.bias.2: f64[4]",
    )


@pytest.mark.parametrize(
    ("conv", "add", "result", "reasons"),
    [
        ("conv2d(x, v, b)", "add(h, c)", "y", []),
        ("conv2d(x, v)", "mul(h, c)", "y", []),
        ("conv2d(x, v)", "add(h, r)", "y", []),
        ("conv2d(x, v)", "add(h, k)", "y", []),
        (
            "conv2d(x, v)",
            "add(h, c)",
            "y, h",
            ["canonicalize: y: 'h' is also read by the caller [h]"],
        ),
    ],
)
def test_what_is_no_bias_stays(conv: str, add: str, result: str, reasons: list[str]) -> None:
    sources = """input x: f64[1,4,8,8]
        input r: f64[1,4,8,8]
        param v: f64[4,4,1,1]
        param b: f64[4]
        param c: f64[4,1,1]
        param k: f64[1,8]"""
    body = f"h: {IMAGE} = {conv}\ny: {IMAGE} = {add}\nreturn {result}"
    assert declines(Canonicalize(), body, sources) == reasons


def test_a_number_is_no_bias() -> None:
    """As a bias of half precision it would be rounded first."""
    sources = "input x: f16[1,4,8,8]\nparam v: f16[1,4,1,1]\nparam n: f32[]"
    body = "h: f16[1,1,8,8] = conv2d(x, v)\ny: f16[1,1,8,8] = add(h, n)\nreturn y"
    assert declines(Canonicalize(), body, sources) == []


def test_a_constant_that_adds_a_dimension_is_no_bias() -> None:
    sources = "input x: f64[2,4]\nparam v: f64[5,4]\nparam k: f64[1,1,5]"
    body = "h: f64[2,5] = linear(x, v)\ny: f64[1,2,5] = add(h, k)\nreturn y"
    assert declines(Canonicalize(), body, sources) == []


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        ("0.0", "f64[1,4,9,10] = conv2d(p, w)", "conv2d(x, w, padding=(1, 2, 2, 2))"),
        (
            "0.0",
            "f64[1,4,11,12] = conv2d(p, w, padding=(1, 1, 1, 1))",
            "conv2d(x, w, padding=(2, 3, 3, 3))",
        ),
        (
            "0.0",
            "f64[1,4,9,10] = avg_pool2d(p, kernel_size=(3, 3), stride=(1, 1))",
            "avg_pool2d(x, kernel_size=(3, 3), stride=(1, 1), padding=(1, 2, 2, 2))",
        ),
        (
            "-1e999",
            "f64[1,4,9,10] = max_pool2d(p, kernel_size=(3, 3), stride=(1, 1))",
            "max_pool2d(x, kernel_size=(3, 3), stride=(1, 1), padding=(1, 2, 2, 2))",
        ),
    ],
)
def test_pad_goes_into_the_padding(value: str, before: str, after: str) -> None:
    type = before.split(" = ", maxsplit=1)[0]
    fill = "" if value == "0.0" else f", value={value}"
    log = becomes(
        Canonicalize(),
        f"p: f64[1,4,11,12] = pad(x, padding=(1, 2, 2, 2){fill})\ny: {before}\nreturn y",
        f"y: {type} = {after}\nreturn y",
    )
    assert log.survivor("p") == "y"


@pytest.mark.parametrize(
    ("value", "line", "reason"),
    [
        ("1.0", "f64[1,4,9,10] = conv2d(p, w)", "it pads with 0.0, and 'p' with 1.0 [p]"),
        (
            "0.0",
            "f64[1,4,9,10] = max_pool2d(p, kernel_size=(3, 3), stride=(1, 1))",
            "it pads with -inf, and 'p' with 0.0 [p]",
        ),
        (
            "0.0",
            "f64[1,4,9,10] = avg_pool2d(p, kernel_size=(3, 3), stride=(1, 1), "
            "count_include_pad=False)",
            "with ceil_mode or without count_include_pad, padding does not count alike [p]",
        ),
        (
            "-1e999",
            "f64[1,4,5,6] = max_pool2d(p, kernel_size=(3, 3), stride=(2, 2), ceil_mode=True)",
            "with ceil_mode or without count_include_pad, padding does not count alike [p]",
        ),
        (
            "0.0",
            "f64[1,4,10,11] = avg_pool2d(p, kernel_size=(2, 2), stride=(1, 1))",
            "avg_pool2d: the padding is smaller than the window [p]",
        ),
        (
            "0.0",
            "f64[1,4,9,10] = conv2d(p, w)\nz: f64[1,4,11,12] = relu(p)",
            "'p' is also read by z [z]",
        ),
    ],
)
def test_a_pad_that_means_something_else_stays(value: str, line: str, reason: str) -> None:
    fill = "" if value == "0.0" else f", value={value}"
    outputs = "y, z" if "z:" in line else "y"
    body = f"p: f64[1,4,11,12] = pad(x, padding=(1, 2, 2, 2){fill})\ny: {line}\nreturn {outputs}"
    assert declines(Canonicalize(), body) == [f"canonicalize: y: {reason}"]


def test_a_pad_by_reflection_stays() -> None:
    body = (
        "p: f64[1,4,11,12] = pad(x, padding=(1, 2, 2, 2), mode='reflect')\n"
        "y: f64[1,4,9,10] = conv2d(p, w)\nreturn y"
    )
    reason = "it pads with 0.0, and 'p' with mode 'reflect' [p]"
    assert declines(Canonicalize(), body) == [f"canonicalize: y: {reason}"]


@pytest.mark.parametrize(
    ("size", "op"),
    [
        ("4,2", "{kind}_pool2d(x, kernel_size=(2, 4), stride=(2, 4))"),
        ("8,1", "{kind}_pool2d(x, kernel_size=(1, 8), stride=(1, 8))"),
    ],
)
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_windows_that_are_alike_are_a_pools(kind: str, size: str, op: str) -> None:
    adaptive = f"adaptive_{kind}_pool2d(x, output_size=({size.replace(',', ', ')}))"
    becomes(
        Canonicalize(),
        f"y: f64[1,4,{size}] = {adaptive}\nreturn y",
        f"y: f64[1,4,{size}] = {op.format(kind=kind)}\nreturn y",
    )


@pytest.mark.parametrize(
    ("rank", "kind", "op"),
    [
        (1, "avg", "mean({x}, dim=(2,), keepdim=True)"),
        (1, "max", "amax({x}, dim=(2,), keepdim=True)"),
        (2, "avg", "global_avg_pool2d({x})"),
        (2, "max", "amax({x}, dim=(2, 3), keepdim=True)"),
    ],
)
def test_an_adaptive_pool_to_one_element_is_a_reduction(rank: int, kind: str, op: str) -> None:
    lines, x = ("f: f64[1,4,64] = reshape(x, shape=(1, 4, -1))\n", "f") if rank == 1 else ("", "x")
    ones = ("1",) * rank
    size = "(1,)" if rank == 1 else "(1, 1)"
    type = f"f64[1,4,{','.join(ones)}]"
    becomes(
        Canonicalize(),
        f"{lines}y: {type} = adaptive_{kind}_pool{rank}d({x}, output_size={size})\nreturn y",
        f"{lines}y: {type} = {op.format(x=x)}\nreturn y",
    )


def test_adaptive_windows_that_differ_stay() -> None:
    body = "y: f64[1,4,4,3] = adaptive_avg_pool2d(x, output_size=(4, 3))\nreturn y"
    assert declines(Canonicalize(), body) == []


def test_average_over_the_map_is_global() -> None:
    becomes(
        Canonicalize(),
        "y: f64[1,4,1,1] = avg_pool2d(x, kernel_size=(8, 8), stride=(3, 3))\nreturn y",
        "y: f64[1,4,1,1] = global_avg_pool2d(x)\nreturn y",
    )


@pytest.mark.parametrize(
    "line",
    [
        "y: f64[1,4,2,1] = avg_pool2d(x, kernel_size=(7, 8), stride=(1, 1))",
        "y: f64[1,4,1,1] = max_pool2d(x, kernel_size=(8, 8), stride=(8, 8))",
        "y: f64[1,4,2,1] = avg_pool2d(x, kernel_size=(8, 8), stride=(1, 1), padding=(1, 0, 0, 0))",
    ],
)
def test_other_pools_are_not_global(line: str) -> None:
    assert declines(Canonicalize(), f"{line}\nreturn y") == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f64[1,256] = reshape(x, shape=(-1, 256))", "f64[1,256] = flatten(x)"),
        ("f64[1,4,64] = reshape(x, shape=(-1, 4, 64))", "f64[1,4,64] = flatten(x, start_dim=2)"),
        ("f64[256] = reshape(x, shape=(-1,))", "f64[256] = flatten(x, start_dim=0)"),
    ],
)
def test_reshape_that_flattens_is_flatten(before: str, after: str) -> None:
    becomes(Canonicalize(), f"y: {before}\nreturn y", f"y: {after}\nreturn y")


@pytest.mark.parametrize("shape", ["(1, -1)", "(1, 256)", "(256,)", "(1, 4, -1)"])
def test_a_reshape_to_a_fixed_batch_is_no_flatten(shape: str) -> None:
    """It refuses other batch sizes, and a flatten would answer."""
    type = {"(256,)": "f64[256]", "(1, 4, -1)": "f64[1,4,64]"}.get(shape, "f64[1,256]")
    assert declines(Canonicalize(), f"y: {type} = reshape(x, shape={shape})\nreturn y") == []


@pytest.mark.parametrize("shape", ["4,64", "1,8,32", "2,128", "1,4,8,2,4"])
def test_other_reshapes_stay(shape: str) -> None:
    body = f"y: f64[{shape}] = reshape(x, shape=({shape.replace(',', ', ')}))\nreturn y"
    assert declines(Canonicalize(), body) == []


def test_ceil_mode_without_effect_is_dropped() -> None:
    pool = "max_pool2d(x, kernel_size=(2, 2), stride=(2, 2)"
    becomes(
        Canonicalize(),
        f"y: f64[1,4,4,4] = {pool}, ceil_mode=True)\nreturn y",
        f"y: f64[1,4,4,4] = {pool})\nreturn y",
    )
    pool = "avg_pool2d(x, kernel_size=(3, 3), stride=(3, 3), ceil_mode=True)"
    assert declines(Canonicalize(), f"y: f64[1,4,3,3] = {pool}\nreturn y") == []


def test_a_list_of_all_features_is_a_concat_that_grows() -> None:
    lists = (["h", "x"], ["h", "x", "g"], ["k", "h", "x", "g"])
    grown = (["h", "x"], ["two", "g"], ["k", "three"])
    before, after = (
        "\n".join(
            (
                f"h: {IMAGE} = relu(x)",
                f"g: {IMAGE} = sigmoid(x)",
                f"k: {IMAGE} = tanh(x)",
                f"two: f64[1,8,8,8] = concat({', '.join(made[0])})",
                f"three: f64[1,12,8,8] = concat({', '.join(made[1])})",
                f"four: f64[1,16,8,8] = concat({', '.join(made[2])})",
                "return two, three, four",
            )
        )
        for made in (lists, grown)
    )
    log = becomes(Canonicalize(), before, after)
    assert [rewrite.what for rewrite in log.rewrites] == [
        "reads 'two', which holds 2 of its operands side by side",
        "reads 'three', which holds 3 of its operands side by side",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "two: f64[1,8,8,8] = concat(x, h)\ny: f64[1,12,8,8] = concat(h, x, x)",
        "two: f64[1,4,16,8] = concat(h, x, dim=2)\ny: f64[1,12,8,8] = concat(h, x, x)",
        "y: f64[1,12,8,8] = concat(h, x, x)\ntwo: f64[1,8,8,8] = concat(h, x)",
        "two: f64[1,8,8,8] = concat(h, x)\ny: f64[1,12,8,8] = concat(h, g, x)",
    ],
    ids=["another order", "another dimension", "a later one", "not side by side"],
)
def test_other_concats_stay(lines: str) -> None:
    body = f"h: {IMAGE} = relu(x)\ng: {IMAGE} = sigmoid(x)\n{lines}\nreturn y, two, g"
    assert declines(Canonicalize(), body) == []


SEQUENCE = """
  input x: f64[1,4,12]
  param w: f64[4,4,3]
"""
BOTH = "h: f64[1,4,16] = conv1d(x, w, padding=(4, 4), dilation=(2,))"


@pytest.mark.parametrize(
    ("conv", "cut", "result"),
    [
        (
            BOTH,
            "y: f64[1,4,12] = slice(h, dim=2, stop=-4)",
            "y: f64[1,4,12] = conv1d(x, w, padding=(4, 0), dilation=(2,))",
        ),
        (
            BOTH,
            "y: f64[1,4,11] = slice(h, dim=2, start=3, stop=14)",
            "y: f64[1,4,11] = conv1d(x, w, padding=(1, 2), dilation=(2,))",
        ),
        (
            "h: f64[1,4,8] = conv1d(x, w, stride=(2,), padding=(2, 3))",
            "y: f64[1,4,6] = slice(h, dim=2, start=1, stop=7)",
            "y: f64[1,4,6] = conv1d(x, w, stride=(2,), padding=(0, 1))",
        ),
    ],
    ids=["causal", "both sides", "strided"],
)
def test_what_is_chomped_is_not_padded(conv: str, cut: str, result: str) -> None:
    before = f"{conv}\n{cut}\nreturn y"
    log = becomes(Canonicalize(), before, f"{result}\nreturn y", SEQUENCE)
    assert log.survivor("h") == "y"


@pytest.mark.parametrize(
    ("lines", "result", "reasons"),
    [
        (
            "y: f64[1,4,11] = slice(h, dim=2, stop=-5)",
            "y",
            ["it drops more of 'h' than padding makes"],
        ),
        ("y: f64[1,4,12] = slice(h, dim=2, stop=-4)", "y, h", ["'h' is also read by the caller"]),
        ("y: f64[1,4,8] = slice(h, dim=2, step=2)", "y", []),
        ("y: f64[1,2,16] = slice(h, dim=1, stop=2)", "y", []),
    ],
    ids=["too much", "read elsewhere", "steps", "channels"],
)
def test_other_slices_stay(lines: str, result: str, reasons: list[str]) -> None:
    found = declines(Canonicalize(), f"{BOTH}\n{lines}\nreturn {result}", SEQUENCE)
    assert found == [f"canonicalize: y: {reason} [h]" for reason in reasons]


def test_a_product_with_a_constant_matrix_is_a_linear_layer() -> None:
    becomes(
        Canonicalize(),
        "y: f64[2,3,5] = matmul(x, p)\nreturn y",
        "y: f64[2,3,5] = linear(x, y.weight)\nreturn y",
        sources="  input x: f64[2,3,4]\n  param p: f64[4,5]",
        more="  param y.weight: f64[5,4]",
    )


@pytest.mark.parametrize("line", ["matmul(x, r)", "matmul(c, x)", "matmul(x, b)"])
def test_other_products_stay(line: str) -> None:
    sources = """
  input x: f64[2,4,4]
  input r: f64[2,4,4]
  param c: f64[4,4]
  param b: f64[2,4,4]
"""
    assert declines(Canonicalize(), f"y: f64[2,4,4] = {line}\nreturn y", sources) == []
