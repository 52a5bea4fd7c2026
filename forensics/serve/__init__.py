"""The web server of `python -m forensics.serve`: the queue and its jobs, who may ask, and what is answered."""
