"""The command line: the library's words, for a built-in network or a saved text graph."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphcnn.cli_options import DEMANDS, DEVICES, add_network, add_run_options
from graphcnn.errors import DTypeMismatch, GraphCNNError
from graphcnn.ir import DType, Failed, Graph, rebatch, with_he_weights
from graphcnn.models import MODELS, PUBLISHED, build
from graphcnn.passes import journal
from graphcnn.progress import doing, told_to
from graphcnn.version import __version__

TORCHVISION = "torchvision:"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 when a model's outputs are wrong; 2 for a mistake of the user's, printed to stderr;
        130 when interrupted; 141 when the reader of stdout has left, as `| head` does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name may have letters that the terminal has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            options = _parser().parse_args(arguments)
            status: int = options.command(options)
        finally:
            print(end="", flush=True)
    except GraphCNNError as error:
        print(f"error[{type(error).__name__}]: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Python writes what is still buffered when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 128 + signal.SIGPIPE
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("graphcnn", description=__doc__)
    parser.add_argument("--version", action="version", version=f"graphcnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the main job: LeNet on real digits, then VGG-16")
    demo.add_argument("--json", metavar="FILE", help="write every result to FILE")
    demo.set_defaults(command=_demo)
    check = commands.add_parser("doctor", help="check this machine: every kernel once, and times")
    check.add_argument("--device", default="auto", help=DEVICES)
    check.add_argument("--json", action="store_true", help="print JSON instead of tables")
    check.set_defaults(command=_doctor)
    for word, text in REPORTS.items():
        sub = commands.add_parser(word, help=text)
        add_network(sub)
        add_run_options(sub)
        sub.set_defaults(command=_report, word=word)
        if word == "tune":
            sub.add_argument(
                "--seconds", type=float, default=60.0, help="how long it may take; 60 by default"
            )
        if word == "gpu-report":
            sub.add_argument(
                "--arch",
                type=lambda text: tuple(text.split(",")),
                metavar="A,B,...",
                help="architectures, such as sm_80,sm_90; of four generations by default",
            )
    predicted = commands.add_parser(
        "estimate", help="predict every kernel's time on a GPU, which need not be here"
    )
    add_network(predicted)
    predicted.add_argument("--on", required=True, metavar="GPU", help="such as h100, a100, rtx4090")
    predicted.add_argument("--json", action="store_true", help="print JSON instead of tables")
    predicted.set_defaults(command=_estimate, word="estimate")
    cache = commands.add_parser("cache", help="list what was measured, or remove it")
    cache.add_argument("--clear", action="store_true", help="remove all of it")
    cache.add_argument("--json", action="store_true", help="print JSON instead of tables")
    cache.set_defaults(command=_cache)
    return parser


def load_network(name: str, batch: int | None, dtype: str | None, seed: int) -> Graph:
    """A built-in network, one of torchvision, or a saved one, weights seeded where it has none.

    Args:
        name: A key of `MODELS`, "torchvision:NAME", or a path.
        batch: Images per call; None is 1, or what the file has.
        dtype: Element type of a network with a name, float32 by default; a file has its own.
        seed: For the weights of torchvision's networks, and those that a file lacks.

    Raises:
        UnknownModel: when `name` is none of them.
        FileProblem: for a path where there is no file that can be read.
        DTypeMismatch: for a dtype that is not the file's.
    """
    if name.startswith(TORCHVISION):
        from graphcnn.torch_import.torchvision_networks import graph as imported

        return imported(name.removeprefix(TORCHVISION), batch or 1, dtype or "float32", seed)
    from graphcnn.loading import load

    path = Path(name)
    looks_like_a_path = path.suffix or len(path.parts) > 1
    if name in MODELS or not (looks_like_a_path or (name and path.exists())):
        return build(name, batch or 1, dtype or "float32")
    graph = load(name)
    others = [value for value in graph.inputs if dtype and value.type.dtype is not DType.of(dtype)]
    if others:
        raise DTypeMismatch(
            "a saved graph has a dtype of its own",
            where=name,
            got=f"--dtype {dtype}, {', '.join(map(str, others))}",
            remedy="leave out --dtype, or build the graph with this dtype and save it again",
        )
    if any(param.data is None for param in graph.params):
        print(f"{name} has no weights beside it: seeded He weights are used", file=sys.stderr)
        graph = with_he_weights(graph, seed)
    return graph if batch is None else rebatch(graph, batch)


def _demands(options: argparse.Namespace) -> dict[str, Any]:
    return {"fuse": not options.no_fuse} | {name: getattr(options, name) for name in DEMANDS}


def _compiled(options: argparse.Namespace, graph: Graph, **changes: Any) -> Any:
    from graphcnn.compiler import compile

    fixed = {
        "device": options.device,
        "precision": options.precision,
        "winograd": not options.no_winograd,
        "tune": options.tune,
    }
    doing("compiling")
    return compile(graph, **(fixed | _demands(options) | changes))


def _side_by_side(options: argparse.Namespace, graph: Graph) -> dict[str, Any]:
    undemanded: dict[str, Any] = dict.fromkeys(DEMANDS, ())
    return {
        "torch": _compiled(options, graph, target="library", tune=False, **undemanded),
        "unfused": _compiled(options, graph, fuse=False, tune=False, **undemanded),
        "fused": _compiled(options, graph, tune=False),
    } | (_tuned(options, graph) if options.tune else {})


def _tuned(options: argparse.Namespace, graph: Graph) -> dict[str, Any]:
    undemanded: dict[str, Any] = dict.fromkeys(DEMANDS, ())
    return {
        "best of torch": _compiled(options, graph, target="library", **undemanded),
        "tuned": _compiled(options, graph),
    }


# Reports by their words on the command line, and what they tell.
REPORTS = {
    "run": "run the network once",
    "verify": "check every kernel against the float64 reference",
    "explain": "which nodes became which kernel, and why the rest did not",
    "compare": "time torch, unfused and fused side by side",
    "profile": "time every kernel",
    "tune": "measure kernels, and torch's ways, for each node, and keep the times",
    "gpu-report": "compile every kernel for GPUs that need not be here, and check its code",
    "inspect": "show the graph: types, receptive fields, parameters, multiply-accumulates",
}


def _result(word: str, options: argparse.Namespace, graph: Graph) -> Any:
    """A report: of a compiled model, by the function of this name, unless another case is here."""
    from graphcnn import report

    match word:
        case "run":
            return report.run_once(_compiled(options, graph), options.seed)
        case "compare":
            return report.compare(_side_by_side(options, graph))
        case "tune":
            from graphcnn.tuning import tune

            return tune(_compiled(options, graph, tune=False), options.seconds)
        case "gpu-report":
            chosen: dict[str, Any] = {"arch": options.arch} if options.arch else {}
            chosen |= {"precision": options.precision, "winograd": not options.no_winograd}
            return report.gpu_report(graph, **chosen, **_demands(options))
        case "inspect":
            return replace(report.inspect(graph), published=PUBLISHED.get(options.network))
    return getattr(report, word)(_compiled(options, graph))


def _stage(options: argparse.Namespace, graph: Graph) -> object:
    """What `--emit` asks for: the graph after a pass, or the plan."""
    if options.emit == "plan":
        return _compiled(options, graph).plan
    from graphcnn.compiler import optimize
    from graphcnn.targets import resolve

    log = journal()
    try:
        target = resolve("triton", options.device, options.precision, not options.no_winograd)
        optimize(graph, target, log, **_demands(options))
    except GraphCNNError:
        # A pass behind the stage may fail.
        if options.emit not in log.graphs or not log.of(Failed):
            raise
    return log.graphs[options.emit]


def _network(options: argparse.Namespace) -> Graph:
    with _telling_progress(f"{options.word} {Path(options.network).name}"):
        return load_network(options.network, options.batch, options.dtype, options.seed)


def _report(options: argparse.Namespace) -> int:
    graph = _network(options)
    if options.emit is not None:
        print(_stage(options, graph))
        return 0
    with _telling_progress(f"{options.word} {Path(options.network).name}"):
        result = _result(options.word, options, graph)
    return _printed(result, options)


def _estimate(options: argparse.Namespace) -> int:
    from graphcnn.report import estimate

    graph = _network(options)
    return _printed(estimate(graph, device=options.on), options)


def _printed(result: Any, options: argparse.Namespace) -> int:
    """A report's exit status, once it is printed."""
    print(json.dumps(result.to_json(), indent=2) if options.json else result)
    if getattr(result, "interrupted", False):
        return 128 + signal.SIGINT
    return 0 if getattr(result, "ok", True) else 1


def _cache(options: argparse.Namespace) -> int:
    from graphcnn.tuning.kept import clear, kept

    return _printed(clear() if options.clear else kept(), options)


def _doctor(options: argparse.Namespace) -> int:
    from graphcnn.doctor import doctor

    with _telling_progress("doctor"):
        result = doctor(options.device)
    return _printed(result, options)


@contextmanager
def _telling_progress(command: str) -> Iterator[None]:
    """Within, a line on stderr says what the command is doing, where that is a terminal; it is gone
    at the end.

    It is drawn when it changes, and not from time to time by a thread, which would disturb what is
    timed.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as line:

        def show(text: str) -> None:
            shown = Text(f"{command}: {text}", no_wrap=True, overflow="ellipsis")
            line.update(shown, refresh=True)

        show("starting")
        with told_to(show):
            yield


def _demo(options: argparse.Namespace) -> int:
    from graphcnn.demo import demo

    return demo(options.json)
