"""A compiler of convolutional networks: graphs fused into Triton kernels, and verified.

The public names, which `__init__.pyi` lists, are loaded when they are first used, so that
`import graphcnn` is quick and loads neither torch nor triton.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
