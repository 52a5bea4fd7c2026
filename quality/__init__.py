"""How good is a score? Measures, calibration, robustness, and how the shipped weights are made.

It imports `inference`; `inference` never imports it.
"""

from common import former_names

former_names.accept()
