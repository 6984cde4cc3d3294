"""Which of several ways a node is computed in: what the model says, or what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphcnn.ir import Node, TensorType
from graphcnn.kernels import (
    Choice,
    ConvTile,
    DeviceTraits,
    LinearProblem,
    LinearTile,
    Problem,
    by_rule,
    winograd_conv2d,
)


def undivided(choice: Choice) -> Choice:
    """The same kernel with its whole reduction in one program."""
    tile = choice.tile
    if not isinstance(tile, ConvTile | LinearTile):
        return choice
    return choice._replace(tile=tile._replace(parts=1))


class Called(NamedTuple):
    """A call of the library: one of `targets.ways.WAYS`, and why it takes it."""

    way: str
    because: str


class Policy:
    """Our kernels, each as the model picks it: deterministic, and nothing is measured."""

    def kernel(
        self, anchor: Node, problem: Problem, found: Sequence[Choice], device: DeviceTraits
    ) -> Choice:
        """One of the choices that compute an anchor.

        Args:
            anchor: The convolution or linear layer, which a group may hold.
            problem: What it asks of a kernel; a transposed convolution has one for each phase.
            found: Every kernel and tile that would do.
            device: Where it runs.
        """
        return by_rule(problem, [choice for choice in found if self.allows(choice)], device)

    def allows(self, choice: Choice) -> bool:
        """Whether a choice may be taken at all."""
        return True

    def call(self, node: Node) -> Called | None:
        """The call that computes a node of the graph in place of kernels, if one does."""
        return None


class Direct(Policy):
    """The same, with sums of products as they are written: no minimal filtering."""

    def allows(self, choice: Choice) -> bool:
        """Whether it is no minimal filtering."""
        return choice.launch is not winograd_conv2d


@dataclass
class Noting(Policy):
    """The same, with notes of what was asked and picked.

    Attributes:
        picked: By the name of the anchor, in order, once for each time that it was lowered.
    """

    picked: dict[str, list[tuple[Problem, Choice]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def kernel(
        self, anchor: Node, problem: Problem, found: Sequence[Choice], device: DeviceTraits
    ) -> Choice:
        """As the model picks it."""
        choice = super().kernel(anchor, problem, found, device)
        self.picked[anchor.name].append((problem, choice))
        return choice


MODEL = Policy()
DIRECT = Direct()


@dataclass(frozen=True)
class Following(Policy):
    """What was picked for another batch size, so that no kernel is compiled anew, and another
    policy where that does not serve.

    Attributes:
        base: The other one.
        picked: Choices by the name of the anchor.
    """

    base: Policy
    picked: Mapping[str, Sequence[Choice]]

    def kernel(
        self, anchor: Node, problem: Problem, found: Sequence[Choice], device: DeviceTraits
    ) -> Choice:
        """The first of the anchor's that is among the choices, or would be with its reduction in
        one part: more programs need no parts, and take them rather than another kernel. One row of
        a linear layer has kernels of its own; where they do not serve, any number of rows takes
        what two do."""
        picked = self.picked.get(anchor.name, ())
        serving = (choice for choice in picked if undivided(choice) in found)
        if isinstance(problem, LinearProblem):
            problem = problem._replace(rows=2)
        return next(serving, None) or self.base.kernel(anchor, problem, found, device)

    def allows(self, choice: Choice) -> bool:
        """Whether the other policy allows it."""
        return self.base.allows(choice)

    def call(self, node: Node) -> Called | None:
        """As the other policy has it."""
        return self.base.call(node)


@dataclass(frozen=True)
class Measured(Policy):
    """What was measured to be fastest, and another policy where nothing was.

    Attributes:
        base: The other one.
        kernels: Choices by the name of the anchor and its problem.
        calls: Calls of the library by the name and type of the node.
    """

    base: Policy = MODEL
    kernels: Mapping[tuple[str, Problem], Choice] = field(default_factory=dict)
    calls: Mapping[tuple[str, TensorType], Called] = field(default_factory=dict)

    def kernel(
        self, anchor: Node, problem: Problem, found: Sequence[Choice], device: DeviceTraits
    ) -> Choice:
        """The measured one, where it is among the choices."""
        picked = self.kernels.get((anchor.name, problem))
        if picked is None or picked not in found or not self.allows(picked):
            return self.base.kernel(anchor, problem, found, device)
        return picked

    def allows(self, choice: Choice) -> bool:
        """Whether the other policy allows it."""
        return self.base.allows(choice)

    def call(self, node: Node) -> Called | None:
        """The call that was measured to be faster than kernels, if one was."""
        return self.calls.get((node.name, node.type))
