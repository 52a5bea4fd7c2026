"""Two clips beside each other: when they show the same, where it lies in the picture, and what differs."""
