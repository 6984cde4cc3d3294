"""What work beside the products of a convolution takes."""

from typing import NamedTuple


class Prices(NamedTuple):
    """What work takes, in products of a convolution's tiles.

    Attributes:
        balance: Moving one byte to memory or from it (S. Williams et al., Roofline, 2009).
        channels: An element's part in bringing together channels, beyond what it takes in a kernel
            of its own.
        exchange: An element's part in bringing together windows that overlap; of use, as the next
            one, where no model predicts.
        wide: The same of windows with more than two columns; of a whole window where pixels are
            left out.
        head: A product of a depthwise convolution in the kernel of the 1x1 one that reads it, of
            what it takes in a kernel of its own.
        lookup: The address of a repeated element, in products outside of tensor cores.
        scattered: A product whose operands have addresses of their own, as where no block divides
            the input channels.
        launch: One kernel more.
    """

    balance: float
    channels: float
    exchange: float = 0.0
    wide: float = 0.0
    head: float = 1.0
    lookup: float = 1.0
    scattered: float = 1.0
    launch: float = 0.0
