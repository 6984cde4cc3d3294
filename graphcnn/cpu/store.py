"""Compiled C on disk, by content: what the same compiler has made of the same text is used again.

Triton's own cache stands before it, by the source of a kernel: kernels that differ there may be the
same C, and the C stays the same through most changes of what writes it.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress

from graphcnn import triton_api
from graphcnn.cpu import loader, toolchain
from graphcnn.disk import keep


def built(source: str, *, checked: bool = False) -> bytes:
    """The sealed shared object of a C source, from the disk or compiled now and kept there.

    A damaged file is compiled anew in its place, with a warning.

    Args:
        source: The text.
        checked: As `toolchain.shared_object` takes it.

    Raises:
        MissingCompiler, FileProblem: of the compiler, where it is needed.
    """
    text = f"{toolchain.fingerprint('*.h')} {checked}\0{source}"
    file = (
        triton_api.cache_folder()
        / "graphcnn"
        / f"{hashlib.sha256(text.encode()).hexdigest()}.sealed"
    )
    with suppress(OSError):
        sealed = file.read_bytes()
        if loader.is_whole(sealed):
            return sealed
        warnings.warn(f"a damaged kernel is compiled anew: {file}", stacklevel=2)
    sealed = loader.seal(toolchain.shared_object(source, checked=checked))
    # Who cannot keep it compiles it again; a folder that cannot be written is Triton's to report.
    with suppress(OSError):
        keep(file, sealed)
    return sealed
