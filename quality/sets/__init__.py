"""Public data sets: their layouts, what is wrong with a copy, and face crops that come ready-made."""
