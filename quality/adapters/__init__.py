"""This project's members in the form in which other harnesses take detectors."""
