"""GPUs that kernels are compiled for, and what a multiprocessor of each has.

Of NVIDIA's: CUDA C++ Programming Guide, technical specifications per compute capability. Of AMD's:
CDNA 3 instruction set architecture, and the hardware page of HIP's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.costs.devices import of_capability
from graphcnn.errors import UnknownTarget, shown

# Columns of 128 lanes of 32 bits; a block takes a power of two of them, at least 32 (PTX ISA).
TENSOR_COLUMNS = 512
# Thread registers are handed out to a warp in units of 8 each.
_REGISTER_UNIT = 8
_SHARED_UNIT = 128


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture.

    Attributes:
        name: As compilers have it.
        capability: Compute capability, ten times, of the device whose tiles kernels get.
        target: What Triton compiles for: backend, architecture, threads of a warp.
        shared_bytes: That one block may have.
        shared_total: Of a multiprocessor.
        shared_reserved: That each block takes besides.
        warps: That a multiprocessor holds.
        blocks: That it holds.
        registers: Of 32 bits.
        matrix: The instruction that multiplies matrices of at least 64 rows, in its machine code;
            "" where Triton has none.
        lacks: Dtypes that it does not multiply, by the reason.
        unused: Why graphcnn does not run on it though kernels compile; None where it does.
    """

    name: str
    capability: int
    target: tuple[str, int | str, int]
    shared_bytes: int
    shared_total: int
    shared_reserved: int
    warps: int
    blocks: int
    registers: int
    matrix: str
    lacks: tuple[tuple[str, str], ...] = ()
    unused: str | None = None

    def held(self, registers: int, shared_bytes: int, warps: int, tensor_columns: int) -> int:
        """Blocks of a kernel that a multiprocessor holds at a time; 0 where one does not fit.

        Args:
            registers: Of a thread.
            shared_bytes: Of a block.
            warps: Of a block.
            tensor_columns: Of tensor memory, of a block.
        """
        if shared_bytes > self.shared_bytes:
            return 0
        a_thread = -(-max(registers, 1) // _REGISTER_UNIT) * _REGISTER_UNIT
        shared = -(-(shared_bytes + self.shared_reserved) // _SHARED_UNIT) * _SHARED_UNIT
        return min(
            self.blocks,
            self.warps // warps,
            self.registers // (a_thread * self.target[2] * warps),
            self.shared_total // shared if shared else self.blocks,
            TENSOR_COLUMNS // tensor_columns if tensor_columns else self.blocks,
        )


def _nvidia(capability: int, matrix: str) -> Architecture:
    """One that graphcnn runs on; a block may have all shared memory but for 1 KiB."""
    family = of_capability(capability).family
    target = ("cuda", capability, 32)
    shared = (family.shared - (1 << 10), family.shared, 1 << 10)
    limits = (*shared, family.warps, family.blocks, 64 << 10)
    return Architecture(f"sm_{capability}", capability, target, *limits, matrix)


_TURING = Architecture(
    "sm_75",
    80,
    ("cuda", 75, 32),
    64 << 10,
    64 << 10,
    0,
    32,
    16,
    64 << 10,
    "",
    (
        ("f32", "products of tf32 are new in sm_80"),
        ("bf16", "products of bfloat16 are new in sm_80"),
    ),
    "graphcnn computes on compute capability 8.0 and later; of this one Triton leaves the tensor "
    "cores unused, and it has no asynchronous copies",
)
# Four vector units of 512 registers of 64 threads; compiled with the tiles of sm_80.
_CDNA3 = Architecture(
    "gfx942",
    80,
    ("hip", "gfx942", 64),
    64 << 10,
    64 << 10,
    0,
    32,
    32,
    128 << 10,
    "v_mfma",
    unused="graphcnn does not run on GPUs of AMD's",
)
ARCHITECTURES = {
    row.name: row
    for row in (
        _TURING,
        _nvidia(80, "HMMA"),
        _nvidia(86, "HMMA"),
        _nvidia(89, "HMMA"),
        _nvidia(90, "HGMMA"),
        _nvidia(100, "UTCHMMA"),
        _nvidia(120, "HMMA"),
        _CDNA3,
    )
}


def architecture(name: object) -> Architecture:
    """An architecture by its name.

    Raises:
        UnknownTarget: for a name that is not in `ARCHITECTURES`.
    """
    found = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if found is None:
        raise UnknownTarget(
            f"there is no architecture {shown(name)}",
            where="the argument arch",
            got=shown(name),
            wanted=", ".join(ARCHITECTURES),
            remedy='pass one of these names, such as arch="sm_90"',
        )
    return found
