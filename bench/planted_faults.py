"""Small faults planted in a network's weights: does verify find each, and name its node?

    python bench/planted_faults.py [--network NAME] [--layers NAME ...]

In every convolution and linear layer the weights are rounded to tf32 or scaled by 1.001, and in
every convolution the taps of one filter are shifted by one. As a kernel's fault, only the packed
weights that the kernel reads are changed: verify has to name the layer. As a pass's fault, the
compiled graph has such weights as a new param, also scaled by just 1.0001: `report.equivalence` has
to name the layer.
Exits with status 1 when a fault is missed, or found elsewhere, or a sound model fails.
"""

import argparse
import sys
from dataclasses import replace

import numpy as np

import graphcnn as gx
from graphcnn.ir import Array, Graph, Param, inline
from graphcnn.models import build
from graphcnn.report.equivalence import equivalence
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel


def tf32(weight: Array) -> Array:
    """Rounded to 11 significant bits."""
    bits = weight.view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def scaled(weight: Array) -> Array:
    return weight * np.float32(1.001)


def slightly_scaled(weight: Array) -> Array:
    return weight * np.float32(1.0001)


def shifted(weight: Array) -> Array:
    """With the taps of the first filter shifted by one."""
    changed = weight.copy()
    changed[0] = np.roll(changed[0], 1, axis=-1)
    return changed


FAULTS = {
    "tf32": tf32,
    "x 1.001": scaled,
    "shifted taps": shifted,
    "x 1.0001": slightly_scaled,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="vgg11", help="a built-in network")
    parser.add_argument("--layers", nargs="*", help="only these")
    options = parser.parse_args()
    graph = build(options.network)
    layers = [
        node.name
        for node in inline(graph).nodes
        if node.op.name in ("conv2d", "linear") and node.name in (options.layers or node.name)
    ]
    model = gx.compile(graph, device="cpu")
    verdict = gx.verify(model)
    print(verdict)
    missed = int(not verdict.ok)
    for layer in layers:
        param = graph.param_by_name[graph[layer].inputs[1]]
        for name, change in FAULTS.items():
            if change is shifted and param.values.ndim != 4:
                continue
            spoilt = replace(param, data=change(param.values))
            if change is not slightly_scaled:
                missed += kernel_fault(model, layer, name, spoilt)
            missed += pass_fault(graph, layer, name, spoilt)
    print(f"{len(layers)} layers, {missed} missed")
    return int(missed > 0)


def kernel_fault(model: CompiledModel, layer: str, fault: str, param: Param) -> bool:
    """Plant a fault in a kernel's weights, and take it out again; whether it is missed."""
    store, plan = model._weights, model.plan
    packed = [weight for weight in plan.weights if weight.sources == (param.name,)]
    assert packed
    plant(store, packed, {param.name: param})
    verdict = gx.verify(model)
    plant(store, packed, model.graph.param_by_name)
    bad = verdict.first_bad
    found = bad is not None and bad.node == layer and bad.group is not None
    print(f"kernel {layer:10} {fault:12} {'found' if found else 'MISSED'}: {verdict.verdict}")
    return not found


def plant(store, packed, params) -> None:
    for weight in packed:
        store.tensors[weight.name].numpy()[:] = weight.pack(params).reshape(-1)


def pass_fault(graph: Graph, layer: str, fault: str, param: Param) -> bool:
    """Plant a fault in a compiled graph's weights; whether it is missed."""
    flat = inline(graph)
    new = replace(param, name=f"{param.name}.changed")
    nodes = tuple(
        replace(n, inputs=(n.inputs[0], new.name, *n.inputs[2:])) if n.name == layer else n
        for n in flat.nodes
    )
    changed = flat.replace(nodes=nodes, params=(*flat.params, new))
    inputs = {name: array.astype(np.float64) for name, array in example_inputs(flat).items()}
    (check,) = equivalence(flat, changed, inputs)
    found = check.name == layer and check.problem is not None
    size = f"{check.share:.0f} times what is allowed"
    print(f"pass   {layer:10} {fault:12} {'found' if found else 'MISSED'}: {size}")
    return not found


if __name__ == "__main__":
    sys.exit(main())
