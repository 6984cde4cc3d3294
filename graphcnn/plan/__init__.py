"""Steps, where their values live, and the arena that holds them."""

from graphcnn.plan.memory import plan_memory
from graphcnn.plan.plan import Buffer, Location, Lowered, PackedWeight, Plan, Slot, Step
from graphcnn.plan.target import Device, KernelTarget, OperatorTarget, Shadow, Target

__all__ = [
    "Buffer",
    "Device",
    "KernelTarget",
    "Location",
    "Lowered",
    "OperatorTarget",
    "PackedWeight",
    "Plan",
    "Shadow",
    "Slot",
    "Step",
    "Target",
    "plan_memory",
]
