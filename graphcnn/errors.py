"""One class per user mistake; every message says what, where, got against wanted, remedy."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Where:
    """The user's line a node was written on."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class GraphCNNError(Exception):
    """Base of every error graphcnn raises on purpose.

    Args:
        what: The rule that was broken, in one sentence.
        where: The place: a node, a pass, a line of text, a file.
        got: What was found.
        wanted: What the rule asks for.
        remedy: What to change.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        wanted: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.got, self.wanted, self.remedy = what, where, got, wanted, remedy
        super().__init__(what)

    def at(self, where: str) -> GraphCNNError:
        """The same error with its place filled in, unless it is known already."""
        if self.where is None:
            self.where = where
        return self

    def __str__(self) -> str:
        labels = ("where", "got", "wanted", "remedy")
        rows = ((label, getattr(self, label)) for label in labels)
        detail = (f"  {label + ':':8}{_text(value)}" for label, value in rows if value is not None)
        lines = "\n".join((self.what, *detail))
        # A lone surrogate, such as one in a path, cannot be printed.
        return lines.encode("utf-8", "backslashreplace").decode()


class _Shown(reprlib.Repr):
    """Short forms of values that a caller passed, whatever they are.

    An int of 5,000 digits has no repr, a class may raise in its own, and that of a torch tensor
    whose memory was freed ends the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = 20
        self.maxstring = self.maxother = 120

    def repr_int(self, x: int, level: int) -> str:
        digits = 1000
        return super().repr_int(x, level) if abs(x) < 10**digits else f"int of > {digits} digits"

    def repr_instance(self, x: object, level: int) -> str:
        try:
            shape: object = x.shape  # type: ignore[attr-defined]  # arrays have one
        except AttributeError:
            return super().repr_instance(x, level)
        except Exception:
            return f"<{type(x).__name__}>"
        return repr(x) if shape == () else f"<{type(x).__name__} of shape {shape}>"


def shown(value: object) -> str:
    """A caller's value for an error message: its repr, cut short; never fails."""
    try:
        return _Shown().repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def article(noun: str) -> str:
    """A noun with its article, by its first letter: "an add", "a conv2d"."""
    return f"{'an' if noun[:1] in tuple('aeio') else 'a'} {noun}"


def counted(number: int, noun: str) -> str:
    """So many of what a noun names: "1 node", "2 nodes", "10,000 library calls"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(value: object) -> str:
    return shown(value) if isinstance(value, list | tuple) else str(value)


class ShapeError(GraphCNNError):
    """Operand shapes do not fit the operator."""


class RankError(ShapeError):
    """An operand has the wrong number of dimensions."""


class ChannelMismatch(ShapeError):
    """Weights and input disagree on the number of channels."""


class InputTooSmall(ShapeError):
    """The padded input is smaller than the filter or window that slides over it."""


class BatchError(ShapeError):
    """A graph cannot be re-planned for another batch size."""


class InvalidAttribute(GraphCNNError):
    """An attribute of an operator, or an argument of a function, is outside its domain."""


class UnknownDType(GraphCNNError):
    """A dtype that graphcnn does not know."""


class DTypeMismatch(GraphCNNError):
    """Operands of one operator have different dtypes."""


class NonFiniteWeights(GraphCNNError):
    """A parameter holds NaN or infinity."""


class MissingWeights(GraphCNNError):
    """A step needs a parameter's values and the graph has only its type."""


class WeightsMismatch(GraphCNNError):
    """Weights do not fit a graph by name and shape.

    Attributes:
        missing: Params without a tensor.
        unexpected: Tensors without a param.
        shapes: By name, the shape of a tensor and that of its param, where they differ.
    """

    def __init__(
        self,
        what: str,
        *,
        missing: tuple[str, ...] = (),
        unexpected: tuple[str, ...] = (),
        shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(what, **parts)
        self.missing, self.unexpected, self.shapes = missing, unexpected, shapes or {}


class RefitRefused(GraphCNNError):
    """New weights do not go into the compiled plan of a model."""


class InvalidName(GraphCNNError):
    """A name that the text form could not read back."""


class InvalidGraph(GraphCNNError):
    """A graph that breaks a rule of the IR."""


class CyclicGraph(InvalidGraph):
    """A value depends on itself."""


class ParseError(GraphCNNError):
    """Text that is not a graph."""


class UnknownOp(ParseError):
    """An operator name that graphcnn does not have."""


class UnknownNode(GraphCNNError):
    """A name given by the user that the graph does not contain."""


class UnknownModel(GraphCNNError):
    """A network that is neither built in nor a file."""


class PassError(GraphCNNError):
    """A pass produced an invalid graph; names the pass and those before it."""


class FusionRefused(GraphCNNError):
    """`must_fuse` or `must_not_fuse` cannot be obeyed."""


class NotCausal(GraphCNNError):
    """A network cannot be streamed: an output depends on steps that are still to come."""


class UnsupportedOp(GraphCNNError):
    """A target has no lowering for this operator with these attributes."""


class ImportDeviates(GraphCNNError):
    """An imported graph computes something else than the module it was made from."""


class UnsupportedModule(GraphCNNError):
    """A PyTorch module that is no graph: in training mode, or with control flow by its numbers."""


class UnknownTarget(GraphCNNError):
    """A target that graphcnn does not have."""


class TooLarge(GraphCNNError):
    """A tensor or launch exceeds what the kernels can address."""


class DeviceUnavailable(GraphCNNError):
    """The requested device is not on this machine."""


class CaptureFailed(GraphCNNError):
    """The launches of a plan cannot be captured in a CUDA graph.

    Attributes:
        node: Name of the node whose launch failed; None where it was the capture as a whole.
    """

    def __init__(self, what: str, *, node: str | None = None, **parts: Any) -> None:
        super().__init__(what, **parts)
        self.node = node


class GpuUnsupported(DeviceUnavailable):
    """The GPU is older, or newer, than kernels can be compiled for."""


class DriverTooOld(DeviceUnavailable):
    """NVIDIA's driver is older than torch, or what kernels are compiled with, needs."""


class OutOfMemory(GraphCNNError):
    """A device has not the memory that a model takes.

    Attributes:
        nbytes: What could not be taken, in bytes.
        largest_batch: The largest batch for which the memory suffices; None where none was asked
            for, or none fits.
    """

    def __init__(
        self, what: str, *, nbytes: int, largest_batch: int | None = None, **parts: Any
    ) -> None:
        super().__init__(what, **parts)
        self.nbytes, self.largest_batch = nbytes, largest_batch


class KernelFailed(GraphCNNError):
    """A kernel does not run on this device, or computes something else than it should.

    Attributes:
        node: Name of the node that it computes; None where that is not known.
    """

    def __init__(self, what: str, *, node: str | None = None, **parts: Any) -> None:
        super().__init__(what, **parts)
        self.node = node


class MissingInput(GraphCNNError):
    """A call leaves out one of the graph's inputs."""


class UnexpectedInput(GraphCNNError):
    """A call passes an input that the graph does not have."""


class InputShapeError(GraphCNNError):
    """A call passes an array whose shape is not the input's."""


class InputDTypeError(GraphCNNError):
    """A call passes an array whose dtype is not the input's."""


class InputDeviceError(GraphCNNError):
    """A call passes a tensor that is on another device than the model."""


class InputKindError(GraphCNNError):
    """A call passes something that is no array, or arrays of several kinds."""


class OutputShapeError(GraphCNNError):
    """A call passes an array for a result whose shape is not the result's."""


class OutputDTypeError(GraphCNNError):
    """A call passes an array for a result whose dtype is not the result's."""


class OutputDeviceError(GraphCNNError):
    """A call passes a tensor for a result that is on another device than the model."""


class OutputMemoryError(GraphCNNError):
    """A call passes an array for a result that cannot be written, or that is another's memory."""


class IndexOutOfRange(GraphCNNError):
    """A call passes a whole number that names no element."""


class FileProblem(GraphCNNError):
    """A file cannot be read or written."""


class MissingLibrary(GraphCNNError):
    """An optional library is not installed."""


class MissingCompiler(GraphCNNError):
    """There is no working C compiler, for kernels on the CPU or for Triton's launcher."""


class UnsupportedTritonOp(GraphCNNError):
    """A kernel uses a Triton operation that the CPU backend cannot compile."""


class SanitizerFault(GraphCNNError):
    """A kernel run under the sanitizer broke a memory rule."""
