import pytest

from graphcnn.cpu import analysis
from graphcnn.cpu.alignment import (
    divisor,
    is_uniform,
    limits,
    stride_of_blocks,
    stride_within,
)
from graphcnn.cpu.ttir import parse

TEXT = """
module {
  tt.func public @kernel(%p: !tt.ptr<f32>, %n: i32) {
    %width = arith.constant 64 : i32
    %forty = arith.constant dense<40> : tensor<64xi32>
    %fortyeight = arith.constant dense<48> : tensor<64xi32>
    %pid = tt.get_program_id x : i32
    %range = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %first = arith.muli %pid, %width : i32
    %base = tt.splat %first : i32 -> tensor<64xi32>
    %channel = arith.addi %base, %range : tensor<64xi32>
    %any = tt.splat %n : i32 -> tensor<64xi32>
    %moved = arith.addi %range, %any : tensor<64xi32>
    %whole = arith.cmpi slt, %channel, %fortyeight : tensor<64xi32>
    %part = arith.cmpi slt, %channel, %forty : tensor<64xi32>
    %unknown = arith.cmpi slt, %moved, %fortyeight : tensor<64xi32>
    %least = arith.cmpi sge, %channel, %fortyeight : tensor<64xi32>
    %both = arith.andi %whole, %least : tensor<64xi1>
    %row = tt.expand_dims %both {axis = 0 : i32} : tensor<64xi1> -> tensor<1x64xi1>
    %mask = tt.broadcast %row : tensor<1x64xi1> -> tensor<8x64xi1>
    %panels = tt.make_range {end = 4 : i32, start = 0 : i32} : tensor<4xi32>
    %step = tt.splat %n : i32 -> tensor<4xi32>
    %far = arith.muli %panels, %step : tensor<4xi32>
    %down = tt.expand_dims %far {axis = 1 : i32} : tensor<4xi32> -> tensor<4x1xi32>
    %down_ = tt.broadcast %down : tensor<4x1xi32> -> tensor<4x16xi32>
    %lane = tt.make_range {end = 16 : i32, start = 0 : i32} : tensor<16xi32>
    %across = tt.expand_dims %lane {axis = 0 : i32} : tensor<16xi32> -> tensor<1x16xi32>
    %across_ = tt.broadcast %across : tensor<1x16xi32> -> tensor<4x16xi32>
    %sum = arith.addi %down_, %across_ : tensor<4x16xi32>
    %column = tt.reshape %sum : tensor<4x16xi32> -> tensor<64xi32>
    %hundred = arith.constant dense<100> : tensor<4xi32>
    %apart = arith.muli %panels, %hundred : tensor<4xi32>
    %apart_ = tt.expand_dims %apart {axis = 1 : i32} : tensor<4xi32> -> tensor<4x1xi32>
    %block = tt.broadcast %apart_ : tensor<4x1xi32> -> tensor<4x16xi32>
    %place = arith.addi %block, %across_ : tensor<4x16xi32>
    %even = tt.reshape %place : tensor<4x16xi32> -> tensor<64xi32>
    %behind = arith.addi %even, %base : tensor<64xi32>
    tt.return
  }
}
"""


@pytest.fixture
def values():
    operations = parse(TEXT).body.operations
    yield {result.name[1:]: result for op in operations for result in op.results}
    analysis.forget()


def test_what_divides_a_number_at_the_start_of_every_block(values):
    assert [divisor(values[n], 16) for n in ("channel", "range", "moved")] == [16, 16, 1]
    assert divisor(values["fortyeight"], 16) == 48


def test_panels_are_contiguous_within_and_not_across(values):
    assert analysis.stride(values["column"], 0) is None
    assert [stride_within(values["column"], 0, block) for block in (8, 16, 32)] == [1, 1, None]


def test_how_far_blocks_are_apart(values):
    assert [stride_of_blocks(values["behind"], 0, block) for block in (8, 16)] == [None, 100]
    assert stride_of_blocks(values["column"], 0, 16) is None
    assert stride_of_blocks(values["range"], 0, 16) == 16


def test_a_mask_is_uniform_where_it_compares_whole_blocks(values):
    uniform = {name: is_uniform(values[name], 0, 16) for name in ("whole", "part", "unknown")}
    assert uniform == {"whole": True, "part": False, "unknown": False}
    assert is_uniform(values["mask"], 1, 16)
    assert is_uniform(values["mask"], 0, 16)


def test_limits_of_a_mask(values):
    """Only what holds up to a limit, each with its dimension of the mask."""
    assert limits(values["mask"]) == {values["whole"]: 1}
    assert limits(values["part"]) == {values["part"]: 0}
