"""What the machine code of a kernel must be, each rule broken once."""

import re
from dataclasses import replace

import pytest

from graphcnn.gpu_code import GpuCode, architecture, problems
from graphcnn.gpu_code.counts import Counts
from graphcnn.gpu_code.rules import Product, products

DOT = "%1 = tt.dot %a, %b, %c : tensor<128x64xf16> * tensor<64x256xf16> -> tensor<128x256xf32>"
COUNTS = Counts(500, 150.0, 400, "HGMMA", "16", 0, 0, True)
CODE = GpuCode("conv2d_kernel", architecture("sm_90"), 8, 200, 0, 144 << 10, 0, {}, DOT, "", b"")


def told(changes=None, **counts):
    code = replace(CODE, **(changes or {}))
    code.__dict__["counts"] = replace(COUNTS, **counts)
    return problems(code)


def test_nothing_where_all_is_well():
    assert told() == ()
    assert told({"spilled_bytes": 8}) == ()


@pytest.mark.parametrize(
    ("changes", "counts", "problem"),
    [
        ({}, {"stores": False, "before": 16}, "the compiler left a trap of 16 instructions"),
        ({"spilled_bytes": 8}, {"spills_in_loops": 3}, "8 bytes .* spilled, with 3 accesses in a"),
        ({"shared_bytes": 256 << 10}, {}, "262144 bytes of shared memory; .* may have 232448"),
        ({"tensor_columns": 1024}, {}, "1024 columns of tensor memory; there are 512"),
        ({"warps": 16}, {}, "holds no block of 16 warps of 200 registers"),
        ({}, {"matrix": ""}, "no instruction for matrices computes its product of 128 x 256 x 64"),
        ({}, {"matrix": "HMMA"}, "HMMA computes its product of .*, where there is HGMMA"),
    ],
)
def test_a_broken_rule(changes, counts, problem):
    (found,) = told(changes, **counts)
    assert re.search(problem, found)


def test_arrays_of_a_kernel_s_own_are_no_spills():
    assert told({"spilled_bytes": 0}, spills_in_loops=3) == ()


def test_few_rows_have_the_instruction_of_one_warp():
    few = DOT.replace("128x", "32x")
    assert told({"ttir": few}, matrix="HMMA") == ()
    assert told({"ttir": few}, matrix="") != ()


def test_float32_as_it_is_written_has_none():
    exact = DOT.replace("f16", "f32")
    split = exact.replace("%c :", "%c, inputPrecision = tf32x3 :")
    assert told({"ttir": exact}, matrix="") == ()
    assert told({"ttir": split}, matrix="") != ()
    assert products(replace(CODE, ttir=f"{exact}\n{split}")) == [
        Product(128, 256, 64, False),
        Product(128, 256, 64, True),
    ]
