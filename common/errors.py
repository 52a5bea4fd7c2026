"""Errors that a user can fix."""


class BadInputError(Exception):
    """A video, frame folder, list, config or weights file is unusable; the message names it and says why.

    A stage records it as the failure of one video and goes on. At the start of a script it becomes one line on stderr
    and exit status 2. Any other exception, except errors of the system, is a bug in this project.
    """


class CheckpointError(BadInputError):
    """A file holds no weights, or weights of another network; the message names the file and what does not fit."""
