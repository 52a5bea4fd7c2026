"""Public data sets: how they lie on disk, what is wrong with a copy, and sets that come as precropped faces."""
