"""Every call of the package whose form depends on the Triton version (3.6 to 3.9)."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
from triton._C.libtriton import ir, passes
from triton.backends import Backend, backends
from triton.runtime import cache as _cache
from triton.runtime._async_compile import AsyncCompileMode, FutureKernel
from triton.runtime.driver import driver as _config
from triton.runtime.jit import JITFunction

from graphcnn.disk import keep
from graphcnn.errors import DeviceUnavailable
from graphcnn.forks import in_turn
from graphcnn.progress import doing
from graphcnn.triton_problems import is_damage, told

# A kernel, its runtime arguments in order, and its constexprs by name.
Call = tuple[Any, Sequence[object], Mapping[str, object]]

# Takes three counts of a grid, and a stream.
Launch = Callable[[int, int, int, int], None]
# Makes two of a kernel's arguments: a plain one, and one of which hooks hear.
Binding = Callable[[tuple[Any, ...]], tuple[Launch, Launch]]

# Triton 3.9 warns that this default will change; say what we mean.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

# Where Python 3.11 collects garbage as it makes a syntax tree, and another thread makes one
# meanwhile, either fails with a SystemError.
JITFunction.parse = in_turn(JITFunction.parse)

_lock = threading.RLock()
# A fork waits until no other thread is inside `using`, so that a child finds the driver restored.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


@contextmanager
def using(driver: Any) -> Iterator[None]:
    """Make `driver` Triton's active driver inside the block; None leaves Triton's choice.

    Reentrant, and exclusive between threads: the active driver belongs to the process. What was
    there before comes back, the state "no driver made yet" included.
    """
    with _lock:
        before, own_key = _config._active, _cache.triton_key
        if driver is not None:
            _config._active = driver
        _cache.triton_key = _key
        try:
            yield
        finally:
            _config._active, _cache.triton_key = before, own_key


_triton_key = _cache.triton_key


@functools.cache
def _key() -> str:
    """Triton's key of its own files, remembered on disk for files of the same sizes and times.

    Triton reads them all, which takes half a second of each process.
    """
    folder = Path(triton.__file__).parent
    files = sorted((*folder.rglob("*.py"), *(folder / "_C").glob("libtriton.*")))
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(f"{triton.__version__} {stamps}".encode()).hexdigest()
    known = cache_folder() / "graphcnn" / f"triton_{digest}.txt"
    with suppress(OSError):
        if (key := known.read_text()).startswith(triton.__version__):
            return key
    found: str = _triton_key()
    with suppress(OSError):  # a folder that cannot be written is Triton's to report
        keep(known, found.encode())
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel compiled for its arguments, and ready to be launched with them.

    Calling it launches without consulting the active driver, from any thread.
    """

    compiled: Any  # by Triton: asm, metadata, n_regs and n_spills of a thread
    values: tuple[Any, ...]  # of all parameters: the memory of tensors has to stay
    launch: Launch
    tell: Launch  # the same, of which Triton's hooks hear where it is one on CUDA
    bind: Binding  # what made both of the values

    def __call__(self, grid: Sequence[int], stream: int) -> None:
        """Launch over `grid` (one to three counts) on a raw stream (0 on the CPU)."""
        x, y, z = (*grid, 1, 1)[:3]
        self.launch(x, y, z, stream)

    def rebound(self, values: tuple[Any, ...]) -> Prepared:
        """The kernel with other values, for which it would be specialised alike."""
        launch, tell = self.bind(values)
        return replace(self, values=values, launch=launch, tell=tell)


def prepare(
    kernel: Any, args: Sequence[object], meta: Mapping[str, object], driver: Any
) -> Prepared:
    """Specialise, compile and load a kernel for these arguments, and bind it to them.

    Where the cache holds a damaged kernel, it is compiled anew in its place.

    Args:
        kernel: A `triton.jit` function.
        args: Its runtime arguments in kernel order: tensors, numbers, tuples of them.
        meta: Its constexpr parameters by name, and num_warps, num_stages.
        driver: The driver to compile for; None is Triton's own (CUDA).

    Raises:
        DeviceUnavailable: under Triton's interpreter.
        FileProblem, MissingCompiler, DriverTooOld, KernelFailed and others: as
            `triton_problems.told` says.
    """
    if not isinstance(kernel, JITFunction):
        raise DeviceUnavailable(
            "kernels are compiled, and Triton is told to interpret them",
            where=f"kernel '{kernel.__name__}'",
            got=f"TRITON_INTERPRET={os.environ.get('TRITON_INTERPRET')}",
            remedy="unset TRITON_INTERPRET; GRAPHCNN_SANITIZE=1 checks kernels on the CPU",
        )
    named = named_arguments(kernel, args, meta)
    with using(driver), told(kernel.__name__):
        try:
            compiled, run, function = _load(kernel, named)
        except Exception as error:
            if not is_damage(error):
                raise
            cache = triton.knobs.cache
            with cache.scope():
                manager = cache.manager_class or _cache.FileCacheManager
                cache.manager_class = type("Unread", (manager,), {"get_group": lambda *_: None})
                kernel.device_caches.clear()  # what this process has read is damaged as well
                compiled, run, function = _load(kernel, named)
    values = tuple(named.get(p.name, p.default if p.has_default else None) for p in kernel.params)
    bind = _binding(compiled, run, function, driver)
    return Prepared(compiled, values, *bind(values), bind)


def _binding(compiled: Any, run: Any, function: Any, driver: Any) -> Binding:
    """What makes of a loaded kernel's arguments what launches it, and what tells Triton's hooks of
    it as well.

    On CUDA, where nothing has to be allocated for a launch, that is the C of Triton's launcher, and
    gets addresses: Triton would ask each tensor, and the driver, at each launch.
    """
    if hasattr(run, "bind"):  # the CPU's; Triton's own launchers take nested tuples apart in C
        return lambda values: (run.bind(function, values),) * 2
    scratch = (getattr(run, f"{kind}_scratch_size", 1) for kind in ("global", "profile"))
    direct = not any(scratch) and not getattr(run, "gsan_enabled", False)
    call, packed = run.launch if direct else run, compiled.packed_metadata

    def form(values: tuple[Any, ...], *told: Any) -> tuple[Any, ...]:
        if not direct:
            return (function, packed, *told, *values)
        options = (function, run.launch_cooperative_grid, run.launch_pdl)
        if hasattr(run, "arg_annotations"):  # Triton 3.7 and later
            kinds = (run.arg_annotations, run.kernel_signature)
            return (*options, packed, *told, None, None, *kinds, _addressed(values))
        return (*options, None, None, packed, *told, *_addressed(values))

    def bind(values: tuple[Any, ...]) -> tuple[Launch, Launch]:
        silent = form(values, None, None, None)

        def launch(x: int, y: int, z: int, stream: int) -> None:
            call(x, y, z, stream, *silent)

        def tell(x: int, y: int, z: int, stream: int) -> None:
            with using(driver):
                metadata = compiled.launch_metadata((x, y, z), stream, *values)
            knobs = triton.knobs.runtime
            told = (metadata, knobs.launch_enter_hook, knobs.launch_exit_hook)
            call(x, y, z, stream, *form(values, *told))

        return launch, tell

    return bind


def _addressed(value: Any) -> Any:
    """A tensor's address; of nested tuples, the same of all in them."""
    if isinstance(value, tuple):
        return tuple(map(_addressed, value))
    return value.data_ptr() if hasattr(value, "data_ptr") else value


def hooked() -> bool:
    """Whether somebody wants to hear of launches, such as Triton's profiler Proton."""
    knobs = triton.knobs.runtime
    return _is_set(knobs.launch_enter_hook) or _is_set(knobs.launch_exit_hook)


def _is_set(hook: Any) -> bool:
    """Whether a hook does something; Triton's chains of them are empty at first."""
    return bool(getattr(hook, "calls", hook))


def compile_ahead(calls: Sequence[Call], driver: Any) -> None:
    """Compile kernels for their arguments side by side, for `prepare` to find.

    Each is compiled in a thread, one more of them than there are processors: the C compiler, or
    ptxas, is a process that others do not wait for, and an eighth of the time holds Python. (The 32
    kernels of ResNet-50 in float16 take 15.2 s one by one for sm_90 on two processors, 8.1 to 9.4 s
    in threads.) What cannot be compiled is left to `prepare`, which says why.

    Args:
        calls: Kernels with what `prepare` takes: runtime arguments and constexprs.
        driver: The driver to compile for; None is Triton's own (CUDA).
    """
    copy_context().run(_compile_ahead, calls, driver)  # Triton's mode ends with it in any case


def _compile_ahead(calls: Sequence[Call], driver: Any) -> None:
    begin = time.monotonic()
    names: dict[Future[Any], str] = {}
    with ThreadPoolExecutor(processors() + 1) as pool, using(driver):
        try:
            with AsyncCompileMode(pool, ignore_errors=True) as mode:
                for kernel, args, meta in sorted(calls, key=_size, reverse=True):
                    with told(kernel.__name__):
                        kernel.warmup(grid=(1,), **named_arguments(kernel, args, meta))
                    names |= {f: kernel.__name__ for f in mode.raw_futures if f not in names}
                for number, future in enumerate(as_completed(names), 1):
                    seconds = time.monotonic() - begin
                    doing(f"kernel {number} of {len(names)}: {names[future]}, {seconds:.1f} s")
            for kernel, *_ in calls:
                _forget_failures(kernel)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _forget_failures(kernel: Any) -> None:
    """Let a kernel be compiled anew that could not be; Triton 3.7 and 3.8 keep the failure."""
    for compiled, *_ in kernel.device_caches.values():
        for key, found in [*compiled.items()]:
            if isinstance(found, FutureKernel) and found.kernel is None:
                del compiled[key]


def _size(call: Call) -> int:
    """Arguments of a kernel, those in tuples counted: what reads more takes longer to compile."""
    _, args, meta = call

    def leaves(value: object) -> int:
        return sum(map(leaves, value)) if isinstance(value, tuple) else 1

    return leaves((*args, *meta.values()))


def processors() -> int:
    """Processors that this process may use."""
    known = getattr(os, "sched_getaffinity", None)  # Linux
    return len(known(0)) if known else os.cpu_count() or 1


def _load(kernel: Any, named: Mapping[str, object]) -> tuple[Any, Any, Any]:
    """A compiled kernel, its launcher, and what the driver loaded, which the caller owns."""
    compiled = kernel.warmup(grid=(1,), **named)
    compiled._init_handles()
    run, function = compiled._run, compiled.function
    if compiled.module is None:
        # The CPU's driver frees a kernel with its last user; Triton keeps `compiled` for ever.
        compiled._run = compiled.function = None
    return compiled, run, function


def named_arguments(
    kernel: Any, args: Sequence[object], meta: Mapping[str, object]
) -> dict[str, object]:
    """All arguments by name: constexprs may stand anywhere among a kernel's parameters."""
    runtime = [p.name for p in kernel.params if p.name not in meta]
    return {**dict(zip(runtime, args, strict=False)), **meta}


def decomposed(descriptor: Any) -> list[Any]:
    """What a kernel takes for a tensor descriptor where it becomes a pointer: its memory, sizes and
    how it is read, and the sizes again, which Triton lowers apart."""
    sizes = [*descriptor.shape, *descriptor.strides]
    flags = [descriptor.padding == "nan"]
    if hasattr(descriptor, "round_f32_to_tf32"):  # Triton 3.7 and later
        flags.append(descriptor.round_f32_to_tf32)
    return [descriptor.base, *sizes, *flags, *sizes]


def cuobjdump() -> Path:
    """NVIDIA's reader of machine code, which comes with Triton."""
    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def cache_folder() -> Path:
    """Where Triton keeps compiled kernels: TRITON_CACHE_DIR, or its default."""
    return Path(triton.knobs.cache.dir)


def register_backend(name: str, compiler: type, driver: type) -> None:
    """Make a compiler and driver known to Triton in this process."""
    backends[name] = Backend(compiler, driver)


def libdevice_module_map() -> dict[str, ModuleType]:
    """The names that `triton.language.extra.libdevice` resolves to (NVIDIA's)."""
    from triton.language.extra.cuda import libdevice

    return {"triton.language.extra.libdevice": libdevice}


def run_ttir_passes(module: Any) -> Any:
    """Triton's hardware-independent passes: inlining, canonical form, one copy of each value."""
    manager = ir.pass_manager(module.context)
    manager.enable_debug()
    passes.common.add_inliner(manager)
    for name in ("add_rewrite_tensor_pointer", "add_rewrite_tensor_descriptor_to_pointer"):
        if add := getattr(passes.ttir, name, None):
            add(manager)
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.ttir.add_triton_licm(manager)
    passes.common.add_symbol_dce(manager)
    passes.ttir.add_loop_unroll(manager)
    try:
        manager.run(module, "make_ttir")
    except TypeError:  # Triton 3.6 and older take the module only
        manager.run(module)
    return module
