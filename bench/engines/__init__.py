"""Engines side by side on one CPU: `python -m bench.engines`, then `-m bench.engines.report`.

A case is a network, a batch, a dtype and a number of threads. Its weights, image and expected
output are written once (`exports`); then each engine (`peers`) gets a process of its own
(`worker`), whose output is checked before its time counts, and the processes take turns
(`turns`). What they found is data (`results`), of which there are tables (`report`) and pictures
(`pictures`).
"""
