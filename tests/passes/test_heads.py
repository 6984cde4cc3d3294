"""Heads: interpolations and flattens that a kernel reads through."""

from __future__ import annotations

import pytest

from graphcnn.errors import FusionRefused
from tests.passes.before_after import graph
from tests.passes.test_fuse import fused, reasons

SOURCES = """
  input x: f64[1,32,4,4]
  param w: f64[32,32,3,3]
"""
LARGE = "f64[1,32,8,8]"
UP = f"u: {LARGE} = interpolate(x, scale_factor=(2.0, 2.0))"
CONV = f"h: {LARGE} = conv2d(u, w, padding=(1, 1, 1, 1))"


def test_a_chain_begins_with_the_interpolation_before_it() -> None:
    given = graph(f"{UP}\n{CONV}\ny: {LARGE} = relu(h)\nreturn y", SOURCES)
    groups, log = fused(given)
    assert groups == ["u+h+y>y"]
    assert [(r.node, r.what) for r in log.rewrites] == [
        ("h", "runs h + y"),
        ("u", "is read through by the kernel of 'h'"),
    ]


def test_a_convolution_alone_reads_through_as_well() -> None:
    assert fused(graph(f"{UP}\n{CONV}\nreturn h", SOURCES))[0] == ["u+h>h"]


def test_each_of_two_steps_up_is_read_through() -> None:
    size = "f64[1,32,16,16]"
    body = f"""{UP}\n{CONV}
        a: {LARGE} = relu(h)
        v: {size} = interpolate(a, scale_factor=(2.0, 2.0))
        y: {size} = conv2d(v, w, padding=(1, 1, 1, 1))
        return y"""
    assert fused(graph(body, SOURCES))[0] == ["u+h+a>a", "v+y>y"]


@pytest.mark.parametrize(
    ("result", "because"),
    [
        (f"y: {LARGE} = add(h, u)\nreturn y", "its value has several readers [h, y]"),
        ("return h, u", "the caller reads its value as well"),
    ],
)
def test_a_value_with_other_readers_is_made(result: str, because: str) -> None:
    groups, log = fused(graph(f"{UP}\n{CONV}\n{result}", SOURCES))
    assert all("u+" not in group for group in groups)
    assert f"fuse: u: {because}" in reasons(log)


def test_what_must_not_fuse_does_not() -> None:
    given = graph(f"{UP}\n{CONV}\ny: {LARGE} = relu(h)\nreturn y", SOURCES)
    groups, log = fused(given, must_not_fuse=(("u", "y"),))
    assert groups == ["h+y>y"]
    assert "fuse: u: must_not_fuse keeps it from y [y]" in reasons(log)


def test_what_must_fuse_does() -> None:
    given = graph(f"{UP}\n{CONV}\nreturn h", SOURCES)
    assert fused(given, must_fuse=(("u", "h"),))[0] == ["u+h>h"]


def test_what_depends_on_no_input_keeps_its_own_kernels() -> None:
    body = f"""u: {LARGE} = interpolate(p, scale_factor=(2.0, 2.0))
        h: {LARGE} = conv2d(u, w, padding=(1, 1, 1, 1))
        y: {LARGE} = interpolate(x, scale_factor=(2.0, 2.0))
        z: {LARGE} = add(y, h)
        return z"""
    assert fused(graph(body, f"{SOURCES}  param p: f64[1,32,4,4]\n"))[0] == []


MATRIX = """
  input x: f64[2,3,4,4]
  param w: f64[5,48]
"""
MAP = "h: f64[2,3,4,4] = relu(x)"
ROWS = "f: f64[2,48] = flatten(h)"
LINEAR = "y: f64[2,5] = linear(f, w)"


def test_a_linear_layer_begins_with_the_flatten_before_it() -> None:
    body = f"{MAP}\n{ROWS}\n{LINEAR}\nz: f64[2,5] = relu(y)\nreturn z"
    groups, log = fused(graph(body, MATRIX))
    assert groups == ["f+y+z>z"]
    assert ("f", "is read through by the kernel of 'y'") in [(r.node, r.what) for r in log.rewrites]


def test_a_flatten_that_others_read_stays() -> None:
    groups, log = fused(graph(f"{MAP}\n{ROWS}\n{LINEAR}\nreturn y, f", MATRIX))
    assert groups == []
    assert "fuse: f: the caller reads its value as well" in reasons(log)


def test_a_flatten_that_only_the_caller_reads_is_no_refusal() -> None:
    _, log = fused(graph(f"{MAP}\n{ROWS}\nreturn f", MATRIX))
    assert not any("fuse: f:" in reason for reason in reasons(log))


def made(shape: str) -> str:
    """The rows of maps of a shape that a kernel makes."""
    return f"""r: f64[{shape}] = reshape(x, shape=({shape}))
        h: f64[{shape}] = relu(r)
        f: f64[2,48] = flatten(h)"""


@pytest.mark.parametrize(
    "maps",
    [
        "f: f64[2,48] = flatten(x)",  # the caller's are row-major
        f"{MAP}\nr: f64[2,16,3] = reshape(h, shape=(2, 16, 3))\nf: f64[2,48] = flatten(r)",
        made("2,48,1,1"),
        made("2,1,48"),
        made("2,2,2,2,6"),
    ],
    ids=["an input", "a view", "of one pixel", "of one channel", "of three sizes"],
)
def test_a_flatten_without_an_order_to_choose_stays(maps: str) -> None:
    given = graph(f"{maps}\n{LINEAR}\nreturn y", MATRIX)
    groups, log = fused(given)
    assert groups == []
    assert not any("fuse: f:" in reason for reason in reasons(log))
    with pytest.raises(FusionRefused, match="its maps are row-major, so that it costs nothing"):
        fused(given, must_fuse=(("f", "y"),))
