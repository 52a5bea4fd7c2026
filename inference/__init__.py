"""The ensemble: from a video to the probability that it is fake, and why."""
