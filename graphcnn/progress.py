"""What a compile or a report is doing at the moment, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str], object]
_listener: ContextVar[Listener] = ContextVar("listener", default=lambda _: None)


def doing(text: str) -> None:
    """Tell the listener, if there is one, what takes time now, in a line."""
    _listener.get()(text)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Within, `doing` in this thread calls the listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
