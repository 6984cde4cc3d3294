"""Options of the command line: which network, and how it is compiled."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields

from graphcnn.arguments import PRECISIONS
from graphcnn.models import MODELS
from graphcnn.passes import PASSES, Fuse

DEVICES = "auto, cpu, cuda or cuda:1"
STAGES = ("source", *PASSES, "plan")
# Options of a pass that a user may set: groups of node names.
DEMANDS = tuple(option.name for option in fields(Fuse) if option.type == "Names")


def add_network(sub: argparse.ArgumentParser) -> None:
    """The options that say which network."""
    sub.add_argument(
        "network",
        help=f"{', '.join(MODELS)}, torchvision:NAME, or the path of a graph written by gx.save, "
        "or of a program written by torch.export.save (.pt2)",
    )
    sub.add_argument("--batch", type=_at_least(1), help="images per call; 1, or as the file has it")
    sub.add_argument("--dtype", help="float32 (the default), float16 or bfloat16")
    sub.add_argument(
        "--seed", type=_at_least(0), default=0, help="for the input, and missing weights"
    )


def add_run_options(sub: argparse.ArgumentParser) -> None:
    """Those that say how it is compiled, and what of it is printed."""
    sub.add_argument("--device", default="auto", help=DEVICES)
    sub.add_argument("--tune", action="store_true", help="take what was measured to be fastest")
    sub.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="how GPUs multiply float32: as three products of tf32 (the default), one, or as it is",
    )
    sub.add_argument(
        "--no-winograd", action="store_true", help="every sum of products as it is written"
    )
    sub.add_argument("--no-fuse", action="store_true", help="one kernel per operator")
    for demand in DEMANDS:
        sub.add_argument(
            f"--{demand.replace('_', '-')}",
            action="append",
            default=[],
            metavar="A,B,...",
            type=lambda text: tuple(text.split(",")),
            help="node names; may be repeated",
        )
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--emit", choices=STAGES, help="print this stage, as text, and stop")
    form.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _at_least(least: int) -> Callable[[str], int]:
    """The type of an option whose values are whole numbers from `least` on."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return value

    return number
