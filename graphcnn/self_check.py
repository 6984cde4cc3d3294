"""The first run of a kernel on a device: judged before it is trusted.

Machine code that never ran on a device, with its driver, runs on seeded inputs in the very plan
that needs it, and what it makes of the first sample is compared with the float64 reference; of
several nodes that share it, the one that costs least is judged. Where it is wrong, or does not run,
the same kernel takes its place with 4 warps, as most kernels have them. What was found is kept on
the disk, so that the next process runs nothing. The reference of the 32 kernels of ResNet-50 takes
1.1 s on two cores, of the 15 of VGG-16 5.1 s, half of them for the first linear layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from fcntl import LOCK_EX

import numpy as np

from graphcnn import triton_api
from graphcnn.analysis import check_apart
from graphcnn.disk import keep, locked
from graphcnn.errors import BatchError, CaptureFailed, FileProblem, KernelFailed, counted
from graphcnn.ir import Array, CompileLog, Graph, Node, Refusal, rebatch, weights
from graphcnn.kernels import Launch
from graphcnn.plan import Call, Device, Plan, Step
from graphcnn.progress import doing
from graphcnn.report.deviation import deviation
from graphcnn.report.schedule import arithmetic, steps_of
from graphcnn.runtime.boundary import example_inputs, to_tensor
from graphcnn.runtime.executor import Executor
from graphcnn.triton_problems import REPORT

RULE = "first run"
WARPS = 4


class SelfCheck:
    """Binds plans to memory, and judges the kernels that are new to a device.

    Args:
        device: The device.
        log: Is told which kernels are replaced, and why.
    """

    def __init__(self, device: Device, log: CompileLog) -> None:
        self._device, self._log = device, log
        self._verdicts = Verdicts(device.identity or "")
        self._silent: set[str] = set()  # machine code that has run here, and nobody could judge

    def bind(self, make: Callable[[Plan], Executor], plan: Plan) -> Executor:
        """An executor of a plan, or of one with other warps, whose kernels are right here.

        Args:
            make: What binds a plan to memory.
            plan: What is wanted.

        Raises:
            KernelFailed: for a kernel that is wrong, or does not run, with 4 warps too.
        """
        while True:
            try:
                executor = make(plan)
            except (KernelFailed, CaptureFailed) as failed:
                if failed.node is None or not _replaceable(steps_of(plan)[failed.node]):
                    raise
                because = f"{failed.what}: {failed.got}"
                plan = self._with_fewer_warps(plan, {failed.node: because})
                continue
            bad = self._bad(executor) or self._run(executor)
            if not bad:
                return executor
            plan = self._with_fewer_warps(executor.plan, bad)

    def _bad(self, executor: Executor) -> dict[str, str]:
        """What is known to be wrong with the kernels of nodes."""
        found: dict[str, str] = {}
        for step, code in self._codes(executor):
            if because := self._verdicts.found.get(code):
                found[step.node] = because
        return found

    def _codes(self, executor: Executor) -> list[tuple[Step, str]]:
        """The steps that are launches, with what names their machine code."""
        pairs = ((step, self._device.code_of(run)) for step, run in executor.steps())
        return [(step, code) for step, code in pairs if code is not None]

    def _new(self, executor: Executor) -> dict[str, set[str]]:
        """Nodes whose first runs show all the machine code that is new here, and which they show:
        as cheap ones as can be."""
        codes: dict[str, set[str]] = {}
        for step, code in self._codes(executor):
            codes.setdefault(step.node, set()).add(code)
        cost = {step.node: step.cost.flops + step.cost.reads for step in executor.plan.steps}
        seen, found = {*self._verdicts.found, *self._silent}, dict[str, set[str]]()
        for node in sorted(codes, key=cost.__getitem__):
            if new := codes[node] - seen:
                found[node] = new
                seen |= new
        return found

    def _run(self, executor: Executor) -> dict[str, str]:
        """Run a plan, and judge what is new in it; the first node that is wrong, and why."""
        new = self._new(executor)
        if not new:
            return {}
        doing(f"first run of {counted(len(new), 'kernel')} on {self._device.name}")
        graph, steps = executor.graph, steps_of(executor.plan)
        one = _of_one_sample(graph)
        inputs = {name: to_tensor(array) for name, array in example_inputs(one).items()}
        executor.load(
            {v.name: inputs[v.name].expand(v.type.shape) for v in graph.inputs}, poison=True
        )
        try:
            running = iter(executor.steps())
            for node, single in zip(graph.nodes, one.nodes, strict=True):
                runs = [next(running)[1] for _ in steps.get(node.name, ())]
                if node.name not in new:
                    for run in runs:
                        run()
                    continue
                because = self._judge(executor, one, single, steps[node.name], runs)
                if because:
                    self._blame(executor, node, new[node.name], because)
                    return {node.name: because}
                if because is None:
                    self._verdicts.found |= dict.fromkeys(new[node.name])
                else:
                    self._silent |= new[node.name]
        finally:
            self._verdicts.keep()
            executor.loans.take_back()
        return {}

    def _judge(
        self,
        executor: Executor,
        one: Graph,
        node: Node,
        steps: tuple[Step, ...],
        runs: Iterable[Callable[[], None]],
    ) -> str | None:
        """Run a node: what is wrong with it, or None; "" where its operands say nothing."""
        self._device.finish()
        read = {name: _first(executor, one, name) for name in node.inputs if not one.is_param(name)}
        try:
            for run in runs:
                run()
            self._device.finish()
        except RuntimeError as error:
            if "out of memory" in str(error):
                raise
            return f"it does not run: {str(error).partition(chr(10))[0]}"
        if not all(np.isfinite(array).all() for array in read.values()):
            return ""
        params = {
            name: weights(one.param_by_name[name]) for name in node.inputs if name not in read
        }
        computed = {value.name: _first(executor, one, value.name) for value in node.outputs}
        dtypes = {value.name: value.type.dtype for value in node.outputs}
        found = deviation(node.members, read | params, computed, dtypes, arithmetic(steps))
        return found.problem

    def _blame(self, executor: Executor, node: Node, new: set[str], because: str) -> None:
        """Note which machine code of a node is wrong: that of other warps than 4.

        Raises:
            KernelFailed: where it has 4, so that there is no other, or where the device has
                stopped: some errors end all that a process does with it.
        """
        own = [pair for pair in self._codes(executor) if pair[0].node == node.name]
        fresh = [(step, code) for step, code in own if code in new]
        suspect = {code: because for step, code in fresh if _replaceable([step])}
        self._verdicts.found |= suspect
        names = sorted({s.work.kernel.__name__ for s, _ in fresh if not isinstance(s.work, Call)})
        where = f"{node.place}, {' and '.join(names)} on {self._device.identity}"
        try:
            self._device.synchronize()
        except RuntimeError as error:
            raise KernelFailed(
                "a kernel has stopped the device for this process",
                where=where,
                got=because,
                remedy=f"start the program again; {REPORT}",
                node=node.name,
            ) from error
        if not suspect:
            raise KernelFailed(
                "a kernel is wrong on this device, and there is no other for it",
                where=where,
                got=because,
                wanted="the float64 reference, within the bound on rounding",
                remedy=REPORT,
                node=node.name,
            )

    def _with_fewer_warps(self, plan: Plan, bad: Mapping[str, str]) -> Plan:
        """A plan with 4 warps for the kernels of some nodes, which the log is told of."""

        def mended(step: Step) -> Step:
            if step.node not in bad or not _replaceable([step]):
                return step
            assert isinstance(step.work, Launch)
            told = f"with {step.work.meta['num_warps']} warps {bad[step.node]}"
            told = f"{step.work.kernel.__name__}: {told}; it takes {WARPS} on this device"
            self._log.refuse(Refusal(RULE, step.node, told))
            meta = {**step.work.meta, "num_warps": WARPS}
            return replace(step, work=step.work._replace(meta=meta))

        return replace(plan, steps=tuple(map(mended, plan.steps)))


class Verdicts:
    """What first runs on a device have shown, kept on the disk beside Triton's kernels.

    Attributes:
        found: By the name of machine code what is wrong with it, or None.

    Args:
        identity: The device and its driver.
    """

    def __init__(self, identity: str) -> None:
        self._identity = identity
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._file = triton_api.cache_folder() / "graphcnn_first_runs" / f"{name}.json"
        self.found = self._read()

    def keep(self) -> None:
        """Write what was found to the disk; where that fails, only this process knows it."""
        with suppress(OSError, FileProblem):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._file.parent, LOCK_EX):
                self.found = self._read() | self.found
                content = {"device": self._identity, "kernels": self.found}
                keep(self._file, f"{json.dumps(content, indent=1)}\n".encode())

    def _read(self) -> dict[str, str | None]:
        """What is on the disk; nothing where that is damaged."""
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content = json.loads(self._file.read_text())
            if content["device"] == self._identity:
                return {str(code): told and str(told) for code, told in content["kernels"].items()}
        return {}


def _replaceable(steps: Iterable[Step]) -> bool:
    """Whether some of the steps have kernels of other warps than 4."""
    launches = [step.work for step in steps if isinstance(step.work, Launch)]
    return any(launch.meta.get("num_warps", WARPS) != WARPS for launch in launches)


def _of_one_sample(graph: Graph) -> Graph:
    """The graph for a batch of one, where samples are computed apart."""
    try:
        check_apart(graph)
    except BatchError:
        return graph
    return rebatch(graph, 1)


def _first(executor: Executor, one: Graph, name: str) -> Array:
    """The first sample of a value as it is now, in float64."""
    value = to_tensor(executor.value(name))
    if shape := one.type_of(name).shape:
        value = value[: shape[0]]
    return value.detach().to("cpu").double().numpy().copy(order="C")
