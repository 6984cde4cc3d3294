"""The journal of a compile, and who listens to it because the environment asks for it."""

from __future__ import annotations

import sys
from pathlib import Path

from graphcnn import settings
from graphcnn.errors import FileProblem
from graphcnn.ir import CompileLog, Event, Failed, Finished, Graph, Listener, Started


def journal() -> CompileLog:
    """A log for a new compile.

    `GRAPHCNN_DEBUG=1` prints times and node counts to stderr, 2 also each graph that changed;
    `GRAPHCNN_DUMP=DIR` writes 00-source.gcn, 01-simplify.gcn and so on.
    """
    listeners: list[Listener] = []
    if level := settings.debug_level():
        listeners.append(printing(level))
    if directory := settings.dump_directory():
        listeners.append(dumping(Path(directory)))
    return CompileLog(tuple(listeners))


def printing(level: int) -> Listener:
    """Prints a line for each pass, and from level 2 on the graph where it changed."""

    def listen(event: Event) -> None:
        if not isinstance(event, Finished | Failed):
            return
        line = f"{event.name:18} {1e3 * event.seconds:8.1f} ms  "
        if isinstance(event, Failed):
            print(f"{line}{type(event.error).__name__}", file=sys.stderr)
            return
        nodes = len(event.before.nodes), len(event.after.nodes)
        print(f"{line}{nodes[0]:4} -> {nodes[1]:4} nodes", file=sys.stderr)
        if level >= 2 and event.after != event.before:
            print(event.after, file=sys.stderr)

    return listen


def dumping(directory: Path) -> Listener:
    """Writes the graph as it came and after every pass, as numbered text files.

    The listener raises FileProblem when the directory cannot be written.
    """
    written: list[Path] = []

    def write(stage: str, graph: Graph) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            written.append(directory / f"{len(written):02}-{stage}.gcn")
            written[-1].write_text(f"{graph}\n", encoding="utf-8")
        except OSError as error:
            raise FileProblem(
                "a graph cannot be written",
                where=f"GRAPHCNN_DUMP={directory}",
                got=error,
                remedy="point GRAPHCNN_DUMP at a directory that can be written, or unset it",
            ) from error

    def listen(event: Event) -> None:
        if isinstance(event, Started) and not written:
            write("source", event.graph)
        elif isinstance(event, Finished):
            write(event.name, event.after)

    return listen
