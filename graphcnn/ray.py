"""Batch inference on Ray Data, past one machine: one compiled model in each worker.

Ray schedules, retries and scales; a worker that dies is replaced, and its batches are computed
again. Ray is an optional library: pip install "ray[data]".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_UN, flock
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from graphcnn import arguments
from graphcnn.analysis import check_apart
from graphcnn.arguments import count
from graphcnn.errors import (
    BatchError,
    GraphCNNError,
    InputKindError,
    InvalidAttribute,
    InvalidName,
    MissingInput,
    MissingLibrary,
    shown,
)
from graphcnn.ir import Array, Graph, batch_of, check_names, rebatch, verify

if TYPE_CHECKING:
    import ray.data

    from graphcnn.kernels import Precision
    from graphcnn.runtime.compiled import CompiledModel


def predict(
    dataset: ray.data.Dataset,
    graph: Graph,
    *,
    batch_size: int | None = None,
    columns: Mapping[str, str] | None = None,
    workers: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    precision: Precision = "tf32x3",
) -> ray.data.Dataset:
    """The rows of a dataset with what a network makes of them; computed when they are read.

    The columns that are the network's inputs are left out, the others kept, and there is a column
    for each output, of its name. Rows come in any order, as Ray Data's do: keep a column that tells
    them apart. Each worker compiles the network once, at its first batch; those of a machine find
    one another's kernels in Triton's cache. The weights are put once into Ray's object store.

    Args:
        dataset: With a column for each input, of its dtype and of the shape of one sample.
        graph: The network; fused groups are taken apart.
        batch_size: Rows of a batch, the last of a block being smaller; that of the graph, if none
            is given.
        columns: The columns of inputs that do not have the input's name, by the input's name.
        workers: Processes, each with a model; if none are given, as many as the cluster has room
            for.
        num_cpus: Processors of each worker, on so many threads of which a CPU's kernels run; Ray's
            default is 1.
        num_gpus: Of each worker: 0 computes on the CPU, 1 on a GPU, and less on one that workers
            share.
        precision: As `compile` takes it.

    Raises:
        MissingLibrary: without Ray.
        InputKindError, InvalidAttribute, UnexpectedInput: for arguments that are none of these.
        InvalidGraph and the other errors of a graph that breaks a rule; MissingWeights.
        BatchError: as `parallel`, and for outputs that have no row for each sample.
        The errors of compiling and calling the network, when rows are read: those of Ray that are
            of the same class, too.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingLibrary(
            "Ray Data is not installed",
            where="graphcnn.ray",
            got=str(error),
            remedy='pip install "ray[data]"',
        ) from error
    if not isinstance(dataset, ray.data.Dataset):
        raise InputKindError(
            "predict reads a dataset of Ray Data",
            where="the argument dataset",
            got=type(dataset).__name__,
            wanted="a ray.data.Dataset",
            remedy='for example ray.data.from_numpy(array), or ray.data.read_images("folder")',
        )
    verify(graph)
    for param in graph.params:
        _ = param.values  # or MissingWeights
    check_apart(graph)
    size = batch_of(graph) if batch_size is None else count(batch_size, "batch_size", 1)
    graph = rebatch(graph, size)
    _check_rows(graph)
    read, asked = _columns(graph, columns), arguments.precision(precision)
    cpus = None if num_cpus is None else _amount(num_cpus, "num_cpus", inf)
    gpus = _amount(num_gpus, "num_gpus", 1) or None
    pool = {} if workers is None else {"size": count(workers, "workers", 1)}
    return dataset.map_batches(
        Worker,
        fn_constructor_args=(ray.put(graph), read, "cuda" if gpus else "cpu", asked),
        batch_size=size,
        compute=ray.data.ActorPoolStrategy(**pool),
        num_cpus=cpus,
        num_gpus=gpus,
        udf_modifying_row_count=False,
    )


def _check_rows(graph: Graph) -> None:
    """Check that each output has a row for each sample."""
    for name in graph.outputs:
        type = graph.type_of(name)
        if name not in graph.varying or type.shape[0] != batch_of(graph):
            raise BatchError(
                "an output of batch inference has a row for each sample",
                where=f"output '{name}'",
                got=f"{type}, for a batch of {batch_of(graph)}"
                if name in graph.varying
                else f"{type}, which depends on no input",
                wanted=f"[{batch_of(graph)}, ...]",
                remedy="reshape it to [-1, ...] with one row for each sample, or leave it out",
            )


def _columns(graph: Graph, given: object) -> dict[str, str]:
    """The column of each input."""
    if given is not None and not (
        isinstance(given, Mapping) and all(isinstance(column, str) for column in given.values())
    ):
        raise InputKindError(
            "columns is a mapping from names of inputs to names of columns",
            where="the argument columns",
            got=shown(given),
            wanted=", ".join(value.name for value in graph.inputs),
            remedy=f'for example columns={{"{graph.inputs[0].name}": "pixels"}}',
        )
    read = {value.name: value.name for value in graph.inputs} | dict(given or {})
    check_names(graph, read)
    return read


def _amount(value: object, argument: str, most: float) -> float:
    """How much of a resource of Ray's a worker takes."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        wanted = f"a number of at least 0{'' if most == inf else f' and at most {most}'}"
        raise InvalidAttribute(
            f"{argument} is {wanted}",
            where=f"the argument {argument}",
            got=shown(value),
            wanted=wanted,
            remedy=f"for example {argument}=1; a worker has one model, on one device",
        )
    return value


class Worker:
    """What a process of Ray's does with batches: columns by name in and out.

    Args:
        graph: The network, in Ray's object store.
        columns: The column of each input.
        device: As `compile` takes it.
        precision: Likewise.
    """

    def __init__(
        self,
        graph: ray.ObjectRef,
        columns: Mapping[str, str],
        device: str,
        precision: Precision = "tf32x3",
    ) -> None:
        self._graph, self._columns, self._device = graph, columns, device
        self._precision = precision

    # At the first batch: an error while a worker starts is for Ray the death of the worker.
    @cached_property
    def model(self) -> CompiledModel:
        """The compiled network."""
        import ray

        from graphcnn.compiler import compile

        with _first_alone():
            graph = ray.get(self._graph)
            return compile(graph, device=self._device, precision=self._precision)

    def __call__(self, batch: dict[str, Array]) -> dict[str, Array]:
        """The columns that are no inputs, and those of the outputs.

        Raises:
            MissingInput: when the dataset lacks the column of an input.
            InvalidName: when an output is called as a column that is kept.
            The errors of compiling and calling the network.
        """
        import ray.data

        try:
            return self._predicted(batch)
        except GraphCNNError:
            # Ray would put an error of its own in the place of ours.
            ray.data.DataContext.get_current().raise_original_map_exception = True
            raise

    def _predicted(self, batch: dict[str, Array]) -> dict[str, Array]:
        read = self._columns
        for name, column in read.items():
            if column not in batch:
                raise MissingInput(
                    f"the dataset has no column for the input '{name}'",
                    where=f"column '{column}'",
                    got=", ".join(batch),
                    wanted=column,
                    remedy=f'name the column that it has: columns={{"{name}": ...}}',
                )
        model = self.model
        results = model.source.named(model(**{name: batch[read[name]] for name in read}))
        kept = {column: rows for column, rows in batch.items() if column not in read.values()}
        for name in kept.keys() & results.keys():
            raise InvalidName(
                "a column of the dataset has the name of an output",
                where=f"column '{name}'",
                got=name,
                wanted=f"other columns than {', '.join(results)}",
                remedy="rename it: dataset.rename_columns({...}), or drop it",
            )
        return {**kept, **results}


@contextmanager
def _first_alone() -> Iterator[None]:
    """One worker of a machine compiles at a time: the next one finds its kernels in the cache."""
    from graphcnn.triton_api import cache_folder

    with ExitStack() as stack:
        with suppress(OSError):  # no folder to write to, or no locks there: each compiles
            cache_folder().mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((cache_folder() / "graphcnn_ray.lock").open("w"))
            flock(file, LOCK_EX)
            stack.callback(flock, file, LOCK_UN)  # a process forked meanwhile has the file, too
        yield
