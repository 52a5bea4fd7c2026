"""How the weights in the repository are made, calibrated and checked, on sets of single face crops."""

import common  # noqa: F401 - says what a command of this folder needs
