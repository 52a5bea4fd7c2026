"""The web server of `python -m forensics.serve`: its queue of jobs, who may use it, and what it answers."""
