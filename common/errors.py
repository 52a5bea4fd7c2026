"""Errors that a user can mend."""


class BadInputError(Exception):
    """A video, frame folder, list, config or weights file is unusable; the message names it and says why.

    A stage records it as the failure of one video and goes on. At the start of a script it prints one line and ends the
    script with exit status 2. Any other exception, except errors of the system, is a defect of ours.
    """


class CheckpointError(BadInputError):
    """A file holds no weights, or they do not fit the network; the message names the file and what does not fit."""
