"""Errors that a user can mend."""


class BadInputError(Exception):
    """A video, frame folder, list, config or weights file is unusable; the message names it and says why.

    A stage records it as the failure of one video and goes on; at the start of a script it is one line and exit status
    2. Anything else that is raised is a defect of ours.
    """
