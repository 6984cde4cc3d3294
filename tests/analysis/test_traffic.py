"""Activation traffic."""

from __future__ import annotations

from graphcnn.analysis import node_traffic, traffic
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
    graph = parse(TEXT)
    moved = [192 + 256, 256 + 256, 256 + 64, 0, 64 + 64]
    assert [node_traffic(node, graph) for node in graph.nodes] == moved
    assert traffic(graph) == sum(moved)


def test_a_group_moves_only_what_crosses_its_border() -> None:
    fused = Fuse().run(parse(TEXT), CompileLog())
    assert node_traffic(fused.nodes[0], fused) == 192 + 256 + 64
    assert traffic(fused) == 192 + 256 + 64 + 2 * 64
