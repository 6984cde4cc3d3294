"""A compiler of convolutional networks: graphs fused into Triton kernels, and verified.

The public names, which `__init__.pyi` lists, are loaded when they are first used, so that
`import graphcnn` is quick and loads neither torch nor triton.
"""

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except AttributeError:
        if name.startswith("_"):
            raise
        from graphcnn.frontend.near import near  # here alone, so that `import graphcnn` is quick

        hint = near(name, __all__, "dir(graphcnn) lists what it has")
        raise AttributeError(f"graphcnn has no attribute '{name}'; {hint}") from None
