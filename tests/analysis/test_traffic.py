"""Activation traffic."""

from __future__ import annotations

from graphcnn.analysis import NodeTraffic, traffic
from graphcnn.ir import CompileLog, parse
from graphcnn.passes import Fuse

TEXT = """graph g {
  input x: f32[1,3,8,8]
  param w: f32[4,3,1,1]
  conv: f32[1,4,8,8] = conv2d(x, w)
  sum: f32[1,4,8,8] = add(conv, conv)
  pool: f32[1,4,4,4] = max_pool2d(sum, kernel_size=(2, 2), stride=(2, 2))
  flat: f32[1,64] = flatten(pool)
  soft: f32[1,64] = softmax(flat)
  return soft, sum
}"""


def test_every_operand_is_read_once_and_every_value_written_once() -> None:
    counted = traffic(parse(TEXT))
    assert counted.nodes == (
        NodeTraffic("conv", 192, 256),
        NodeTraffic("sum", 256, 256),
        NodeTraffic("pool", 256, 64),
        NodeTraffic("flat", 0, 0),
        NodeTraffic("soft", 64, 64),
    )
    assert counted.total == 192 + 5 * 256 - 256 + 3 * 64
    assert str(counted).splitlines()[-1].split() == ["total", "1,408"]


def test_a_group_moves_only_what_crosses_its_border() -> None:
    fused = traffic(Fuse().run(parse(TEXT), CompileLog()))
    assert fused.nodes[0] == NodeTraffic("pool", 192, 256 + 64)
    assert fused.total == 192 + 256 + 64 + 2 * 64
