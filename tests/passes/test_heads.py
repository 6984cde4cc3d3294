"""Heads: interpolations that a kernel reads through."""

from __future__ import annotations

import pytest

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
    ("result", "readers"),
    [(f"y: {LARGE} = add(h, u)\nreturn y", " [h, y]"), ("return h, u", " [h]")],
)
def test_a_value_with_other_readers_is_made(result: str, readers: str) -> None:
    groups, log = fused(graph(f"{UP}\n{CONV}\n{result}", SOURCES))
    assert all("u+" not in group for group in groups)
    assert f"fuse: u: its value has other readers{readers}" in reasons(log)


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
