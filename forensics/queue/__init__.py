"""Which videos of a submission to look at first, and what a reviewer says that they are."""
