"""A suspect clip and its original: when both show the same, where it lies in the picture, and what differs."""
