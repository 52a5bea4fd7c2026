"""Our members as other harnesses call detectors."""
