"""A cluster in virtual time: the real delivery cores in a world where everything goes wrong, under one seed.

`kernel.py` has time, chance and the story; `network.py`, `coordination.py`, `disk.py` and `files.py` are the world;
`agent.py` and `collector.py` are the shells that the real programs are, without their I/O; `ledger.py` knows what must be
true; `world.py` builds a schedule, `faults.py` breaks it, `run.py` runs one.
"""
