"""Every strange video has a status: one run of `preprocess.py` over all of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.strange import add_stream_before, audio_only, change_size, corrupt_packet, encode, set_matrix

PART = "part_0"


def cut_off(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def make(folder: Path, frames: list[np.ndarray]) -> None:
    """Twelve frames of a real face, as many kinds of file."""
    small = [cv2.resize(frame[:, 140:500], (64, 64)) for frame in frames]
    (folder / "zero bytes.mp4").touch()
    (folder / "text.mp4").write_text("no video, whatever it is called\n" * 50)
    audio_only(folder / "audio.mp4")
    for number, share in enumerate((0.05, 0.3, 0.6, 0.9, 0.99)):
        cut_off(encode(folder / f"cut{number}.mp4", frames, movflags="faststart"), share)
    cut_off(encode(folder / "cut.mkv", frames, options={"g": "2"}), 0.4)
    encode(folder / "one frame.mp4", frames[:1])
    encode(folder / "seven.mp4", frames[:7])
    encode(folder / "ten bit.mp4", frames, pixels="yuv420p10le")
    encode(folder / "full chroma.mp4", frames, pixels="yuv444p")
    encode(folder / "gray.mp4", frames, pixels="gray")
    encode(folder / "variable rate.mp4", frames, times=[number * number for number in range(12)])
    encode(folder / "variable rate too.mkv", frames, times=[number * number for number in range(12)])
    set_matrix(encode(folder / "turned.mp4", [np.rot90(frame) for frame in frames]), 0, 1, -1, 0)
    encode(folder / "odd size.mp4", [frame[:359, :639] for frame in frames], pixels="yuv444p")
    encode(folder / "tiny.mp4", small)
    encode(folder / "4096x2160.mp4", [cv2.resize(frames[0], (4096, 2160))] * 2)
    encode(folder / "interlaced.mp4", frames, options={"x264-params": "interlaced=1"})
    corrupt_packet(encode(folder / "corrupt packet.avi", frames, codec="mjpeg", pixels="yuvj420p"), 5)
    change_size(folder / "size changes.mkv", [frames[:5], [cv2.resize(frame, (320, 180)) for frame in frames[5:]]])
    encode(folder / "für dich 日本 .mp4", frames)
    for suffix, codec in (
        ("MP4", "libx264"),
        ("mov", "libx264"),
        ("mkv", "libx264"),
        ("avi", "mpeg4"),
        ("webm", "libvpx"),
    ):
        encode(folder / f"as {suffix}.{suffix}", frames, codec=codec)
    (folder / "link.mp4").symlink_to(folder / "seven.mp4")
    (folder / "broken link.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "folder too.mkv").mkdir()
    encode(folder / "unreadable.mp4", frames).chmod(0)
    encode(folder / "unreadable too.mkv", frames).chmod(0)
    unknown_codec = encode(folder / "unknown codec.mp4", frames)
    unknown_codec.write_bytes(unknown_codec.read_bytes().replace(b"avc1", b"zzz1"))
    encode(folder / "long sound.mkv", frames, sound_seconds=5)
    encode(folder / os.fsdecode(b"no UTF-8 \xff.mkv"), frames)
    encode(folder / "hdr.mp4", frames, options={"x264-params": "transfer=smpte2084:sar=16/11"})
    poster = cv2.resize(frames[0], (160, 90))
    add_stream_before(folder / "seven.mp4", folder / "poster.mkv", [poster], default=False)
    set_matrix(encode(folder / "mirrored.mp4", [frame[:, ::-1] for frame in frames]), -1, 0, 0, 1)
    set_matrix(encode(folder / "sheared.mp4", frames), 1, 0.5, 0, 1)
    encode(folder / "minority.mp4", [*[np.full_like(frames[0], 90)] * 15, *frames])
    (folder / "notes.txt").write_text("notes")


WHOLE = {"status": "ok", "frames": 12, "damaged_packets": 0, "voted_faces": 1, "rotation": 0}
EXPECTED = {
    "zero bytes": {"status": "decode_error", "frames": 0, "reason": "the file is empty"},
    "text": {"status": "unsupported", "reason": "not a video"},
    "audio": {"status": "unsupported", "reason": "has no video stream"},
    "cut0": {"status": "decode_error", "frames": 0, "reason": "cut off"},
    "cut1": {"status": "decode_error", "reason": "cut off"},
    "cut2": {"status": "decode_error", "reason": "cut off"},
    "cut3": {"status": "decode_error", "reason": "cut off"},
    "cut4": {"status": "decode_error", "reason": "cut off"},
    "cut": {"status": "decode_error", "reason": "cut off"},
    "one frame": WHOLE | {"frames": 1},
    "seven": WHOLE | {"frames": 7},
    "ten bit": WHOLE,
    "full chroma": WHOLE,
    "gray": WHOLE,
    "variable rate": WHOLE,
    "variable rate too": WHOLE,
    "turned": WHOLE | {"rotation": 270, "height": 360, "width": 640, "reason": "turned upright by 270 degrees"},
    "odd size": WHOLE | {"height": 359, "width": 639},
    "tiny": WHOLE | {"height": 64, "width": 64},
    "4096x2160": WHOLE | {"frames": 2, "height": 2160, "width": 4096},
    "interlaced": WHOLE,
    "corrupt packet": WHOLE | {"frames": 11, "damaged_packets": 1, "declared_frames": 12},
    "size changes": {"status": "unsupported", "reason": "the size changes from 640x360 to 320x180 at frame 6"},
    "für dich 日本 ": WHOLE,
    **{f"as {suffix}": WHOLE for suffix in ("MP4", "mov", "mkv", "avi", "webm")},
    "link": WHOLE | {"frames": 7},
    "broken link": {"status": "missing", "frames": 0, "reason": "does not exist"},
    "unreadable": {"status": "decode_error", "frames": 0, "reason": "Permission denied"},
    "unreadable too": {"status": "decode_error", "frames": 0, "reason": "Permission denied"},
    "unknown codec": {"status": "unsupported", "reason": "no decoder"},
    "long sound": WHOLE,
    os.fsdecode(b"no UTF-8 \xff"): WHOLE,
    "hdr": WHOLE | {"reason": "HDR (PQ), not tone-mapped; pixels 16:11, not stretched"},
    "poster": WHOLE
    | {"frames": 7, "stream": 1, "streams": 2, "reason": "stream 1 of the file, one of 2 video streams"},
    "mirrored": WHOLE | {"mirrored": True, "reason": "mirrored, as its metadata asks"},
    "sheared": WHOLE | {"reason": "its display matrix is neither a turn nor a mirror image"},
    "minority": {"status": "no_face", "frames": 27, "reason": "most frames show no face; faces in 12 of 27 frames"},
}
# A run that may read and write as any user would: root passes over permissions.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []


def preprocess(*options, prefix=()):
    command = [*prefix, sys.executable, "preprocess.py", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, frames, weights):
    root = tmp_path_factory.mktemp("strange")
    (root / "videos" / PART).mkdir(parents=True)
    make(root / "videos" / PART, frames)
    return root, preprocess("--videos", root / "videos", "--faces", root / "faces", prefix=AS_A_USER)


@pytest.fixture(scope="module")
def rows(ran):
    lines = (ran[0] / "faces/preprocess-0-of-1.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["video"].removeprefix(f"{PART}/"): row for row in map(json.loads, lines)}


@pytest.mark.parametrize("name", EXPECTED, ids=ascii)
def test_status(ran, rows, name):
    row, expected = rows[name], dict(EXPECTED[name])
    assert expected.pop("reason", "") in (row["reason"] or "")
    assert {key: row.get(key) for key in expected} == expected, row["reason"]
    done = (ran[0] / "faces" / PART / name / "info.json").exists()
    assert done == (row["status"] in ("ok", "no_face"))


def test_the_run(ran, rows):
    done = ran[1]
    assert done.returncode == 1
    assert rows.keys() == EXPECTED.keys()
    good = sum(row["status"] in ("ok", "no_face") for row in rows.values())
    assert f"{good} done, 0 skipped, {len(EXPECTED) - good} failed (" in done.stdout
    assert "Traceback" not in done.stderr
    for name, row in rows.items():
        if row["status"] not in ("ok", "no_face"):
            assert f"preprocess: {PART}/{name}: {row['status']}: {row['reason']}" in done.stderr


def test_status_names_what_metadata_says_and_nobody_has(ran):
    root, _ = ran
    metadata = root / "videos" / PART / "metadata.json"
    metadata.write_text(json.dumps({"seven.mp4": {"label": "REAL"}, "lost.mp4": {"label": "FAKE"}}))
    done = preprocess("--videos", root / "videos", "--faces", root / "faces", "--status")
    metadata.unlink()
    assert f"1 videos of a metadata.json are not on disk, such as {PART}/lost" in done.stdout


def test_frames_before_the_end_are_counted(rows):
    counts = [rows[f"cut{number}"]["frames"] for number in range(5)]
    assert counts == sorted(counts)
    assert 0 < counts[2] < counts[4] <= 12
    assert 0 < rows["cut"]["frames"] < 7


def test_turned_faces_stand_upright(ran):
    faces = ran[0] / "faces" / PART
    sizes = [
        json.loads((faces / name / "info.json").read_text())["tracks"][0]["squares"][0] for name in ("turned", "as mov")
    ]
    assert np.abs(np.subtract(*sizes)).max() <= 6


def test_making_av1_leaves_a_process_its_priority(tmp_path, frames):
    before = os.sched_getscheduler(0)
    encode(tmp_path / "a.mp4", frames[:2], "libsvtav1", options={"preset": "12"})
    assert os.sched_getscheduler(0) == before


def test_status_counts_them_all(ran, rows):
    root, _ = ran
    done = preprocess("--videos", root / "videos", "--faces", root / "faces", "--status")
    found = json.loads((root / "faces/status.json").read_text(encoding="utf-8"))
    assert done.returncode == 1
    statuses = [row["status"] for row in rows.values()]
    assert found["statuses"] == {status: statuses.count(status) for status in set(statuses)}
    assert found["videos"] == len(EXPECTED)
    done_too = ("ok", "no_face")
    assert found["frames"] == sum(row["frames"] for row in rows.values() if row["status"] in done_too)
    assert found["damaged_packets"] == 1
    assert found["failed"].keys() == {f"{PART}/{name}" for name, row in rows.items() if row["status"] not in done_too}
    doubtful = {name.removeprefix(f"{PART}/"): reasons for name, reasons in found["doubtful"].items()}
    assert doubtful["hdr"] == ["HDR (PQ), not tone-mapped", "pixels 16:11, not stretched"]
    assert doubtful["one frame"] == ["it has one frame"]
    assert doubtful["poster"] == ["stream 1 of the file, one of 2 video streams"]
    assert "neither a turn nor a mirror image" in doubtful["sheared"][0]
    assert doubtful["minority"] == ["faces in 12 of 27 frames"]
    assert not doubtful.keys() & {"seven", "mirrored", "turned"}
    assert found["left_out"] == [f"{PART}/{name}" for name in ("folder too.mkv/", "folder.mp4/", "notes.txt")]
    assert f"left out 3: {PART}/folder too.mkv/, {PART}/folder.mp4/, {PART}/notes.txt" in done.stdout
    for status in set(statuses):
        assert f"{status:<14}{statuses.count(status):>9}" in done.stdout


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path, frames, weights):
    """In a file system of 3 MB, mounted for this run alone."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    (tmp_path / "videos" / PART).mkdir(parents=True)
    for number in range(4):
        encode(tmp_path / "videos" / PART / f"{number}.mp4", frames)
    faces, copy = tmp_path / "faces", tmp_path / "copy"
    faces.mkdir()
    run = f"{sys.executable} preprocess.py --workers 1 --videos {tmp_path}/videos --faces {faces}"
    script = f"mount -t tmpfs -o size=3m none {faces} && {{ {run}; code=$?; cp -a {faces} {copy}; exit $code; }}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "No space left on device: cannot write; finished videos are kept" in done.stderr
    assert "Traceback" not in done.stderr
    kept = sorted(path.name for path in (copy / PART).iterdir())
    assert 1 <= len(kept) < 4
    shutil.copytree(copy, faces, dirs_exist_ok=True)
    again = preprocess("--videos", tmp_path / "videos", "--faces", faces)
    assert f"{4 - len(kept)} done, {len(kept)} skipped, 0 failed" in again.stdout
    assert len(list((faces / PART).glob("*/frame12_face1.png"))) == 4
