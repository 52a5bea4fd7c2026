"""What a worker of `preprocess.py` does with one video."""

import os
import time
from collections.abc import Iterator
from ctypes import Array, c_longlong
from pathlib import Path

from common.files import atomic_folder
from common.pack import PACK, write_pack
from common.status import Status
from faces.aligned import describe
from faces.boxes import format_boxes
from faces.detector import load_detector
from faces.notes import faces_in
from faces.one_pass import Faces, Finder, crop_files, find_faces, threads
from faces.video import Reading, VideoInfo
from preprocessing.log import LogEntry

# Frames seen so far, one slot per worker. There is no lock, because a killed worker might hold it for ever.
SLOTS = 4096
_frames_done: "Array[c_longlong] | None" = None


def count_frames_in(slots: "Array[c_longlong]") -> None:
    """Initialise a worker: it will count the frames that it has seen in its slot, for the progress bar."""
    global _frames_done
    _frames_done = slots


def preprocess(
    video: Path, info: VideoInfo, output: Path, boxes: Path | None, weights: Path, device: str, cores: int, pack: bool
) -> LogEntry:
    """Find and write the faces of one video, and its box files if `boxes` is given; return its entry for the log.

    `info` is the video's, from `faces.video.probe`. Each folder appears when it is complete, `output` last. Raises the
    exceptions of `common.workers.FAILURES`, FileExistsError among them if everything is done already.
    """
    began = time.perf_counter()
    if (output / "info.json").exists() and (boxes is None or boxes.exists()):
        raise FileExistsError(f"{output} exists already")
    reading = Reading(video, info)
    with threads(cores) as (submit, ahead):
        finder = Finder(load_detector(weights, device), submit, ahead, on_frames=_count)
        faces = find_faces(reading, reading, finder)
        if boxes and not boxes.exists():
            write_boxes(faces, boxes)
        if not (output / "info.json").exists():
            with atomic_folder(output) as folder:
                write_faces(faces, folder, crop_files(faces, submit, ahead), pack)
    size = sum(path.stat().st_size for path in output.iterdir())
    return log_entry(faces, reading, size, round(time.perf_counter() - began, 2))


def write_faces(faces: Faces, folder: Path, files: Iterator[tuple[str, bytes]], pack: bool) -> None:
    """Write the crops, as single files or as one pack, and `info.json`."""
    if pack:
        write_pack(folder / PACK, files)
    else:
        for name, content in files:
            (folder / name).write_bytes(content)
    info = faces.info
    facts = describe(faces.frames, info.height, info.width, info.fps, faces.tracking, faces.squares)
    (folder / "info.json").write_text(facts, encoding="utf-8")


def write_boxes(faces: Faces, output: Path) -> None:
    """Write the same box files as stage 2."""
    with atomic_folder(output) as folder:
        for number, detections in enumerate(faces.detections, start=1):
            (folder / f"frame{number}.txt").write_text(format_boxes(detections))


def log_entry(faces: Faces, reading: Reading, size: int, seconds: float) -> LogEntry:
    """The log's entry for a video that is done, whose files have `size` bytes."""
    info, tracks, showing = faces.info, faces.tracking.tracks, faces.frames_with_faces
    reasons = list(info.notes)
    if not tracks:
        reasons.append("most frames show no face" + f"; {faces_in(showing, faces.frames)}" * bool(showing))
    return LogEntry(
        status=Status.OK if tracks else Status.NO_FACE,
        reason="; ".join(reasons) or None,
        frames=faces.frames,
        declared_frames=info.declared,
        damaged_packets=reading.damaged,
        concealed_frames=reading.concealed,
        height=info.height,
        width=info.width,
        rotation=info.orientation.degrees,
        mirrored=info.orientation.mirrored,
        stream=info.stream,
        streams=info.streams,
        caveats=info.caveats,
        face_frames=showing,
        voted_faces=faces.tracking.voted_faces,
        voted_frames=faces.tracking.voted_frames,
        track_lengths=tuple(len(track) for track in tracks),
        bytes=size,
        seconds=seconds,
    )


def _count(frames: int) -> None:
    """Add to this worker's slot."""
    if _frames_done is not None:
        _frames_done[os.getpid() % SLOTS] += frames
