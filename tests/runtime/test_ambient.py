"""Settings of torch that are in force around a call, and what they must not change."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import graphcnn as gx

X = np.random.default_rng(0).standard_normal((2, 3, 6, 6), np.float32)


def model(target):
    rng = np.random.default_rng(1)
    x = gx.input("x", shape=(2, 3, 6, 6))
    h = gx.relu(gx.conv2d(x, rng.standard_normal((4, 3, 3, 3), np.float32), padding=1))
    h = gx.linear(gx.flatten(h), rng.standard_normal((5, 144), np.float32))
    return gx.compile(gx.graph("g", outputs=gx.softmax(h, dim=1)), target=target)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AMBIENT = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "default_dtype": default_dtype,
    "default_device": lambda: torch.device("meta"),
    "deterministic": deterministic,
}


@pytest.mark.parametrize("target", ["library", "triton"])
@pytest.mark.parametrize("name", AMBIENT)
@pytest.mark.parametrize("batch", [2, 3], ids=["planned", "another batch size"])
def test_no_setting_around_a_call_changes_its_answer(target, name, batch):
    x = torch.from_numpy(np.concatenate([X, X])[:batch]).requires_grad_()
    want = model(target)(x=x)
    assert want.std() > 0
    with AMBIENT[name]():
        around = model(target)
        inside = around(x=x)
    after = around(x=x)
    for got in (inside, after):
        assert got.dtype == torch.float32
        assert not got.requires_grad
        assert torch.equal(got, want)


def test_memory_made_in_inference_mode_serves_outside_of_it():
    made = model("triton")
    x = np.concatenate([X, X])[:3]
    with torch.inference_mode():
        made(x=x)
    with made.loaded({"x": x}, poison=True) as executor:
        executor.run()
    assert gx.verify(made, x=x).ok
