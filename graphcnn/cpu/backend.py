"""The Triton backend: Triton IR -> C -> shared object, cached by Triton like any binary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from triton.backends.compiler import BaseBackend, GPUTarget

from graphcnn import triton_api
from graphcnn.cpu import store, toolchain
from graphcnn.cpu.emit import emit

NAME = "graphcnn_cpu"


@dataclass(frozen=True)
class Options:
    """What Triton's front end reads from a backend's options; most of it is GPU vocabulary."""

    num_warps: int = 4
    num_stages: int = 3
    num_ctas: int = 1
    warp_size: int = 1
    maxnreg: int | None = None
    ir_override: str | None = None
    enable_fp_fusion: bool = True
    launch_cooperative_grid: bool = False
    supported_fp8_dtypes: tuple[str, ...] = ()
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    default_dot_input_precision: str = "ieee"
    allowed_dot_input_precisions: tuple[str, ...] = ("tf32", "tf32x3", "ieee")
    max_num_imprecise_acc_default: int = 0
    extern_libs: tuple[str, ...] = ()
    debug: bool = False
    backend_name: str = NAME
    sanitize_overflow: bool = True
    arch: str = "native"
    instrumentation_mode: str = ""
    fpsan_homomorphic_casts: bool = False

    def hash(self) -> str:
        """Part of the key of Triton's cache."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


class CpuBackend(BaseBackend):  # type: ignore[misc]  # triton has no type stubs
    """Compiles for `GPUTarget("graphcnn_cpu", "native" | "sanitize", 1)`."""

    binary_ext = "so"

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        """Ours is the target that `triton_driver.CpuDriver` names."""
        return bool(target.backend == NAME)

    def hash(self) -> str:
        """Part of the key of Triton's cache."""
        return toolchain.fingerprint()

    def parse_options(self, options: Mapping[str, Any]) -> Options:
        """Keep the options we know; the rest concern GPUs."""
        known = {field.name for field in fields(Options)} - {"arch", "extern_libs"}
        chosen = {k: v for k, v in options.items() if k in known and v is not None}
        if self.target.arch == "sanitize":
            chosen["debug"] = True  # keeps device_assert, adds checks of 32-bit overflow
        return Options(**chosen, arch=str(self.target.arch))

    def pack_metadata(self, metadata: object) -> tuple[()]:
        """Nothing is packed: the launcher reads the metadata itself."""
        return ()

    def get_codegen_implementation(self, options: Options) -> dict[str, Callable[..., Any]]:
        """Front-end hooks: the smallest tile `tl.dot` accepts."""
        return {"min_dot_size": lambda left, right: (1, 1, 1)}

    def get_module_map(self) -> dict[str, ModuleType]:
        """`triton.language.extra.libdevice` functions keep their names; C's libm computes them."""
        return triton_api.libdevice_module_map()

    def load_dialects(self, context: object) -> None:
        """Triton's own dialects are enough."""

    def add_stages(
        self,
        stages: dict[str, Callable[[Any, dict[str, Any]], Any]],
        options: Options,
        language: object = None,
    ) -> None:
        """Register ttir -> c -> so."""
        checked = options.arch == "sanitize"

        def to_c(module: object, metadata: dict[str, Any]) -> str:
            program = emit(str(module), checked=checked)
            metadata.update(
                name=program.name,
                shared=0,
                tmem_size=None,
                global_scratch_size=0,
                profile_scratch_size=0,
                parameters=program.parameters,
                parameter_names=program.parameter_names,
                sites=program.sites,
            )
            return program.source

        stages["ttir"] = lambda module, _: triton_api.run_ttir_passes(module)
        stages["c"] = to_c
        stages["so"] = lambda source, _: store.built(source, checked=checked)
