"""The whole road on sample clips: `make demo`."""
