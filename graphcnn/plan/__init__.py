"""Steps, where their values live, and the arena that holds them."""

from graphcnn.plan.memory import plan_memory as plan_memory
from graphcnn.plan.plan import Arithmetic as Arithmetic
from graphcnn.plan.plan import Buffer as Buffer
from graphcnn.plan.plan import Call as Call
from graphcnn.plan.plan import Launch as Launch
from graphcnn.plan.plan import Location as Location
from graphcnn.plan.plan import Lowered as Lowered
from graphcnn.plan.plan import Packing as Packing
from graphcnn.plan.plan import Plan as Plan
from graphcnn.plan.plan import Slot as Slot
from graphcnn.plan.plan import Step as Step
from graphcnn.plan.target import Address as Address
from graphcnn.plan.target import Device as Device
from graphcnn.plan.target import Shadow as Shadow
from graphcnn.plan.target import Target as Target
