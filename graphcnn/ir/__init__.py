"""The intermediate representation: a frozen, ordered graph of named values."""

from graphcnn.ir.evaluate import bounded, estimated, evaluate, weights
from graphcnn.ir.fused import inline, outline
from graphcnn.ir.graph import Fused, Graph, Node, Param, Value, node_cost
from graphcnn.ir.he_weights import with_he_weights
from graphcnn.ir.log import (
    Choice,
    CompileLog,
    Event,
    Failed,
    Finished,
    Listener,
    Refusal,
    Rewritten,
    Skipped,
    Started,
)
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.rebatch import batch_of, rebatch
from graphcnn.ir.text import parse
from graphcnn.ir.types import DType, TensorType, fitting
from graphcnn.ir.verify import check_data, check_graph, verify

__all__ = [
    "Array",
    "Choice",
    "CompileLog",
    "Cost",
    "DType",
    "Event",
    "Failed",
    "Finished",
    "Fused",
    "Graph",
    "Listener",
    "Node",
    "Op",
    "OpKind",
    "Param",
    "Refusal",
    "Rewritten",
    "Skipped",
    "Started",
    "TensorType",
    "Value",
    "batch_of",
    "bounded",
    "check_data",
    "check_graph",
    "estimated",
    "evaluate",
    "fitting",
    "gamma",
    "inline",
    "node_cost",
    "outline",
    "parse",
    "rebatch",
    "verify",
    "weights",
    "with_he_weights",
]
