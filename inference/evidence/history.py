"""What a file's history means for its score, in words beside the evidence; never part of the score.

A finding says what the stream shows, what usually causes it, and what it means for the score. None says that a video
was manipulated: editing, sending and storing leave the same traces. How often findings are wrong is in
docs/use/file_history.md.
"""

from collections.abc import Iterator

from faces.frame_history import STILL_CHANGE
from faces.history import History
from inference.evidence.facts import HistoryFacts, HistoryFinding
from inference.results import Result
from inference.verdicts import Calibration

STRONG = 27  # quantiser: about that of x264 at crf 28
UNEVEN = 0.05  # of the frames
STILL = 0.2  # of the picture
USUAL = 0.05  # rate of real faces at which strata are compared
NO_MEANING = "None that is known."
COMPRESSED_AGAIN = "How an earlier compression alone changes scores was not measured. Each one hides traces of a swap."


def history_facts(history: History, result: Result, calibration: Calibration | None) -> HistoryFacts:
    """A file's history with what it means for the score of a result."""
    findings = [*of_compression(history), *of_file(history), *of_frames(history), *of_pictures(history)]
    return HistoryFacts(history, findings, faces_like_these(result, calibration))


def describe_stream(history: History) -> str:
    """How a stream is encoded, in a sentence."""
    parts = [f"{history.bits_per_pixel:.3f} bits per pixel"]
    if history.bits_per_second:
        parts.append(f"{history.bits_per_second / 1000:,.0f} kbit/s")
    if history.quantiser is not None:
        parts.append(f"H.264's mean quantiser {history.quantiser:.1f} (0 to 51; more is stronger)")
    if history.encoder:
        parts.append(f"encoder: {history.encoder}")
    if keys := history.key_frames:
        even = "one" if keys.regular else "usually one"
        every = f", {even} every {keys.usual} frames" if keys.usual else ""
        parts.append(f"{keys.count} key frame{'s' * (keys.count != 1)}{every}")
    if history.jpeg:
        quality = history.jpeg.quality
        parts.append(f"JPEG of quality {quality}" if quality else "JPEG with tables that are not libjpeg's")
    return "; ".join(parts) + "."


def of_compression(history: History) -> Iterator[HistoryFinding]:
    """Findings about how strongly the file is compressed, now and before."""
    if history.quantiser is not None and history.quantiser >= STRONG:
        yield HistoryFinding(
            "strong compression",
            f"H.264's mean quantiser is {history.quantiser:.1f}, at {history.bits_per_pixel:.3f} bits per pixel",
            "a messenger, a platform, or an encoder told to make a small file",
            "Compression hides traces of a swap, so a low score says less. The shipped networks called 69% of DFDC's "
            "fake faces at least `leans fake` as they are, and 38% after H.264 at crf 28; of its real ones, 5.7% and "
            "1.1%.",
        )
    if history.earlier_key_frames:
        yield HistoryFinding(
            "an earlier compression",
            f"every {history.earlier_key_frames} frames a predicted frame takes more bits than those beside it, where "
            "this file's own key frames do not explain it",
            f"the video was compressed before, with a key frame every {history.earlier_key_frames} frames or a part of "
            "that, and compressed again by an editor, a platform, a messenger or the makers of a data set",
            COMPRESSED_AGAIN,
        )
    if history.jpeg and history.jpeg.earlier_quality:
        yield HistoryFinding(
            "an earlier compression",
            "values are missing that a first JPEG compression, of quality "
            f"{history.jpeg.earlier_quality} or so, leaves out",
            "the picture was opened and saved again, neither scaled nor cropped: by an editor or a platform",
            COMPRESSED_AGAIN,
        )


def of_file(history: History) -> Iterator[HistoryFinding]:
    """Findings about who wrote the file, and its size."""
    if history.tags:
        yield HistoryFinding(
            "tags of a known writer",
            "; ".join(history.tags),
            "the file comes from there, or from a program that kept or copied the tag",
            "None by itself. Platforms compress what they deliver again, and often make it smaller.",
        )
    if history.size == "screen":
        yield HistoryFinding(
            "the size of a screen",
            "the picture has the size of a computer's or phone's screen, which hardly any camera records",
            "a screen recording; or a video that was cropped or scaled to that size",
            "If it is a recording of a screen, faces were scaled and compressed again, which hides traces of a swap.",
        )
    elif history.size == "unusual":
        yield HistoryFinding(
            "an unusual size",
            "the picture has a size that hardly any camera records",
            "the video was cropped or scaled: by an editor, a platform, a messenger or a screen recorder",
            "Where it was scaled, faces are smaller or softer than filmed; the verdict compares them with such faces.",
        )


def of_frames(history: History) -> Iterator[HistoryFinding]:
    """Findings about the order and the times of the frames."""
    if len(history.encoder_starts) > 1:
        frames = ", ".join(str(number) for number in history.encoder_starts[:10])
        yield HistoryFinding(
            "several encodings in one stream",
            f"an encoder begins anew at the frames {frames}, counted from 0",
            "pieces were joined without being encoded again: clips put together, or a platform that encodes in pieces",
            "The score is one for all pieces. --shots scores each shot on its own.",
        )
    if history.repeats_every:
        yield HistoryFinding(
            "repeated frames",
            f"one frame in {history.repeats_every} repeats the one before it",
            "the frame rate was raised, as from 24 to 30 per second; a camera in dim light or a screen recorder that "
            "was slower than its file; drawn animation",
            "A repeated frame shows nothing new, so the score rests on fewer pictures than were sampled.",
        )
    if (history.uneven or 0) >= UNEVEN:
        yield HistoryFinding(
            "uneven times",
            f"{history.uneven:.0%} of the frames are shown for an unusual time",
            "phones, webcams, screen recorders and messengers, which leave out frames; or frames were taken out",
            NO_MEANING,
        )


def of_pictures(history: History) -> Iterator[HistoryFinding]:
    """Findings about what the frames show."""
    if bars := history.bars:
        sides = {"top": bars.top, "bottom": bars.bottom, "left": bars.left, "right": bars.right}
        yield HistoryFinding(
            "black bars",
            "black all the time, in pixels: " + ", ".join(f"{side} {width}" for side, width in sides.items() if width),
            "the video was fitted into a frame of another shape: by an editor, a platform or a screen recorder",
            "Bars hardly take bits, so the picture itself is compressed less than its bits per pixel say.",
        )
    if (history.still_share or 0) >= STILL:
        yield HistoryFinding(
            "a part that never changes",
            f"{history.still_share:.0%} of the picture is sharp detail that changes by at most {STILL_CHANGE:.0%} of "
            "its contrast",
            "a screen recording; captions, a logo or a picture laid over the video; a camera on a tripod",
            "None if the faces lie elsewhere. In a recording of a screen, faces were scaled and compressed again, "
            "which hides traces of a swap.",
        )


def faces_like_these(result: Result, calibration: Calibration | None) -> str:
    """How often real faces in these conditions are called fake, against all real faces of the calibration."""
    strata = calibration.strata if calibration else ()
    like_these = next((stratum for stratum in strata if not stratum.outside(result.conditions)), None)
    if calibration is None or like_these is None or result.judgement is None or len(strata) < 2:
        return ""
    total = sum(stratum.reals for stratum in strata)

    def of_all(score: float) -> float:
        return sum(stratum.reals * stratum.rate(score) for stratum in strata) / total

    limit = min((score for stratum in strata for score in stratum.scores if of_all(score) <= USUAL), default=None)
    if limit is None:
        return ""
    rate, usual = like_these.rate(limit), of_all(limit)
    return (
        f"Of real {calibration.unit} shown like these ({like_these.words}), up to {rate:.1%} score {limit:.2f} or "
        f"more; of all real {calibration.unit} in the calibration, up to {usual:.1%}: {describe_ratio(rate / usual)}. "
        "The verdict takes this into account."
    )


def describe_ratio(ratio: float) -> str:
    """How many times as often, in words."""
    return "about as often" if 0.8 <= ratio <= 1.25 else f"{ratio:.1f} times as often"
