"""One model on several devices of a machine: each computes a part of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphcnn import forks
from graphcnn.analysis import check_apart
from graphcnn.arguments import batch_sizes
from graphcnn.errors import (
    DeviceUnavailable,
    GraphCNNError,
    InputKindError,
    InvalidAttribute,
    shown,
)
from graphcnn.ir import CompileLog, batch_of, by_name
from graphcnn.plan import Device
from graphcnn.runtime.boundary import check_inputs
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.targets.cuda import CudaDevice
from graphcnn.targets.device import Device as KernelDevice
from graphcnn.targets.resolve_device import resolve_device


def parallel(model: CompiledModel, devices: Sequence[str | torch.device]) -> Parallel:
    """A model that splits its batch over several devices, and is called as the model itself.

    On its own device the model computes; on each other one a copy of it, of the same nodes.

    Args:
        model: A compiled model.
        devices: Where the parts of a batch are computed, in order, as `compile` takes one device;
            each once.

    Raises:
        InputKindError: for what is no compiled model, or no list of devices.
        DeviceUnavailable: for a device that is not there, or that the target does not run on.
        InvalidAttribute: for no device, or the same one twice.
        BatchError: naming the node where samples of the batch meet, or that draws random numbers by
            their place in it; or when the graph cannot be re-planned for another batch size.
        MissingWeights: when a param has no data.
    """
    check_model(model)
    if not isinstance(devices, list | tuple):
        raise InputKindError(
            "devices is a list or tuple of devices",
            where="the argument devices",
            got=shown(devices),
            wanted="names of devices, or torch.devices",
            remedy='for example devices=["cuda:0", "cuda:1"]',
        )
    on = model.target.on
    graphs = on.cuda_graph if isinstance(on, CudaDevice) else True
    precision = on.traits.precision if isinstance(on, KernelDevice) else "tf32x3"
    found = [resolve_device(device, graphs, precision) for device in devices]
    if not found or any(device in found[:number] for number, device in enumerate(found)):
        raise InvalidAttribute(
            "the parts of a batch are for different devices",
            where="the argument devices",
            got=", ".join(device.name for device in found) or "no device",
            wanted="at least one device, and each once",
            remedy='for example devices=["cuda:0", "cuda:1"]',
        )
    check_apart(model.source)
    return Parallel(model, [_on(model, device) for device in found])


def _on(model: CompiledModel, device: Device) -> CompiledModel:
    """A model itself where it runs on a device, else a copy that does."""
    if model.target.on == device:
        return model
    target = model.target.at(device)
    if target.on != device:
        raise DeviceUnavailable(
            f"the target '{target.name}' does not run on this device",
            where="the argument devices",
            got=device.name,
            wanted=target.on.name,
            remedy='compile the model for the target "triton"',
        )
    made = (model.source, model.graph, target, CompileLog(), model.optimize, model.binder)
    return CompiledModel(*made)


class Parallel:
    """A model and its copies on other devices, which compute a batch together.

    Calling it takes and returns what the model does, but for `out` and arrays of other libraries
    than NumPy and torch; tensors may be on any device, and results are on that of the first input.
    A batch is split as evenly as can be, the first devices having one sample more, and those for
    which there is no sample nothing to do. Each part has a thread, in which CUDA's streams are the
    caller's current ones. Calls from several threads take turns.

    What a device computes is what the model does for a batch of the part's size there: bit for bit
    that of the whole batch where both take the same kernels.

    Attributes:
        models: A model for each device, in order; `verify`, `explain` and `profile` take each. A
            `refit` of the model that these were made of is followed by the others at the next call.
    """

    def __init__(self, model: CompiledModel, models: Sequence[CompiledModel]) -> None:
        self.models = tuple(models)
        self._model, self._source = model, model.source
        self._lock = forks.lock()
        self.prepare([batch_of(model.source)])

    def __call__(self, /, *arrays: object, **inputs: Any) -> Any:
        """Run the network; arrays without a name are for the first inputs, in the graph's order.

        Raises:
            MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError: for
                arrays that do not fit.
            TooLarge: for a part beyond what the kernels can address.
            The first error of a part, naming its device, when all parts have ended.
        """
        graph = self._model.graph
        inputs = by_name(graph, arrays, inputs)
        batch = check_inputs(graph, inputs) or batch_of(graph)
        cuts = [slice(*ends) for ends in pairwise(accumulate(self._shares(batch), initial=0))]
        parts = [{name: array[cut] for name, array in inputs.items()} for cut in cuts]
        with self._lock:
            while True:
                self._follow()
                results = self._run(parts)
                # A refit in the middle: some parts may be of the old weights, some of the new.
                if self._model.source is self._source:
                    return self._source.returned(self._joined(results))

    def refit(self, weights: Mapping[str, Any] | str | Path, *, strict: bool = True) -> None:
        """Take new values for the params on all devices, as `CompiledModel.refit` does.

        Raises:
            The errors of `CompiledModel.refit`.
        """
        with self._lock:
            self._model.refit(weights, strict=strict)
            self._follow()

    def prepare(self, batches: Sequence[int]) -> None:
        """Compile the kernels, and take the memory, for the parts of batches of some sizes.

        Raises:
            The errors of `CompiledModel.prepare`.
        """
        for batch in batch_sizes(batches):
            for model, share in zip(self.models, self._shares(batch), strict=False):
                with _told(model):
                    model.prepare([share])

    def _shares(self, batch: int) -> list[int]:
        """How many samples of a batch each device has, for those that have some."""
        least, more = divmod(batch, len(self.models))
        return [least + (number < more) for number in range(min(batch, len(self.models)))]

    def _follow(self) -> None:
        """Let the copies have the weights of the model."""
        source = self._model.source
        if source is not self._source:
            weights = {param.name: param.data for param in source.params}
            for copy in self.models:
                if copy is not self._model:
                    copy.refit(weights)
            self._source = source

    def _run(self, parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The outputs of each part by name, where its first input is."""
        like = next(iter(parts[0].values()))
        streams = _streams(self.models, parts[0].values())
        with ThreadPoolExecutor(len(parts)) as pool:  # whose end waits, after Ctrl-C too
            running = [
                pool.submit(_part, model, part, like, streams)
                for model, part in zip(self.models, parts, strict=False)
            ]
            wait(running)
        return [each.result() for each in running]

    def _joined(self, results: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The outputs of the whole batch; one that depends on no input is any part's."""
        whole = []
        for name in self._source.outputs:
            parts = [result[name] for result in results]
            join = torch.cat if isinstance(parts[0], torch.Tensor) else np.concatenate
            whole.append(join(parts) if name in self._source.varying else parts[0])
        return whole


def _streams(models: Sequence[CompiledModel], arrays: Iterable[Any]) -> list[torch.cuda.Stream]:
    """The caller's current stream on each CUDA device that a call has to do with."""
    on = {model.target.on.memory for model in models}
    on |= {array.device for array in arrays if isinstance(array, torch.Tensor)}
    return [torch.cuda.current_stream(device) for device in on if device.type == "cuda"]


def _part(
    model: CompiledModel, part: Mapping[str, Any], like: Any, streams: Sequence[torch.cuda.Stream]
) -> Mapping[str, Any]:
    """The outputs for a part of a batch by name; in a thread, which has streams of its own."""
    for stream in streams:
        torch.cuda.set_stream(stream)
    with _told(model):
        if not isinstance(like, torch.Tensor):
            return model.source.named(model(**part))
        memory = model.target.on.memory
        results = model(**{name: tensor.to(memory) for name, tensor in part.items()})
        named = model.source.named(results)
        return {name: tensor.to(like.device) for name, tensor in named.items()}


@contextmanager
def _told(model: CompiledModel) -> Iterator[None]:
    """Let errors say which device they are of."""
    place = f"on {model.target.on.name}"
    try:
        yield
    except GraphCNNError as error:
        error.where = place if error.where is None else f"{error.where}, {place}"
        raise
    except Exception as error:
        error.add_note(place)
        raise
