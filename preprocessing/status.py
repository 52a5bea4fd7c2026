"""How far preprocessing is, over all shards: from the folders that are there, and from the logs."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.atomic import write_text
from preprocessing.log import DONE, Row, read_rows

PENDING = "not done yet"
COVERED = 0.9  # a track with detections in a smaller share of the frames counts as incomplete
SHOWN = 20  # names that the table lists; status.json has all

Report = dict[str, Any]


def report(videos: dict[str, Path], faces: Path) -> Report:
    """Counts, failures, doubtful videos, and those that metadata.json names but nobody has; also in
    `<faces>/status.json`.
    """
    logged = read_rows(faces)
    rows = {name: state(faces / name, logged.get(name)) for name in videos}
    done = {name: row for name, row in rows.items() if row["status"] in DONE}
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "videos": len(rows),
        "done": len(done),
        "statuses": dict(Counter(row["status"] for row in rows.values()).most_common()),
        "frames": sum(row["frames"] for row in done.values()),
        "faces": sum(len(row["track_lengths"]) for row in done.values()),
        "damaged_packets": sum(row.get("damaged_packets", 0) for row in done.values()),
        "failed": {
            name: {key: row[key] for key in ("status", "reason", "frames")}
            for name, row in rows.items()
            if row["status"] not in (*DONE, PENDING)
        },
        "pending": [name for name, row in rows.items() if row["status"] == PENDING],
        "absent": sorted(set(named_in_metadata(videos)) - videos.keys()),
        "doubtful": {name: reasons for name, row in done.items() if (reasons := doubts(row))},
    }
    write_text(faces / "status.json", json.dumps(found, indent=1) + "\n")
    return found


def named_in_metadata(videos: dict[str, Path]) -> list[str]:
    """`<part>/<video>` of every entry in the metadata.json beside the videos, where there is one."""
    files = [folder / "metadata.json" for folder in {video.parent for video in videos.values()}]
    return [
        f"{file.parent.name}/{Path(name).stem}"
        for file in files
        if file.is_file()
        for name in json.loads(file.read_bytes())
    ]


def state(folder: Path, logged: Row | None) -> Row:
    """A video's row: the log's, if it agrees with what is on disk; else read from its info.json, as
    stages 1-3 leave it.
    """
    if (folder / "info.json").exists():
        return logged if logged and logged["status"] in DONE else _from_info(folder / "info.json")
    if logged and logged["status"] not in DONE:
        return logged
    return {"status": PENDING, "reason": None, "frames": 0}


def _from_info(path: Path) -> Row:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return {"status": "damaged", "reason": f"{path} is unreadable, remove its folder: {error}", "frames": 0}
    lengths = [len(track["detections"]) for track in info["tracks"]]
    row = {key: info.get(key) for key in ("frames", "voted_faces", "voted_frames")}
    return row | {"status": "ok" if lengths else "no_face", "reason": None, "track_lengths": lengths}


def doubts(row: Row) -> list[str]:
    """Why a person should look at a video: what the vote and the tracks do not agree on."""
    frames, voted, agreed, lengths = (row[key] for key in ("frames", "voted_faces", "voted_frames", "track_lengths"))
    found = []
    if agreed is not None and 2 * agreed <= frames:  # older faces do not say
        found.append(f"only {agreed} of {frames} frames show the voted number of faces, {voted}")
    if len(lengths) < voted:
        found.append(f"{voted} faces voted, {len(lengths)} tracked")
    if incomplete := [length for length in lengths if length < COVERED * frames]:
        found.append(f"tracks with detections in {', '.join(map(str, incomplete))} of {frames} frames")
    return found


def table(found: Report) -> str:
    """The report for a terminal."""
    lines = [f"{status:<14}{count:>9}" for status, count in found["statuses"].items()]
    lines += [f"{'all videos':<14}{found['videos']:>9}", ""]
    lines.append(
        f"{found['done']} done: {found['frames']} frames, {found['faces']} faces, {len(found['doubtful'])} doubtful"
    )
    failed = {name: f"{entry['status']}: {entry['reason']}" for name, entry in found["failed"].items()}
    doubtful = {name: "; ".join(reasons) for name, reasons in found["doubtful"].items()}
    for title, entries in (("failed", failed), ("doubtful", doubtful)):
        if entries:
            lines += ["", f"{title}:", *(f"  {name}: {text}" for name, text in list(entries.items())[:SHOWN])]
        if len(entries) > SHOWN:
            lines.append(f"  and {len(entries) - SHOWN} more, in status.json")
    if found["absent"]:
        lines += ["", f"{len(found['absent'])} videos of a metadata.json are not on disk, such as {found['absent'][0]}"]
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()
