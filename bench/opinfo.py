"""How much of PyTorch's own operator samples `from_torch` takes, and whether it is right.

    python bench/opinfo.py [--family NAME ...] [--samples N] [--target library] [--json FILE]

Reads the tables of torch.testing: `op_db` (OpInfo), for the operators of `FAMILIES`, and
`module_db` (ModuleInfo). Every sample input in float32 goes through a module of its own,
`from_torch`, and a compiled model, and the result is compared with torch's within 1e-4 of its
range. `errors` are OpInfo's error inputs of the same operators, which torch itself refuses.

A sample passes, is refused with an error of graphcnn, is wrong, or ends in a foreign exception; a
result for an error input is wrong. Of several results those in floating point count: a pool's
places are no part of inference. Samples that are outside of what a CNN compiler is for are counted
apart, unless they end in a wrong result or a foreign exception: empty tensors, calls without a
tensor in float32, results in another dtype, random numbers, and norms in training mode. Exits with
status 1 when a sample is wrong or foreign.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import graphcnn as gx
from graphcnn.errors import GraphCNNError

# By PyTorch's names; F stands for nn.functional.
FAMILIES = {
    "conv": (
        "F.conv1d F.conv2d F.conv_transpose1d F.conv_transpose2d F.linear matmul mm bmm "
        "addmm baddbmm mv dot"
    ),
    "pool": (
        "F.max_pool1d F.max_pool2d F.avg_pool1d F.avg_pool2d F.adaptive_avg_pool1d "
        "F.adaptive_avg_pool2d F.adaptive_max_pool1d F.adaptive_max_pool2d"
    ),
    "norm": (
        "F.batch_norm F.group_norm F.layer_norm F.instance_norm F.local_response_norm "
        "F.normalize F.rms_norm softmax log_softmax F.softmin"
    ),
    "activation": (
        "F.relu F.relu6 F.leaky_relu F.elu F.selu F.celu F.gelu F.silu F.mish F.hardtanh "
        "F.hardswish F.hardsigmoid F.softplus F.softsign F.tanhshrink F.softshrink "
        "F.hardshrink F.logsigmoid F.prelu F.rrelu F.threshold F.glu sigmoid tanh clamp "
        "clamp_min clamp_max"
    ),
    "pointwise": (
        "add sub mul div true_divide rsub neg abs exp log sqrt rsqrt square reciprocal erf "
        "sin cos pow maximum minimum where masked_fill addcmul addcdiv lerp positive"
    ),
    "shape": (
        "reshape view flatten unflatten squeeze unsqueeze permute transpose t cat stack "
        "split chunk narrow expand expand_as repeat tile roll flip movedim unbind hstack "
        "vstack F.pixel_shuffle F.pixel_unshuffle F.channel_shuffle F.pad F.interpolate "
        "F.upsample_nearest F.upsample_bilinear contiguous clone reshape_as view_as ravel "
        "atleast_2d"
    ),
    "reduction": ("mean sum amax amin var std logsumexp linalg.vector_norm norm max min"),
    "indexing": ("index_select select gather __getitem__ select_scatter slice_scatter F.embedding"),
}
MODULES = (
    "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AlphaDropout "
    "AvgPool1d AvgPool2d BatchNorm1d BatchNorm2d CELU ChannelShuffle CircularPad1d "
    "CircularPad2d ConstantPad1d ConstantPad2d Conv1d Conv2d ConvTranspose1d "
    "ConvTranspose2d Dropout Dropout1d Dropout2d ELU Embedding Flatten GELU GLU GroupNorm "
    "Hardshrink Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d InstanceNorm2d "
    "LPPool1d LPPool2d LayerNorm LazyConv1d LeakyReLU Linear LocalResponseNorm LogSigmoid "
    "LogSoftmax MaxPool1d MaxPool2d Mish PReLU PixelShuffle PixelUnshuffle RMSNorm RReLU "
    "ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReplicationPad1d ReplicationPad2d SELU SiLU "
    "Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink "
    "Threshold Unflatten Upsample ZeroPad1d ZeroPad2d"
)


VERDICTS = ("passed", "refused", "wrong", "foreign", "outside")
PEACEFUL = ("passed", "refused")


class Called(torch.nn.Module):
    """A function on tensors that are inputs; masks and all other arguments are fixed."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.leaves, self.spec = tree_flatten((args, kwargs))
        self.places = [
            place
            for place, leaf in enumerate(self.leaves)
            if isinstance(leaf, torch.Tensor) and leaf.dtype is not torch.bool
        ]

    def forward(self, *tensors: torch.Tensor) -> Any:
        """The function's result."""
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self.spec)
        made = self.function(*args, **kwargs)
        if isinstance(made, torch.Tensor):
            return made
        values = [one for one in tree_leaves(made) if one.dtype.is_floating_point]
        return values or made


@dataclass(frozen=True)
class Outcome:
    """What became of a sample: "passed", "refused", "wrong", "foreign" or "outside"."""

    family: str
    op: str
    verdict: str
    reason: str = ""


def samples(family: str, most: int | None) -> Iterator[tuple[str, torch.nn.Module, list[Any]]]:
    """The samples of a family: name, module, inputs."""
    wanted = FAMILIES[family].replace("F.", "nn.functional.").split()
    for info in op_db:
        if info.name not in wanted or torch.float32 not in info.dtypes:
            continue
        title = f"{info.name}.{info.variant_test_name}".rstrip(".")
        drawn = info.sample_inputs("cpu", torch.float32, requires_grad=False)
        for number, sample in enumerate(drawn):
            if most is not None and number >= most:
                break
            if sample.kwargs.get("training"):
                continue
            module = Called(info.op, (sample.input, *sample.args), sample.kwargs).eval()
            yield title, module, [module.leaves[place] for place in module.places]


def module_samples(most: int | None) -> Iterator[tuple[str, torch.nn.Module, list[Any]]]:
    """The samples of ModuleInfo, in eval mode."""
    for info in module_db:
        name = info.module_cls.__name__
        if name not in MODULES.split():
            continue
        drawn = info.module_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
        )
        for number, sample in enumerate(drawn):
            if most is not None and number >= most:
                break
            made, called = sample.constructor_input, sample.forward_input
            if called is None:
                continue
            module = info.module_cls(*made.args, **made.kwargs).eval()
            given = Called(module, called.args, called.kwargs).eval()
            yield f"nn.{name}", given, [given.leaves[place] for place in given.places]


def error_samples(most: int | None) -> Iterator[tuple[str, torch.nn.Module, list[Any]]]:
    """OpInfo's error inputs of all families, those that torch refuses when it is called."""
    wanted = " ".join(FAMILIES.values()).replace("F.", "nn.functional.").split()
    for info in op_db:
        if info.name not in wanted or info.error_inputs_func is None:
            continue
        title = f"{info.name}.{info.variant_test_name}".rstrip(".")
        for number, bad in enumerate(info.error_inputs("cpu")):
            if most is not None and number >= most:
                break
            sample = bad.sample_input
            module = Called(info.op, (sample.input, *sample.args), sample.kwargs).eval()
            yield title, module, [module.leaves[place] for place in module.places]


def judged(module: torch.nn.Module, inputs: list[Any], target: str) -> tuple[str, str]:
    """The verdict on a sample, and why."""
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            wanted = tree_leaves(module(*[x.clone() for x in inputs]))
            torch.manual_seed(1)
            again = tree_leaves(module(*[x.clone() for x in inputs]))
    except Exception as error:
        return "outside", f"torch fails: {type(error).__name__}"
    tensors = [one for one in wanted if isinstance(one, torch.Tensor)]
    verdict, reason = _compared(module, inputs, tensors, target)
    outside = _outside(inputs, tensors, again)
    return ("outside", outside) if outside and verdict in PEACEFUL else (verdict, reason)


def judged_error(module: torch.nn.Module, inputs: list[Any]) -> tuple[str, str]:
    """The verdict on an error input, and why."""
    try:
        with torch.no_grad():
            module(*[x.clone() for x in inputs])
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    else:
        return "outside", "torch does not fail"
    try:
        gx.from_torch(module, *inputs)
    except GraphCNNError as error:
        return "refused", str(error)
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    return "wrong", f"a graph, where torch raises {raised}"


def _compared(
    module: torch.nn.Module, inputs: list[Any], tensors: list[torch.Tensor], target: str
) -> tuple[str, str]:
    try:
        graph = gx.from_torch(module, *inputs)
        compiled = gx.compile(graph, target=target)
        names = [value.name for value in graph.inputs]
        kept = {n: x for n, x in _named(inputs).items() if n in names}
        found = compiled(**kept)
    except GraphCNNError as error:
        return "refused", str(error)
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    found = [graph.named(found)[n] for n in graph.outputs]
    if len(found) != len(tensors):
        return "wrong", f"{len(found)} outputs, not {len(tensors)}"
    for got, want in zip(found, tensors, strict=True):
        if tuple(got.shape) != tuple(want.shape):
            return "wrong", f"shape {tuple(got.shape)}, not {tuple(want.shape)}"
        difference = np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64))
        scale = np.abs(np.asarray(want, np.float64))
        finite = np.isfinite(scale)
        same = np.asarray(got)[~finite], np.asarray(want)[~finite]
        if not np.array_equal(*same, equal_nan=True):
            return "wrong", "NaN or infinity at other places"
        if finite.any() and difference[finite].max() > 1e-4 * max(scale[finite].max(), 1e-30):
            return "wrong", f"off by {difference[finite].max():.2g}"
    return "passed", ""


def _named(inputs: list[Any]) -> dict[str, Any]:
    """torch.export calls the inputs of `*tensors` tensors_0, tensors_1, ..."""
    return {f"tensors_{number}": x for number, x in enumerate(inputs)}


def _outside(inputs: list[Any], outputs: list[torch.Tensor], again: list[Any]) -> str:
    if not any(x.dtype is torch.float32 for x in inputs):
        return "no input in float32"
    if any(x.numel() == 0 for x in (*inputs, *outputs)):
        return "an empty tensor"
    if not outputs or any(x.dtype not in (torch.float32, torch.int64) for x in outputs):
        return "a result in another dtype"
    for one, other in zip(outputs, again, strict=False):
        if isinstance(other, torch.Tensor) and not torch.equal(
            one.nan_to_num(), other.nan_to_num()
        ):
            return "random numbers"
    return ""


def run(families: list[str], most: int | None, target: str) -> list[Outcome]:
    """The outcome of every sample."""
    found = []
    for family in families:
        if family == "errors":
            drawn = error_samples(most)
            found += [Outcome(family, op, *judged_error(*sample)) for op, *sample in drawn]
        else:
            drawn = module_samples(most) if family == "modules" else samples(family, most)
            found += [Outcome(family, op, *judged(*sample, target)) for op, *sample in drawn]
    return found


def counts(outcomes: list[Outcome]) -> dict[str, dict[str, int]]:
    """How many of each verdict there are, by family; "all" is without error inputs."""
    families = dict.fromkeys(one.family for one in outcomes)
    found = {name: Counter(o.verdict for o in outcomes if o.family == name) for name in families}
    found["all"] = Counter(one.verdict for one in outcomes if one.family != "errors")
    return {name: {verdict: of[verdict] for verdict in VERDICTS} for name, of in found.items()}


def reasons(outcomes: list[Outcome], verdict: str) -> list[dict[str, Any]]:
    """Why samples of a verdict have it: operator, reason and how many."""
    found = Counter((o.op, _brief(o.reason)) for o in outcomes if o.verdict == verdict)
    return [{"op": op, "reason": why, "samples": n} for (op, why), n in found.most_common()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", nargs="*", default=[*FAMILIES, "modules", "errors"])
    parser.add_argument("--samples", type=int, help="at most so many for each operator")
    parser.add_argument("--target", default="numpy")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    outcomes = run(options.family, options.samples, options.target)
    sys.exit(report(outcomes, options.target, options.json))


def report(outcomes: list[Outcome], target: str, file: Path | None) -> int:
    """Print the tables, write them to a file, and return the exit status."""
    table = counts(outcomes)
    print(f"{'family':12}" + "".join(f"{v:>9}" for v in VERDICTS) + "   passed of inside")
    for family, count in table.items():
        inside = sum(count[verdict] for verdict in VERDICTS[:4])
        numbers = "".join(f"{count[verdict]:9}" for verdict in VERDICTS)
        share = "" if family == "errors" else f"   {100 * count['passed'] / max(1, inside):.1f} %"
        print(f"{family:12}{numbers}{share}")
    judged = [one for one in outcomes if one.family != "errors" or one.verdict != "refused"]
    for verdict in VERDICTS[1:]:
        print(f"\n{verdict}:")
        for row in reasons(judged, verdict):
            print(f"  {row['samples']:4} {row['op']}: {row['reason']}")
    if file is not None:
        head = {"torch": torch.__version__, "target": target, "samples": table}
        rows = {verdict: reasons(judged, verdict) for verdict in VERDICTS[1:4]}
        file.write_text(json.dumps(head | rows, indent=1) + "\n")
    return int(any(count["wrong"] + count["foreign"] for count in table.values()))


def _brief(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    inner = [line for line in lines if line.startswith("aten.")]
    text = inner[0] if inner else " | ".join(lines[:3])
    return re.sub(r" x 1 in [^(]*\([^)]*\)", "", text)[:230]


if __name__ == "__main__":
    main()
