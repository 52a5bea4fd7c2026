"""What has to be fetched before anything can run, with sha256, and the scripts that do it."""
