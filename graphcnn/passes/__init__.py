"""Passes: each turns a graph into a graph with the same meaning."""

from graphcnn.passes.base import Pass as Pass
from graphcnn.passes.canonicalize import Canonicalize as Canonicalize
from graphcnn.passes.chains import Supports as Supports
from graphcnn.passes.chains import Time as Time
from graphcnn.passes.demands import groups as groups
from graphcnn.passes.fold_average_pool import FoldAveragePool as FoldAveragePool
from graphcnn.passes.fold_batch_norm import FoldBatchNorm as FoldBatchNorm
from graphcnn.passes.fuse import Fuse as Fuse
from graphcnn.passes.journal import journal as journal
from graphcnn.passes.narrow import Narrow as Narrow
from graphcnn.passes.pipeline import PASSES as PASSES
from graphcnn.passes.pipeline import default_pipeline as default_pipeline
from graphcnn.passes.pipeline import run_passes as run_passes
from graphcnn.passes.simplify import Simplify as Simplify
