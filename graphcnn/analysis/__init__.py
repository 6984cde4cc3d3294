"""Questions about graphs that passes, planner and reports ask."""

from graphcnn.analysis.liveness import LiveRange as LiveRange
from graphcnn.analysis.liveness import live_ranges as live_ranges
from graphcnn.analysis.traffic import node_traffic as node_traffic
from graphcnn.analysis.traffic import traffic as traffic
