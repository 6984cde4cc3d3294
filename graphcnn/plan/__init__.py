"""Steps, where their values live, and the arena that holds them."""

from graphcnn.plan.memory import plan_memory
from graphcnn.plan.plan import Buffer, Location, Lowered, PackedWeight, Plan, Slot, Step
from graphcnn.plan.target import Executor, Target

__all__ = [
    "Buffer",
    "Executor",
    "Location",
    "Lowered",
    "PackedWeight",
    "Plan",
    "Slot",
    "Step",
    "Target",
    "plan_memory",
]
