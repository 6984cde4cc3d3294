"""Steps, where their values live, and the arena that holds them."""

from graphcnn.plan.memory import plan_memory
from graphcnn.plan.plan import (
    Arithmetic,
    Buffer,
    Call,
    Launch,
    Location,
    Lowered,
    Packing,
    Plan,
    Slot,
    Step,
)
from graphcnn.plan.target import Device, Shadow, Target

__all__ = [
    "Arithmetic",
    "Buffer",
    "Call",
    "Device",
    "Launch",
    "Location",
    "Lowered",
    "Packing",
    "Plan",
    "Shadow",
    "Slot",
    "Step",
    "Target",
    "plan_memory",
]
