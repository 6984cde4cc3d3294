"""How long kernels take on GPUs: a model, by which they are chosen. Its numbers are predictions.

devices    the GPUs, as data
counts     registers and instructions of compiled kernels
tiles      kernels that multiply in tiles
others     any other kernel, and the least that a data sheet allows
traits     the row of a GPU by which kernels are chosen
"""
