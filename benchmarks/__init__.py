"""Measurements: `python -m benchmarks.NAME`. Each says in its docstring how far from the floor the code is."""
