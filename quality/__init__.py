"""How good is a score? Measures, calibration, robustness, public data sets, and comparisons of detectors.

It imports `inference`; `inference` never imports it.
"""

from common import former_names

former_names.accept()
