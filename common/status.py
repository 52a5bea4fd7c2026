"""The outcome of a video: the one list of statuses that logs, submissions, pages and documents use."""

from enum import StrEnum


class Status(StrEnum):
    """The status of a video in a submission, in preprocessing's log or in its report."""

    OK = "ok"  # its faces were found and, at stage 6, scored
    NO_FACE = "no_face"  # most frames show no face
    TOO_FEW_FRAMES = "too_few_frames"  # stage 6: no member had five sampled frames
    DECODE_ERROR = "decode_error"  # cut off, or decoding stopped midway
    MISSING = "missing"  # the file is not there
    UNSUPPORTED = "unsupported"  # not a video, or its size changes midway
    CHANGED = "changed"  # stage 6: the file was written to while it was read
    NOT_FINITE = "not_finite"  # stage 6: no member gave a number
    CRASHED = "crashed"  # its worker died or hung
    WRITE_ERROR = "write_error"  # preprocessing: its faces could not be written
    DAMAGED = "damaged"  # report of preprocessing: its info.json is unreadable
    PENDING = "not done yet"  # report of preprocessing


PREPROCESSED = (Status.OK, Status.NO_FACE)  # nothing is left to do for these videos
# These videos are neither scored nor known to be without a face: a run with one of them ends with exit status 1.
UNREADABLE = (
    Status.DECODE_ERROR,
    Status.MISSING,
    Status.UNSUPPORTED,
    Status.CHANGED,
    Status.NOT_FINITE,
    Status.CRASHED,
)
