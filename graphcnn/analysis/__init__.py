"""Questions about graphs that passes, planner and reports ask."""

from graphcnn.analysis.liveness import LiveRange, live_ranges
from graphcnn.analysis.traffic import NodeTraffic, Traffic, traffic

__all__ = ["LiveRange", "NodeTraffic", "Traffic", "live_ranges", "traffic"]
