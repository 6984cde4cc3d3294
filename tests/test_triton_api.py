import threading

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver as config
from triton.runtime.interpreter import InterpretedFunction

from graphcnn import cpu, triton_api
from graphcnn.errors import DeviceUnavailable, FileProblem


@triton.jit
def relu(value, scale):
    return tl.maximum(value, 0.0) * scale


@triton.jit
def negate(value, scale):
    return -value * scale


@triton.jit
def scaled(
    x, outputs, n, scale, stride, STAGES: tl.constexpr, WEIGHTS: tl.constexpr, BLOCK: tl.constexpr
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i * stride, mask=i < n, other=0.0)
    for k in tl.static_range(len(STAGES)):
        value = STAGES[k](value, scale)
        if outputs[k] is not None:
            tl.store(outputs[k] + i, value + WEIGHTS[k], mask=i < n)


META = {"STAGES": (relu, negate), "WEIGHTS": (1, 2), "BLOCK": 64, "num_warps": 4}


def test_using_is_reentrant_and_restores_what_was_there():
    before = config._active
    first, second = cpu.driver(sanitize=False), cpu.driver(sanitize=True)
    with triton_api.using(first):
        try:
            with triton_api.using(second):
                assert config.active is second
                raise KeyError("inner")
        except KeyError:
            pass
        assert config.active is first
    assert config._active is before


@pytest.mark.parametrize("stride", [1, 3])
def test_a_prepared_kernel_launches_without_the_active_driver(stride):
    x = torch.randn(300)
    outputs = (torch.full((100,), float("nan")), torch.full((100,), float("nan")))
    args = (x, outputs, 100, 0.5, stride)
    ready = triton_api.prepare(scaled, args, META, cpu.driver(sanitize=False))
    before = config._active
    config._active = None
    try:
        ready((2,), 0, args)
        assert config._active is None
    finally:
        config._active = before
    first = x[::stride][:100].relu() * 0.5
    torch.testing.assert_close(outputs[0], first + 1)
    torch.testing.assert_close(outputs[1], -first * 0.5 + 2)
    assert ready.metadata.name == "scaled"
    assert "scaled" in ready.asm["ttir"]
    assert (ready.n_regs, ready.n_spills) == (0, 0)


def test_a_prepared_kernel_takes_other_tensors_and_missing_ones():
    x, out = torch.randn(64), torch.full((64,), float("nan"))
    args = (x, (None, out), 64, 2.0, 1)
    ready = triton_api.prepare(scaled, args, META, cpu.driver(sanitize=False))
    other, result = torch.randn(64), torch.full((64,), float("nan"))
    ready((1, 1, 1), 0, (other, (None, result), 64, 2.0, 1))
    torch.testing.assert_close(result, -other.relu() * 4 + 2)
    assert torch.isnan(out).all()


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_compiling_for_a_gpu_needs_none(capability):
    args = (torch.randn(64), (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    before = config._active
    binary = triton_api.compile_for_gpu_like(scaled, args, META, capability)
    assert config._active is before
    assert f".target sm_{capability}" in binary.ptx
    assert 8 <= binary.registers <= 255
    assert (binary.spills, binary.shared_bytes) == (0, 0)
    assert "STG" in binary.sass()
    assert binary.sass().count("LDG") >= 1


def test_alignment_specialises_the_gpu_binary():
    x = torch.randn(72)
    meta = {**META, "BLOCK": 1024}
    aligned = (x, (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    shifted = (x[1:], (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    wide, narrow = (
        triton_api.compile_for_gpu_like(scaled, args, meta, 80).sass()
        for args in (aligned, shifted)
    )
    assert "LDG.E.128" in wide
    assert "LDG.E.128" not in narrow


@pytest.mark.parametrize("broken", ["a file in place of the folder", "a damaged kernel"])
def test_a_cache_that_fails_is_named(tmp_path, monkeypatch, broken):
    args = (torch.randn(64), (None, None), 64, 0.5, 1)
    folder = tmp_path / "cache"
    monkeypatch.setattr(triton.knobs.cache, "dir", str(folder))
    driver = cpu.driver(sanitize=False)

    @triton.jit
    def fresh(x, outputs, n, scale, stride, BLOCK: tl.constexpr):
        tl.store(x + tl.arange(0, BLOCK), scale)

    meta = {"BLOCK": 64, "num_warps": 4}
    if broken == "a damaged kernel":
        triton_api.prepare(fresh, args, meta, driver)
        libraries = list(folder.glob("**/*.so"))
        assert libraries
        for library in libraries:
            library.write_bytes(b"")
        fresh.device_caches.clear()
    else:
        folder.write_text("")
    with pytest.raises(FileProblem, match="Triton's cache") as caught:
        triton_api.prepare(fresh, args, meta, driver)
    assert "fresh" in caught.value.where
    assert "TRITON_CACHE_DIR" in caught.value.remedy


def test_the_interpreter_is_refused():
    interpreted = InterpretedFunction(scaled.fn)
    with pytest.raises(DeviceUnavailable, match="interpret") as caught:
        triton_api.prepare(interpreted, (), META, cpu.driver(sanitize=False))
    assert "unset TRITON_INTERPRET" in caught.value.remedy


def test_tritons_own_driver_is_exclusive_too():
    order = []

    def compile_for_cpu():
        with triton_api.using(object()):
            order.append("cpu")

    with triton_api.using(None):
        other = threading.Thread(target=compile_for_cpu)
        other.start()
        other.join(0.05)
        order.append("default")
    other.join()
    assert order == ["default", "cpu"]
