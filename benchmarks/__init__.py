"""Measurements: `python -m benchmarks.NAME`. Each docstring says how far the code is from the floor, the least cost."""
