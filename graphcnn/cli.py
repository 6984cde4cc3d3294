"""The command line: the library's words, for a built-in network or a saved text graph."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphcnn.errors import GraphCNNError
from graphcnn.ir import Graph, inline, with_he_weights
from graphcnn.models import MODELS, build

STAGES = ("source", "simplify", "canonicalize", "fold-batch-norm", "fuse", "plan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 when a verification failed; 2 for a mistake of the user's, printed to stderr.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except GraphCNNError as error:
        print(f"error[{type(error).__name__}]: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("graphcnn", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the main job: LeNet on real digits, then VGG-16")
    demo.add_argument("--json", metavar="FILE", help="write every result to FILE")
    demo.set_defaults(command=_demo)
    words: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
        "run": (_run, "run the network once"),
        "verify": (_verify, "check every kernel against the float64 reference"),
        "explain": (_explain, "which nodes became which kernel, and why the rest did not"),
        "compare": (_compare, "time torch, unfused and fused side by side"),
        "profile": (_profile, "time every kernel"),
        "inspect": (_inspect, "show the graph: types, parameters, multiply-accumulates"),
    }
    for word, (command, text) in words.items():
        sub = commands.add_parser(word, help=text)
        _add_network_options(sub)
        sub.set_defaults(command=command)
    return parser


def _add_network_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "network", help=f"{', '.join(MODELS)}, or the path of a graph written by gx.save"
    )
    sub.add_argument("--batch", type=_positive, default=1, help="images per call")
    sub.add_argument("--dtype", default="float32", help="float32, float16 or bfloat16")
    sub.add_argument("--device", default="auto", help="auto, cuda or cpu")
    sub.add_argument("--no-fuse", action="store_true", help="one kernel per operator")
    for demand in ("--must-fuse", "--must-not-fuse"):
        sub.add_argument(
            demand,
            action="append",
            default=[],
            metavar="A,B,...",
            type=lambda text: tuple(text.split(",")),
            help="node names; may be repeated",
        )
    sub.add_argument("--seed", type=int, default=0, help="for the input, and missing weights")
    sub.add_argument("--emit", choices=STAGES, help="print this stage and stop")
    sub.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def load_network(name: str, batch: int, dtype: str, seed: int) -> Graph:
    """A built-in network, or a saved one with seeded weights where the file has none.

    Raises:
        UnknownModel: when `name` is neither.
    """
    from graphcnn.files import load
    from graphcnn.ir import rebatch

    if name in MODELS or not Path(name).exists():
        return build(name, batch, dtype)
    graph = load(name)
    if any(param.data is None for param in graph.params):
        print(f"{name} has no weights beside it: seeded He weights are used", file=sys.stderr)
        graph = with_he_weights(graph, seed)
    return graph if batch == 1 else rebatch(graph, batch)


def _network(options: argparse.Namespace) -> Graph:
    return load_network(options.network, options.batch, options.dtype, options.seed)


def _compiled(options: argparse.Namespace, graph: Graph, **changes: Any) -> Any:
    from graphcnn.compiler import compile

    chosen = {
        "device": options.device,
        "fuse": not options.no_fuse,
        "must_fuse": options.must_fuse,
        "must_not_fuse": options.must_not_fuse,
    }
    return compile(graph, **(chosen | changes))


def _emitted(options: argparse.Namespace, graph: Graph) -> bool:
    """Print the stage that `--emit` asks for; False when it asks for none."""
    if options.emit is None:
        return False
    if options.emit == "plan":
        print(_compiled(options, graph).plan)
        return True
    from graphcnn.ir import CompileLog
    from graphcnn.passes import default_pipeline, run_passes
    from graphcnn.targets import resolve

    target = resolve("triton", options.device)
    passes = default_pipeline(
        target.supports,
        must_fuse=options.must_fuse,
        must_not_fuse=options.must_not_fuse,
        fuse=not options.no_fuse,
    )
    names = ["source", *(step.name for step in passes)]
    count = names.index(options.emit) if options.emit in names else len(passes)
    print(run_passes(inline(graph), passes[:count], CompileLog()))
    return True


def _show(options: argparse.Namespace, result: Any) -> None:
    print(json.dumps(result.to_json(), indent=2) if options.json else result)


def _run(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import run_once

    _show(options, run_once(_compiled(options, graph), seed=options.seed))
    return 0


def _verify(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import verify

    result = verify(_compiled(options, graph))
    _show(options, result)
    return 0 if result.ok else 1


def _explain(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import explain

    _show(options, explain(_compiled(options, graph)))
    return 0


def _compare(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import compare

    models = {
        "torch": _compiled(options, graph, target="library"),
        "unfused": _compiled(options, graph, fuse=False, must_fuse=(), must_not_fuse=()),
        "fused": _compiled(options, graph),
    }
    _show(options, compare(models))
    return 0


def _profile(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import profile

    _show(options, profile(_compiled(options, graph)))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    graph = _network(options)
    if _emitted(options, graph):
        return 0
    from graphcnn.report import inspect

    _show(options, inspect(graph))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from graphcnn.demo import demo

    return demo(options.json)
