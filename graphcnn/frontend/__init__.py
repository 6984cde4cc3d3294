"""Ways to get a graph: functions on symbolic tensors."""

from graphcnn.frontend.collect import graph
from graphcnn.frontend.expr import Tensor
from graphcnn.frontend.sources import constant, input, param

__all__ = ["Tensor", "constant", "graph", "input", "param"]
