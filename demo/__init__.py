"""All stages on sample clips: `make demo`."""
