"""The files that must be fetched before anything can run, with their sha256, and the scripts that fetch them."""
