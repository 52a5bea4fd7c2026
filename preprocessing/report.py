"""The progress of preprocessing over all shards, from the folders on disk and the logs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.files import write_text
from common.status import PREPROCESSED, Status
from faces.notes import faces_in, which_stream
from faces.video import losses
from faces.video_files import describe_left_out
from preprocessing.log import LogEntry, read_log

COVERED = 0.9  # a track with detections in a smaller fraction of the frames counts as incomplete
NAMES_SHOWN = 20  # in the table, at most; status.json lists all


@dataclass(frozen=True)
class Report:
    """The content of `<faces>/status.json`. Videos are named `<part>/<video>`."""

    time: str
    videos: int
    done: int
    statuses: dict[Status, int]
    frames: int  # of the videos that are done
    faces: int
    damaged_packets: int
    concealed_frames: int
    failed: dict[str, dict[str, object]]  # status, reason, frames
    pending: list[str]
    absent: list[str]  # named in a metadata.json but not on disk
    left_out: list[str]  # other files beside the videos
    doubtful: dict[str, list[str]]  # why a person should look


def make_report(videos: dict[str, Path], faces: Path, left_out: Sequence[str] = ()) -> Report:
    """Report on videos, and on other files beside them, and write it to `<faces>/status.json`."""
    logged = read_log(faces)
    entries = {name: current_entry(faces / name, logged.get(name)) for name in videos}
    done = {name: entry for name, entry in entries.items() if entry.status in PREPROCESSED}
    report = Report(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        videos=len(entries),
        done=len(done),
        statuses=dict(Counter(entry.status for entry in entries.values()).most_common()),
        frames=sum(entry.frames for entry in done.values()),
        faces=sum(len(entry.track_lengths) for entry in done.values()),
        damaged_packets=sum(entry.damaged_packets for entry in done.values()),
        concealed_frames=sum(entry.concealed_frames for entry in done.values()),
        failed={
            name: {"status": entry.status, "reason": entry.reason, "frames": entry.frames}
            for name, entry in entries.items()
            if entry.status not in (*PREPROCESSED, Status.PENDING)
        },
        pending=[name for name, entry in entries.items() if entry.status == Status.PENDING],
        absent=sorted(set(named_in_metadata(videos)) - videos.keys()),
        left_out=list(left_out),
        doubtful={name: reasons for name, entry in done.items() if (reasons := doubts(entry))},
    )
    write_text(faces / "status.json", json.dumps(asdict(report), indent=1) + "\n")
    return report


def named_in_metadata(videos: dict[str, Path]) -> list[str]:
    """`<part>/<video>` of every entry in the metadata.json files beside the videos."""
    files = [folder / "metadata.json" for folder in {video.parent for video in videos.values()}]
    return [
        f"{file.parent.name}/{Path(name).stem}"
        for file in files
        if file.is_file()
        for name in json.loads(file.read_bytes())
    ]


def current_entry(folder: Path, logged: LogEntry | None) -> LogEntry:
    """A video's entry: from the log if it agrees with the disk, else from info.json, which stages 1-3 write too."""
    if (folder / "info.json").exists():
        return logged if logged and logged.status in PREPROCESSED else _from_info(folder / "info.json")
    if logged and logged.status not in PREPROCESSED:
        return logged
    return LogEntry(Status.PENDING, None, 0)


def _from_info(path: Path) -> LogEntry:
    """The entry that an info.json gives."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return LogEntry(Status.DAMAGED, f"{path} is unreadable, remove its folder: {error}", 0)
    lengths = tuple(len(track["detections"]) for track in info["tracks"])
    return LogEntry(
        status=Status.OK if lengths else Status.NO_FACE,
        reason=None,
        frames=info["frames"],
        voted_faces=info["voted_faces"],
        voted_frames=info.get("voted_frames"),
        track_lengths=lengths,
    )


def doubts(entry: LogEntry) -> list[str]:
    """The reasons why a person should look at a video: it is unusual, or the vote and the tracks disagree."""
    frames, voted, agreed, lengths = entry.frames, entry.voted_faces, entry.voted_frames, entry.track_lengths
    reasons = list(entry.caveats)
    if frames == 1:
        reasons.append("it has one frame")
    reasons += losses(entry.damaged_packets, entry.concealed_frames, frames, ())
    if entry.stream is not None and entry.streams > 1:
        reasons.append(which_stream(entry.stream, entry.streams))
    if entry.status == Status.NO_FACE and entry.face_frames:
        reasons.append(faces_in(entry.face_frames, frames))
    if agreed is not None and 2 * agreed <= frames:
        reasons.append(f"only {agreed} of {frames} frames show the voted number of faces, {voted}")
    if len(lengths) < voted:
        reasons.append(f"{voted} faces voted, {len(lengths)} tracked")
    if incomplete := [length for length in lengths if length < COVERED * frames]:
        reasons.append(f"tracks with detections in {', '.join(map(str, incomplete))} of {frames} frames")
    return reasons


def format_report(report: Report) -> str:
    """The report as text for a terminal."""
    lines = [f"{status:<14}{count:>9}" for status, count in report.statuses.items()]
    lines += [f"{'all videos':<14}{report.videos:>9}", ""]
    lines.append(f"{report.done} done: {report.frames} frames, {report.faces} faces, {len(report.doubtful)} doubtful")
    failed = {name: f"{entry['status']}: {entry['reason']}" for name, entry in report.failed.items()}
    doubtful = {name: "; ".join(reasons) for name, reasons in report.doubtful.items()}
    for title, entries in (("failed", failed), ("doubtful", doubtful)):
        if entries:
            lines += ["", f"{title}:", *(f"  {name}: {text}" for name, text in list(entries.items())[:NAMES_SHOWN])]
        if len(entries) > NAMES_SHOWN:
            lines.append(f"  and {len(entries) - NAMES_SHOWN} more, in status.json")
    if report.absent:
        lines += ["", f"{len(report.absent)} videos of a metadata.json are not on disk, such as {report.absent[0]}"]
    if report.left_out:
        lines += ["", describe_left_out(report.left_out)]
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()
