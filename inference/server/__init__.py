"""The web server of `python -m inference.serve`: the queue and its jobs, who may ask, and what is answered."""
