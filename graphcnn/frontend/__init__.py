"""Ways to get a graph: functions on symbolic tensors."""

from graphcnn.frontend.expr import Tensor, graph, input, param

__all__ = ["Tensor", "graph", "input", "param"]
