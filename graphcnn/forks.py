"""Locks and fork: a child has one thread, and finds free what other threads of its parent held."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def lock() -> Any:
    """A `threading.RLock` that is free in a child made by fork, unless the forking thread holds it.

    For state that every use sets up anew; what another thread left half done is not undone.
    """
    made = threading.RLock()
    _locks.add(made)
    return made


def in_turn(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of one argument that one thread at a time runs."""
    turn = lock()

    @functools.wraps(function)
    def alone(argument: Any) -> Any:
        with turn:
            return function(argument)

    return alone


def _free() -> None:
    for held in list(_locks):
        if held.acquire(blocking=False):
            held.release()
        else:
            held._at_fork_reinit()  # what `threading` itself does to its locks


os.register_at_fork(after_in_child=_free)
