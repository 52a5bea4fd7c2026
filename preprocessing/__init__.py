"""The modules of `preprocess.py`: the files of one video, the log and its report, the contact sheet."""
