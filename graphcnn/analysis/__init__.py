"""Questions about graphs that passes, planner and reports ask."""

from graphcnn.analysis.liveness import LiveRange as LiveRange
from graphcnn.analysis.liveness import live_ranges as live_ranges
from graphcnn.analysis.receptive_field import Field as Field
from graphcnn.analysis.receptive_field import ReceptiveField as ReceptiveField
from graphcnn.analysis.receptive_field import receptive_fields as receptive_fields
from graphcnn.analysis.samples import check_apart as check_apart
from graphcnn.analysis.traffic import copy_traffic as copy_traffic
from graphcnn.analysis.traffic import node_bytes as node_bytes
from graphcnn.analysis.traffic import node_traffic as node_traffic
from graphcnn.analysis.traffic import traffic as traffic
