"""A module as a graph of ATen's operators, by torch.export.

`run_decompositions({})` makes every operator functional and keeps it whole: what torch itself
composes of others, such as instance_norm or pixel_shuffle, is one call.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map

from graphcnn.errors import InputKindError, UnsupportedModule
from graphcnn.torch_import.program import Program, failing, first_lines

# Modules that compute something else while training.
_TRAINED = (torch.nn.modules.batchnorm._NormBase, torch.nn.modules.dropout._DropoutNd)


def exported(module: torch.nn.Module, example: tuple[Any, ...]) -> Program:
    """The module's program on an example, for any batch size where that can be.

    Raises:
        InputKindError: for what is not a module, or an example without a tensor.
        UnsupportedModule: for a module in training mode, one that torch fails to run on the
            example, and what torch.export cannot follow.
    """
    check_module(module, example)
    title, leaves = type(module).__name__, tuple(tree_leaves((example, {})))
    several = _several(example)
    try:
        program = Program(title, _exported(module, several, _batched(module, several)), leaves)
        if program.is_like(module, example):
            return program
    except Exception:
        pass  # the module fixes its batch, or the next attempt says what is wrong
    try:
        whole = _exported(module, example, None)
    except Exception as error:
        _run(module, example)
        raise UnsupportedModule(
            "torch.export cannot follow the module",
            where=title,
            got=first_lines(error),
            wanted="a forward that does the same whatever the numbers in its tensors are",
            remedy="choose by torch.where, or by a Python value that is known beforehand; the "
            "cause is torch's own error, which names the line",
        ) from error
    return Program(title, whole, leaves)


def _run(module: torch.nn.Module, example: tuple[Any, ...]) -> None:
    """Call the module; raises UnsupportedModule where torch fails."""
    try:
        with _quiet():
            module(*example)
    except Exception as error:
        raise failing(type(module).__name__, error) from error


def _exported(module: torch.nn.Module, example: tuple[Any, ...], sizes: Any) -> ExportedProgram:
    with _quiet():
        return made_functional(torch.export.export(module, example, dynamic_shapes=sizes))


def made_functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators, every other one kept whole."""
    with _quiet():
        whole: ExportedProgram = program.run_decompositions({})
        return whole


def check_module(module: object, example: tuple[Any, ...]) -> None:
    """Check that a module and its example can be exported as they are."""
    if not isinstance(module, torch.nn.Module):
        raise InputKindError(
            "from_torch takes a module",
            got=type(module).__name__,
            wanted="an nn.Module, or what torch.export.export returns",
            remedy="a function becomes one as the forward of a class",
        )
    if not any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(example)):
        raise InputKindError(
            "an example has the tensors that the module is called with",
            got=f"{len(example)} arguments, no tensor among them",
            wanted="from_torch(module, *example)",
            remedy="for example gx.from_torch(module, torch.randn(1, 3, 224, 224))",
        )
    trained = [
        name or "the module itself"
        for name, part in module.named_modules()
        if part.training and isinstance(part, _TRAINED)
    ]
    if trained:
        raise UnsupportedModule(
            "the module is in training mode",
            where=type(module).__name__,
            got=f"training mode in {', '.join(trained[:4])}{' ...' * (len(trained) > 4)}",
            wanted="inference: running statistics, no dropout",
            remedy="call module.eval() first",
        )
    _check_names(module)


def _check_names(module: torch.nn.Module) -> None:
    """Check that no part is called what nn.Module calls something else: export looks it up."""
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, part in (owner._modules | owner._parameters | owner._buffers).items():
            if part is not None and hasattr(torch.nn.Module, name):
                raise UnsupportedModule(
                    f"torch.export cannot find a part called '{name}', as nn.Module calls a method",
                    where=f"{type(module).__name__}, '{path}.{name}'".replace("'.", "'"),
                    got=f"a {type(part).__name__} called '{name}' in a {type(owner).__name__}",
                    wanted="a name that nn.Module has not",
                    remedy=f"rename it, for example to '{name}_', and its entries in the "
                    "state_dict with it",
                )


def _several(example: tuple[Any, ...]) -> tuple[Any, ...]:
    """The example with at least two samples: torch.export takes one for the number 1."""
    if 1 not in _batch_sizes(example):
        return example
    several: tuple[Any, ...] = tree_map(
        lambda x: x.expand(2, *x.shape[1:]) if _has_batch(x) and x.shape[0] == 1 else x, example
    )
    return several


def _batched(module: torch.nn.Module, example: tuple[Any, ...]) -> Any:
    """Which dimensions are free, by argument: the first of each tensor that has the first one's
    size."""
    sizes = _batch_sizes(example)
    # By name, as torch.export takes those of `*args` in no other way.
    named = dict(inspect.signature(module.forward).bind(*example).arguments)
    return tree_map(
        lambda x: {0: Dim.AUTO} if _has_batch(x) and x.shape[0] == sizes[0] else None, named
    )


def _batch_sizes(example: tuple[Any, ...]) -> list[int]:
    return [leaf.shape[0] for leaf in tree_leaves(example) if _has_batch(leaf)]


def _has_batch(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dim() > 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings about attempts that may fail."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
