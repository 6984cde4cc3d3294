"""What the compiler makes of four networks, as text: a refactoring changes nothing here, or shows
what it changed.

`tests/golden/NETWORK/` holds the graph after every pass that changed it (`stages.txt`) and, for a
device and a dtype, what is planned (`DEVICE-DTYPE.plan`) and the arguments of every launch by name
(`DEVICE-DTYPE.launches`). `pytest tests/test_golden.py --update-golden` writes the files anew.
"""

import pytest

from graphcnn.ir import CompileLog, rebatch
from graphcnn.kernels import Launch
from graphcnn.models.lenet import lenet
from graphcnn.models.resnet import resnet18
from graphcnn.models.vgg import vgg16
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.plan import Buffer
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.targets import resolve
from tests import networks
from tests.stand_in_gpu import stand_in_target

NETWORKS = {
    "lenet": lambda dtype: lenet(1, dtype),
    "resnet18": lambda dtype: resnet18(1, dtype),
    "unet_block": lambda dtype: networks.unet_block(64, 16, dtype),
    "vgg16": lambda dtype: vgg16(1, dtype),
}
# Of a device: its target, the dtype that its users choose, and a batch size.
DEVICES = {
    "cpu": (lambda: resolve("triton", "cpu"), "float32", 1),
    "cuda": (lambda: stand_in_target(80)[0], "float16", 8),
}


def stages(graph, target):
    """The graph after every pass that changes it, by the pass's name."""
    log, found = CompileLog(), {"source": graph}
    for step in default_pipeline(target.supports):
        after = run_passes(graph, (step,), log)
        if after != graph:
            found[step.name] = after
        graph = after
    return found


def tile(launch):
    names = [name for name in launch.meta if name.startswith("BLOCK_")]
    sizes = ", ".join(f"{name}={launch.meta[name]}" for name in sorted(names))
    return f"{sizes}, {launch.meta['num_warps']} warps, {launch.meta['num_stages']} stages"


def planned(plan):
    launches = (step.work for step in plan.steps)
    lines = [
        str(plan),
        *(f"{n:3} {x.kernel.__name__} grid {x.grid} {tile(x)}" for n, x in enumerate(launches)),
        *(f"weight {weight.name}" for weight in plan.weights),
    ]
    return "\n".join(lines)


def written(name, argument):
    """Lines `name = value` of an argument, a line for each part of it that has a name."""
    if hasattr(argument, "_asdict"):
        for part, value in argument._asdict().items():
            yield from written(f"{name}.{part}", value)
    else:
        yield f"  {name} = {literal(argument)}"


def literal(argument):
    argument = getattr(argument, "value", argument)  # of a constexpr
    if isinstance(argument, Buffer):
        return f"{argument.name}+{argument.offset}"
    if isinstance(argument, tuple):
        return f"({', '.join(map(literal, argument))})"
    return getattr(argument, "__name__", None) or repr(argument)


def arguments(launch: Launch):
    runtime = [p.name for p in launch.kernel.params if p.name not in launch.meta]
    given = dict(zip(runtime, launch.args, strict=False)) | launch.meta
    for parameter in launch.kernel.params:
        if parameter.name in given:
            yield from written(parameter.name, given[parameter.name])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, golden):
    for device, (make_target, dtype, batch) in DEVICES.items():
        target = make_target()
        source = rebatch(NETWORKS[name](dtype), batch)
        found = stages(source, target)
        if device == "cpu":
            golden(
                f"tests/golden/{name}/stages.txt",
                "\n\n".join(f"# {k}\n{v}" for k, v in found.items()),
            )
        *_, last = found.values()
        plan = CompiledModel(source, last, target, CompileLog()).plan
        golden(f"tests/golden/{name}/{device}-{dtype}.plan", planned(plan))
        lines = []
        for step in plan.steps:
            lines += [f"{step.node}: {step.work.kernel.__name__}", *arguments(step.work)]
        golden(f"tests/golden/{name}/{device}-{dtype}.launches", "\n".join(lines))
