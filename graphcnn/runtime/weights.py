"""The constants of a model, packed as its kernels read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from graphcnn.ir import Array, Param, is_frozen, let_go
from graphcnn.plan import Device, Packing
from graphcnn.runtime.boundary import to_tensor, torch_dtype
from graphcnn.runtime.memory import allocate, taking


class WeightStore:
    """A model's constants on its device, shared by the plans of all batch sizes.

    On the CPU, params that nobody can write to are read where they are, if kernels want them as
    they lie there.

    Attributes:
        tensors: Packed weights, by name.
        params: Params as calls read them, by name.
        lent: Names of the packed weights whose memory is the graph's.
    """

    def __init__(self, device: Device, given: Mapping[str, Param]) -> None:
        self._device, self._given = device, given
        self.tensors: dict[str, torch.Tensor] = {}
        self.params: dict[str, torch.Tensor] = {}
        self.lent: frozenset[str] = frozenset()
        self._homes: list[torch.Tensor] = []
        self._packings: dict[str, Packing] = {}

    def pack(self, weights: Iterable[Packing]) -> None:
        """Pack what is not there yet, one after the other.

        Raises:
            MissingWeights: when a param has no data.
            OutOfMemory: when there is no room for them; what was packed until then stays.
        """
        missing = self._missing(weights)
        plain = {w.name: self._arranged(w) for w in missing if w.is_plain}
        lent = self._lend(plain)
        self.tensors.update(lent)
        self.lent |= lent.keys()
        self._packings.update({weight.name: weight for weight in missing if weight.name in lent})
        own = [weight for weight in missing if weight.name not in lent]
        for weight, tensor in zip(own, self._allocate(own), strict=True):
            tensor.copy_(to_tensor(self._arranged(weight).reshape(-1)))
            self.tensors[weight.name], self._packings[weight.name] = tensor, weight
            for source in weight.sources:
                let_go(self._given[source].values)

    def _missing(self, weights: Iterable[Packing]) -> list[Packing]:
        """Those of some constants that are not packed yet."""
        return [weight for weight in weights if weight.name not in self.tensors]

    def sizes(self, weights: Iterable[Packing]) -> list[int]:
        """Bytes of those for which memory is to be taken: on the CPU, not of params as they are."""
        lends = self._device.memory.type == "cpu"
        return [w.nbytes for w in self._missing(weights) if not (lends and w.is_plain)]

    def _arranged(self, weight: Packing) -> Array:
        """The numbers of a constant, on the host."""
        with taking(weight.nbytes, torch.device("cpu")):
            return weight.pack(self._given)

    def _lend(self, arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """Those of some packed arrays that are params as they are, and that kernels may read."""
        if self._device.memory.type != "cpu":
            return {}
        flat = {n: array.reshape(-1) for n, array in arrays.items() if is_frozen(array)}
        return {name: to_tensor(array) for name, array in flat.items()}

    def _allocate(self, weights: Sequence[Packing]) -> list[torch.Tensor]:
        if not weights:
            return []
        homes = allocate([weight.nbytes for weight in weights], self._device.memory)
        # All share one block of memory; under the sanitizer, which has no streams, they do not.
        self._homes.append(homes[0])
        return [h.view(torch_dtype(w.dtype)) for w, h in zip(weights, homes, strict=True)]

    def packed(self, given: Mapping[str, Param]) -> dict[str, Array]:
        """What is packed so far, made of other values.

        Raises:
            MissingWeights: when a param has no data.
        """
        return {name: weight.pack(given) for name, weight in [*self._packings.items()]}

    def replace(self, given: Mapping[str, Param], packed: Mapping[str, Array]) -> bool:
        """Take other values; `packed` are those of them that are packed already.

        Returns:
            Whether some of them are elsewhere than where kernels have been told to read.
        """
        rest = {name: w.pack(given) for name, w in self._packings.items() if name not in packed}
        arrays = {**packed, **rest}
        lent = self._lend(arrays)
        own = [self._packings[name] for name in sorted(self.lent - lent.keys())]
        homes = self._allocate(own)
        moved = bool(self.lent or lent)
        self._given, self.lent = given, frozenset(lent)
        self.tensors.update(lent)
        self.tensors.update({w.name: home for w, home in zip(own, homes, strict=True)})
        for name in arrays.keys() - lent.keys():
            self._device.copy(to_tensor(arrays[name].reshape(-1)), self.tensors[name])
        # These may be the memory of the old values, which are not ours.
        names = [*self.params]
        self.params.clear()
        self.enter(names)
        return moved

    def enter(self, names: Iterable[str]) -> None:
        """Take the params among some names as they are.

        Raises:
            MissingWeights: when one has no data.
            OutOfMemory: when there is no room for it.
        """
        for name in names:
            if name in self._given and name not in self.params:
                param = self._given[name]
                dtype = torch_dtype(param.type.dtype)
                with taking(param.type.nbytes, self._device.memory):
                    self.params[name] = to_tensor(param.values).to(self._device.memory, dtype)

    def hold(self) -> None:
        """Keep the memory, once freed, for the work of the current stream."""
        lent = (self.tensors[name] for name in self.lent)
        self._device.hold(*self._homes, *lent, *self.params.values())
