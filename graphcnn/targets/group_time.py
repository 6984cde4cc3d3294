"""What the kernel of a group, or of a node alone, is predicted to take on a device with a model."""

from __future__ import annotations

from graphcnn.ir import Graph, Refusal
from graphcnn.kernels import ConvProblem, DeviceTraits, Pool, Pooled, by_rule, choices
from graphcnn.ops import Conv
from graphcnn.targets.chain import Chain, chain_of
from graphcnn.targets.lowering import image_size
from graphcnn.targets.price import conv_problem


def group_time(body: Graph, device: DeviceTraits) -> float:
    """Microseconds of one kernel that computes a body. By types alone: the tiles are those that
    channels-last values allow.

    A convolution takes what the model of its tiles says, anything else what moving all that it
    reads and writes takes.
    """
    assert device.moving is not None
    chain = chain_of(body)
    problem = None if isinstance(chain, Refusal) else _in_tiles(chain, body)
    predicted = device.times(problem.dtype) if problem else None
    if isinstance(chain, Refusal) or problem is None or predicted is None:
        names = (*(source.name for source in body.sources), *body.outputs)
        return device.moving(sum(body.type_of(name).nbytes for name in names))
    at = next((at for at, step in enumerate(chain.tail) if isinstance(step, Pool)), None)
    beside = _full_size(chain, body)
    if at is None:
        beside += len(chain.exports) - 1
    else:
        pool, shape = chain.tail[at], chain.anchor.type.shape
        assert isinstance(pool, Pool)
        problem = problem._replace(pooled=Pooled(pool, shape[0], image_size(shape)))
        beside += sum(value <= at for value in chain.exports)
    problem = problem._replace(beside=beside, filters=problem.filters * (2 if chain.gate else 1))
    return predicted(problem, by_rule(problem, choices(problem, device), device).tile)


def _in_tiles(chain: Chain, body: Graph) -> ConvProblem | None:
    """What a chain asks of a kernel that multiplies in tiles, but for its tail; None for others."""
    if not isinstance(chain.anchor.op, Conv) or chain.separable:
        return None
    problem = conv_problem(chain, body)
    return None if problem.depthwise else problem


def _full_size(chain: Chain, body: Graph) -> int:
    """Activations of the output's size before any pool that the tail reads from memory."""
    names = {name for link in chain.links if link is not chain.gate for name in link.inputs}
    read = (value.type for value in body.inputs if value.name in names)
    return sum(type.size == chain.anchor.type.size for type in read)
