"""What `preprocess.py` is made of: one pass over a video, shards, the log and its report, the contact sheet."""
