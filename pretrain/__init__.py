"""Fetch the files without which nothing runs, and check their sha256."""
