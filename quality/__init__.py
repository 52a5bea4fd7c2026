"""How good is a score? Measures, calibration, robustness, and how the shipped weights are made.
Imports `inference`, never the other way.
"""
