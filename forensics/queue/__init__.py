"""Which videos of a submission to look at first, and what a reviewer found them to be."""
