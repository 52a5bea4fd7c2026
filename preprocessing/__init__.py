"""What `preprocess.py` is made of: one video's files, the log and its report, the contact sheet."""
