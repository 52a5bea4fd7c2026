"""Sentences about a video that logs, rows and reports share, so that all say the same."""


def which_stream(stream: int, streams: int) -> str:
    """Which of a file's streams is read."""
    return f"stream {stream} of the file, one of {streams} video streams"


def faces_in(showing: int, frames: int) -> str:
    """In how many frames faces are."""
    return f"faces in {showing} of {frames} frames"


def filled_in(concealed: int, frames: int) -> str:
    """In how many frames the decoder filled in damage."""
    return f"damage was filled in in {concealed} of {frames} frames"
