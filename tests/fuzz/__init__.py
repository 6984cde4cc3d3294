"""Seeded campaigns against the whole project: every case is a seed, and can be run alone.

python -m tests.fuzz graphs --count 100000      random graphs through text, passes, lowering
python -m tests.fuzz compiled --count 100       random graphs, compiled and run
python -m tests.fuzz texts --count 20000        mutated text
python -m tests.fuzz files --count 20000        damaged pairs of files
python -m tests.fuzz calls --count 20000        public functions with a wrong argument
python -m tests.fuzz graphs --seed 4711         one case again
"""
