"""How the weights in the repository are made, calibrated and checked, on sets of single face crops."""
