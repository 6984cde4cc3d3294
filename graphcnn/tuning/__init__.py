"""Measuring which kernel, or which way of a library, is fastest for each node on this device."""

from graphcnn.tuning.search import tune as tune
