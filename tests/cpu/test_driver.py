import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import triton
import triton.language as tl

from graphcnn import cpu, triton_api
from graphcnn.cpu import team


@triton.jit
def square(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(y + i, value * value, mask=i < n)


@triton.jit
def place(out):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    at = (z * tl.num_programs(1) + y) * tl.num_programs(0) + x
    tl.store(out + at, x + 10 * y + 100 * z)


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_importing_triton_does_not_load_graphcnn():
    done = python(
        "import sys, triton; print([m for m in sys.modules if m.split('.')[0] == 'graphcnn'])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_and_making_the_driver_leaves_tritons_own_untouched():
    done = python("""
        import triton
        from triton.runtime import driver
        before = (driver._active, driver._default)
        from graphcnn import cpu, triton_api
        with triton_api.using(cpu.driver()):
            assert driver.active is cpu.driver()
        assert not cpu.driver().is_active()
        assert (driver._active, driver._default) == before == (None, None)
        print("untouched")
    """)
    assert done.stdout.strip() == "untouched", done.stderr


def test_drivers_are_cached_and_have_keys_of_their_own():
    plain, checked = cpu.driver(sanitize=False), cpu.driver(sanitize=True)
    assert plain is cpu.driver(sanitize=False)
    keys = {plain.get_current_device(), checked.get_current_device()}
    assert len(keys) == 2
    assert not keys & set(range(64)), "CUDA devices are numbered"


def test_the_setting_chooses_the_sanitizer(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "1")
    assert cpu.driver().sanitize
    monkeypatch.setenv("GRAPHCNN_SANITIZE", "0")
    assert not cpu.driver().sanitize


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_program_of_a_three_dimensional_grid_runs(count):
    before = torch.get_num_threads()
    out = torch.full((4, 3, 5), -1, dtype=torch.int32)
    try:
        torch.set_num_threads(count)
        with triton_api.using(cpu.driver(sanitize=False)):
            place[(5, 3, 4)](out)
    finally:
        torch.set_num_threads(before)
    z, y, x = torch.meshgrid(*map(torch.arange, out.shape), indexing="ij")
    assert torch.equal(out, (x + 10 * y + 100 * z).int())


def test_threads_follow_torch():
    before = torch.get_num_threads()
    try:
        for count in (6, 1):
            torch.set_num_threads(count)
            assert team.threads() == count
    finally:
        torch.set_num_threads(before)


def test_launches_from_several_threads():
    x = torch.randn(4, 1000)
    y = torch.full_like(x, float("nan"))
    driver = cpu.driver(sanitize=False)
    rows = [
        triton_api.prepare(square, (x[row], y[row], 1000), {"BLOCK": 64}, driver)
        for row in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ready: ready((16,), 0), rows))
    assert torch.equal(y, x * x)


def test_a_second_process_finds_the_binary_in_tritons_cache(tmp_path):
    file = tmp_path / "kernel.py"
    file.write_text(
        textwrap.dedent("""
            import sys, torch, triton, triton.language as tl
            from graphcnn import cpu, triton_api
            from graphcnn.cpu import toolchain

            @triton.jit
            def twice(x, B: tl.constexpr):
                i = tl.arange(0, B)
                tl.store(x + i, tl.load(x + i) * 2)

            calls = []
            real = toolchain.shared_object
            toolchain.shared_object = lambda *args, **options: (
                calls.append(1) or real(*args, **options)
            )
            x = torch.arange(16.0)
            with triton_api.using(cpu.driver()):
                twice[(1,)](x, B=16)
            print(len(calls), x.sum().item())
        """)
    )
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    outputs = [
        subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, check=True, env=environment
        ).stdout.split()
        for _ in range(2)
    ]
    # The kernel, and what walks a list of launches.
    assert outputs == [["2", "240.0"], ["0", "240.0"]]
