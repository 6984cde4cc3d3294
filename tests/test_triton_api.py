import gc
import os
import threading
import time
import weakref

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import cache
from triton.runtime import driver as config
from triton.runtime.interpreter import InterpretedFunction

from graphcnn import cpu, triton_api
from graphcnn.cpu import store
from graphcnn.errors import DeviceUnavailable, FileProblem, MissingCompiler
from graphcnn.gpu_code import architecture, compile_for
from graphcnn.progress import told_to


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
        ready((2,), 0)
        assert config._active is None
    finally:
        config._active = before
    first = x[::stride][:100].relu() * 0.5
    # Products with powers of two are exact: each result rounds once.
    assert torch.equal(outputs[0], first + 1)
    assert torch.equal(outputs[1], -first * 0.5 + 2)
    assert ready.compiled.metadata.name == "scaled"
    assert "scaled" in ready.compiled.asm["ttir"]
    assert (ready.compiled.n_regs, ready.compiled.n_spills) == (0, 0)


@pytest.mark.parametrize("sanitize", [False, True])
def test_a_prepared_kernel_keeps_its_arguments(sanitize):
    """It reads its tensors anew at each launch, does without a missing one, and keeps memory."""
    x, out = torch.empty(64), torch.full((64,), float("nan"))
    args = (x, (None, out), 64, 2.0, 1)
    ready = triton_api.prepare(scaled, args, META, cpu.driver(sanitize=sanitize))
    held = [weakref.ref(tensor) for tensor in (x, out)]
    for seed in (0, 1):
        x.copy_(torch.randn(64, generator=torch.Generator().manual_seed(seed)))
        ready((1, 1, 1), 0)
        assert torch.equal(out, -x.relu() * 4 + 2)
    del x, out, args
    assert all(tensor() is not None for tensor in held)


@pytest.mark.compile
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_compiling_for_a_gpu_needs_none(capability):
    args = (torch.randn(64), (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    before = config._active
    code = compile_for((scaled, args, META), architecture(f"sm_{capability}"))
    assert config._active is before
    assert f".target sm_{capability}" in code.assembly
    assert 8 <= code.registers <= 255
    assert (code.spilled_bytes, code.shared_bytes) == (0, 0)
    assert "STG" in code.machine_code
    assert code.machine_code.count("LDG") >= 1


@pytest.mark.compile
def test_alignment_specialises_the_gpu_binary():
    x = torch.randn(72)
    meta = {**META, "BLOCK": 1024}
    aligned = (x, (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    shifted = (x[1:], (torch.zeros(64), torch.zeros(64)), 64, 2.0, 1)
    wide, narrow = (
        compile_for((scaled, args, meta), architecture("sm_80")).machine_code
        for args in (aligned, shifted)
    )
    assert "LDG.E.128" in wide
    assert "LDG.E.128" not in narrow


META_OF_FRESH = {"BLOCK": 64, "num_warps": 4}


def fresh_kernel(folder, monkeypatch):
    """A kernel that no cache holds, in an empty folder as Triton's cache."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(folder))

    @triton.jit
    def fresh(x, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        tl.store(x + i, i, mask=i < n)

    return fresh


def test_a_cache_that_fails_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    fresh = fresh_kernel(folder, monkeypatch)
    folder.write_text("")
    with pytest.raises(FileProblem, match="Triton's cache") as caught:
        triton_api.prepare(fresh, (torch.zeros(64), 64), META_OF_FRESH, cpu.driver(sanitize=False))
    assert "fresh" in caught.value.where
    assert "TRITON_CACHE_DIR" in caught.value.remedy


DAMAGE = {
    "emptied": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "by one byte": lambda data: data[:-1],
    "zeroed": lambda data: bytes(len(data)),
    "garbled": lambda data: data[: len(data) // 2] + b"\xff\xfe" + data[len(data) // 2 + 2 :],
}


# What Triton has read half complains when it dies.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_cache_is_built_anew(tmp_path, monkeypatch):
    fresh = fresh_kernel(tmp_path, monkeypatch)
    x, driver = torch.zeros(64), cpu.driver(sanitize=False)
    triton_api.prepare(fresh, (x, 64), META_OF_FRESH, driver)
    for name, damage in DAMAGE.items():
        files = [path for path in tmp_path.glob("*/*") if path.suffix in (".so", ".json", ".ttir")]
        assert len(files) == 4, "the group's file, the metadata, the binary, the Triton IR"
        for file in files:
            whole = file.read_bytes()
            file.write_bytes(damage(whole))
            fresh.device_caches.clear()
            x.fill_(-1)
            triton_api.prepare(fresh, (x, 64), META_OF_FRESH, driver)((1,), 0)
            assert torch.equal(x, torch.arange(64.0)), (name, file.name)
            if file.suffix == ".so":
                assert file.read_bytes() == whole, "the cache holds a whole binary again"


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Four kernels that no cache holds, the last one twice."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    x, out = torch.randn(64), torch.full((64,), float("nan"))
    scaled.device_caches.clear()
    return [
        (scaled, (x, (out, None), 64, 2.0, 1), {**META, "WEIGHTS": (weight, 1)})
        for weight in (1, 2, 3, 4, 4)
    ]


def test_kernels_are_compiled_side_by_side_and_once(calls, monkeypatch):
    """Two are inside of the C compiler at once, and what takes time now is told."""
    built, real = [], store.built
    both = threading.Barrier(2, timeout=60)

    def building(source, **options):
        built.append(source)
        if len(built) <= 2:
            both.wait()
        return real(source, **options)

    monkeypatch.setattr(store, "built", building)
    monkeypatch.setattr(triton_api, "processors", lambda: 2)
    told, before = [], config._active
    with told_to(told.append):
        triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
    assert len(built) == 4
    assert [line.rsplit(",", 1)[0] for line in told] == [
        f"kernel {number} of 4: scaled" for number in (1, 2, 3, 4)
    ]
    assert config._active is before
    monkeypatch.setattr(store, "built", None)
    for kernel, args, meta in calls:
        triton_api.prepare(kernel, args, meta, cpu.driver(sanitize=False))((1,), 0)
        assert torch.equal(args[1][0], args[0].relu() * 2 + meta["WEIGHTS"][0])


def test_what_has_most_arguments_is_compiled_first():
    """It takes longest, and would be waited for alone at the end."""

    class Kernel:
        params, device_caches, __name__ = (), {}, "kernel"

        def __init__(self):
            self.order = []

        def warmup(self, grid, SIZES, **_):
            self.order.append(SIZES)

    kernel = Kernel()
    sizes = [(1, 2), (1, (2, (3, 4))), 5, (1, 2, 3), (8,)]
    calls = [(kernel, (), {"SIZES": size}) for size in sizes]
    triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
    assert kernel.order == [(1, (2, (3, 4))), (1, 2, 3), (1, 2), 5, (8,)]


def test_what_fails_ahead_is_told_by_prepare(calls, monkeypatch):
    def failing(source, **_):
        raise MissingCompiler("no compiler")

    with monkeypatch.context() as broken:
        broken.setattr(store, "built", failing)
        triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
        with pytest.raises(MissingCompiler, match="no compiler"):
            triton_api.prepare(*calls[0], cpu.driver(sanitize=False))
    triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
    triton_api.prepare(*calls[0], cpu.driver(sanitize=False))((1,), 0)


def test_threads_read_kernels_in_turn():
    """Garbage is collected all the time here, and each collection lets another thread run."""
    failed = []

    def collecting(*_):
        time.sleep(0)

    def read():
        try:
            for _ in range(40):
                scaled.parse()
        except SystemError as error:
            failed.append(error)

    before = gc.get_threshold()
    gc.callbacks.append(collecting)
    gc.set_threshold(10)
    try:
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collecting)
    assert failed == []


def test_an_interrupt_ends_compiling_ahead(calls, monkeypatch):
    def interrupting(line):
        raise KeyboardInterrupt

    before = config._active
    with pytest.raises(KeyboardInterrupt), told_to(interrupting):
        triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
    assert config._active is before
    triton_api.compile_ahead(calls, cpu.driver(sanitize=False))
    triton_api.prepare(*calls[0], cpu.driver(sanitize=False))((1,), 0)


def test_tritons_key_of_itself_is_asked_of_it_once(tmp_path, monkeypatch):
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    triton_api._key.cache_clear()
    whole = triton_api._key()
    assert whole == cache.triton_key()
    with triton_api.using(None):
        assert cache.triton_key is triton_api._key
    assert cache.triton_key is triton_api._triton_key
    monkeypatch.setattr(triton_api, "_triton_key", None)
    triton_api._key.cache_clear()
    assert triton_api._key() == whole
    (known,) = tmp_path.glob("graphcnn/triton_*")
    known.write_text("")
    monkeypatch.setattr(triton_api, "_triton_key", lambda: whole)
    triton_api._key.cache_clear()
    assert triton_api._key() == whole == known.read_text()


def mappings():
    with open("/proc/self/maps") as file:
        return len({line.split()[0] for line in file if "memfd:graphcnn" in line})


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="counts the mappings of Linux")
def test_a_kernel_is_mapped_once_and_unmapped_with_its_last_user(tmp_path, monkeypatch):
    fresh = fresh_kernel(tmp_path, monkeypatch)
    x, driver = torch.zeros(64), cpu.driver(sanitize=False)
    gc.collect()
    before = mappings()
    ready = [triton_api.prepare(fresh, (x, 64), META_OF_FRESH, driver) for _ in range(5)]
    one = mappings() - before
    assert 0 < one <= 6, "the segments of one library"
    with triton_api.using(driver):
        fresh[(1,)](x, 64, BLOCK=64)  # as Triton itself launches
    ready[-1]((1,), 0)
    assert torch.equal(x, torch.arange(64.0))
    fresh.device_caches.clear()
    del ready[:-1]
    gc.collect()
    assert mappings() - before == one
    ready.clear()
    gc.collect()
    assert mappings() == before


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
