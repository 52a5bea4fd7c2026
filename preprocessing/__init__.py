"""What the scripts of stages 1 to 4 share: the files and the log of one video, reports, labelled videos."""
