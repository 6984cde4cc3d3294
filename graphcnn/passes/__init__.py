"""Passes: each turns a graph into a graph with the same meaning."""

from graphcnn.passes.base import Pass
from graphcnn.passes.canonicalize import Canonicalize
from graphcnn.passes.fold_batch_norm import FoldBatchNorm
from graphcnn.passes.fuse import Fuse, Supports, accept_every_body
from graphcnn.passes.journal import journal
from graphcnn.passes.pipeline import PASSES, default_pipeline, groups, run_passes
from graphcnn.passes.simplify import Simplify

__all__ = [
    "PASSES",
    "Canonicalize",
    "FoldBatchNorm",
    "Fuse",
    "Pass",
    "Simplify",
    "Supports",
    "accept_every_body",
    "default_pipeline",
    "groups",
    "journal",
    "run_passes",
]
