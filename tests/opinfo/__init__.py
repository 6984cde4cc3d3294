"""One table of samples, good and bad, for every operator; it drives every test of an op.

A `Sample` is an op with operand shapes, and `INFO[name].torch` computes the same in PyTorch. A
`Bad` is a way to make an op, which has to be refused there or by `infer`, with the error and a
part of its text. Each family of operators has a file with its part of the table.
"""

from tests.opinfo import (
    activations,
    arithmetic,
    convolutions,
    elementary,
    indexing,
    movement,
    norms,
    pools,
    products,
    random,
    reductions,
    resampling,
)
from tests.opinfo.sample import FLOATS, Bad, OpInfo, Sample

__all__ = ["BAD", "FLOATS", "INFO", "SAMPLES", "Bad", "OpInfo", "Sample"]

INFO: dict[str, OpInfo] = {
    **convolutions.INFO,
    **products.INFO,
    **pools.INFO,
    **norms.INFO,
    **activations.INFO,
    **elementary.INFO,
    **arithmetic.INFO,
    **reductions.INFO,
    **resampling.INFO,
    **indexing.INFO,
    **movement.INFO,
    **random.INFO,
}
SAMPLES = tuple(sample for info in INFO.values() for sample in info.samples)
BAD = tuple((name, bad) for name, info in INFO.items() for bad in info.bad)
