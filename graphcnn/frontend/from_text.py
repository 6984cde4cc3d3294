"""Graphs from their text form."""

import graphcnn.ops  # noqa: F401 -- importing the ops is what registers them with the parser
from graphcnn.ir.text import parse

__all__ = ["parse"]
