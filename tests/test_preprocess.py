"""`preprocess.py` through its real command: the bytes of stages 1 to 3, whatever happens to it on the way."""

import json
import os
import re
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.tree import write_video
from faces.detector import load_detector
from faces.one_pass import Finder, crop_files, find_faces, threads
from faces.video import Reading, probe, read_frames
from tests.conftest import ROOT, faces_of, interrupt, launch, pause, still_video, tree_bytes, wait_for

PART, OTHER = "dfdc_train_part_0", "dfdc_train_part_7"


def zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of an image, enlarged to its size."""
    height, width = image.shape[:2]
    inner = image[int(height * (1 - 1 / factor) / 2) :, int(width * (1 - 1 / factor) / 2) :]
    return cv2.resize(inner[: int(height / factor), : int(width / factor)], (width, height))


@pytest.fixture(scope="module")
def videos(tmp_path_factory, clip, frames):
    """Real faces: one, two, far, coming close, gone for a while, none."""
    root = tmp_path_factory.mktemp("data") / "DFDC-Kaggle"
    write_video(root / PART / "plain.mp4", frames, 30.0)
    still_video(root / PART / "two faces.mp4", cv2.imread(str(clip("multi_face.jpg"))), 6, width=1280, height=720)
    still_video(root / OTHER / "tall.mp4", frames[0], 4, width=1080, height=2400)
    far = cv2.copyMakeBorder(frames[0], 720, 720, 1280, 1280, cv2.BORDER_REFLECT)
    write_video(
        root / OTHER / "close.mp4",
        [cv2.resize(zoom(far, factor), (1280, 720)) for factor in np.linspace(1.5, 5, 15)],
        30.0,
    )
    write_video(root / PART / "gone.mp4", [*frames[:5], *[np.zeros_like(frames[0])] * 3, *frames[5:]], 30.0)
    write_video(root / PART / "no_face.mp4", list(islice(read_frames(clip("no_face.mp4")), 6)), 24.0)
    return root


def command(script, *options):
    return [sys.executable, f"{script}.py", *map(str, options)]


def preprocess(videos, faces, *options, check=True, **environment):
    arguments = command("preprocess", "--videos", videos, "--faces", faces, *options)
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def three_stages(videos, root, *weights):
    for script, folders in (
        ("extract_frames", ("--videos", videos, "--frames", root / "frames")),
        ("detect_faces", ("--frames", root / "frames", "--boxes", root / "boxes", *weights)),
        ("save_aligned_faces", ("--frames", root / "frames", "--boxes", root / "boxes", "--faces", root / "faces")),
    ):
        subprocess.run(command(script, *folders), cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def staged(videos, tmp_path_factory, weights):
    root = tmp_path_factory.mktemp("staged")
    three_stages(videos, root)
    return root


def rows(faces):
    logs = sorted(faces.glob("preprocess-*-of-*.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def test_faces_and_boxes_are_those_of_the_three_stages(videos, staged, tmp_path):
    done = preprocess(videos, tmp_path / "faces", "--boxes", tmp_path / "boxes")
    assert "preprocess: 6 done, 0 skipped, 0 failed; 58 frames; shard 0/1" in done.stdout
    assert faces_of(tmp_path / "faces") == faces_of(staged / "faces")
    assert tree_bytes(tmp_path / "boxes") == tree_bytes(staged / "boxes")
    infos = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "faces").glob("*/*/info.json")}
    assert {name: info["voted_faces"] for name, info in infos.items()} == {
        "plain": 1, "two faces": 5, "tall": 1, "close": 1, "gone": 1, "no_face": 0,
    }  # fmt: skip
    assert (infos["gone"]["voted_frames"], infos["gone"]["frames"]) == (12, 15)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_faces_of_real_clips_are_those_of_the_three_stages(shared, tmp_path):
    """Every clip of ../shared, 1080p, portrait and 720p, with the reference's weights."""
    weights = ("--detector-weights", shared("weights/mobilenet0.25_Final.pth"))
    for path in sorted(shared("clips").glob("*/*.mp4")):
        write_video(tmp_path / "videos" / path.parent.name / path.name, list(islice(read_frames(path), 10)), 30.0)
    three_stages(tmp_path / "videos", tmp_path / "staged", *weights)
    preprocess(tmp_path / "videos", tmp_path / "faces", *weights)
    assert len(list((tmp_path / "faces").glob("*/*/frame10_face1.png"))) >= 4
    assert faces_of(tmp_path / "faces") == faces_of(tmp_path / "staged/faces")


def test_the_log_says_what_was_found(videos, tmp_path):
    preprocess(videos, tmp_path, "--workers", 1)
    found = rows(tmp_path)
    assert [row["frames"] for row in found] == sorted((row["frames"] for row in found), reverse=True), "longest first"
    by_name = {row["video"]: row for row in found}
    assert by_name[f"{PART}/gone"].items() >= {
        "status": "ok", "frames": 15, "declared_frames": 15, "damaged_packets": 0,
        "height": 360, "width": 640, "rotation": 0,
        "voted_faces": 1, "voted_frames": 12, "track_lengths": [12],
    }.items()  # fmt: skip
    assert by_name[f"{PART}/no_face"]["status"] == "no_face"
    size = sum(path.stat().st_size for path in (tmp_path / PART / "plain").iterdir())
    assert by_name[f"{PART}/plain"]["bytes"] == size


@pytest.mark.parametrize("keep", [0, 1_000_000, 1 << 30])
@pytest.mark.parametrize("cores", [1, 3])
def test_neither_memory_nor_threads_change_the_crops(videos, staged, weights, keep, cores):
    """Without room for regions everything is decoded again; a face that comes close leaves its regions."""
    video = videos / OTHER / "close.mp4"
    with threads(cores) as (submit, ahead):
        reading = Reading(video, probe(video))
        faces = find_faces(reading, reading, Finder(load_detector(weights, "cpu"), submit, ahead, keep=keep))
        crops = dict(crop_files(faces, submit, ahead))
    outside = sum(faces.regions.cut(at, crop.square) is None for at, found in faces.crops.items() for crop in found)
    assert sum(pixels.nbytes for kept in faces.regions.kept.values() for *_, pixels in kept) <= keep
    assert 0 < outside < 15 if keep == 1 << 30 else outside == 15
    expected = tree_bytes(staged / "faces" / OTHER / "close")
    del expected["info.json"]
    assert crops == expected


def test_running_again_skips_what_is_done_and_makes_what_is_not(videos, staged, tmp_path):
    preprocess(videos, tmp_path / "faces")
    kept = (tmp_path / "faces" / PART / "plain/info.json").stat().st_mtime_ns
    removed = tmp_path / "faces" / PART / "gone"
    for path in removed.iterdir():
        path.unlink()
    removed.rmdir()
    assert "1 done, 5 skipped, 0 failed" in preprocess(videos, tmp_path / "faces").stdout
    assert "0 done, 6 skipped, 0 failed" in preprocess(videos, tmp_path / "faces").stdout
    assert faces_of(tmp_path / "faces") == faces_of(staged / "faces")
    assert (tmp_path / "faces" / PART / "plain/info.json").stat().st_mtime_ns == kept
    assert "6 done" in preprocess(videos, tmp_path / "faces", "--boxes", tmp_path / "boxes").stdout
    assert tree_bytes(tmp_path / "boxes") == tree_bytes(staged / "boxes")


def start(videos, faces, *options):
    return launch("preprocess.py", "--videos", videos, "--faces", faces, *options)


def first_done(faces):
    """Holds when one video is done; the next is under way then."""
    return lambda: list(faces.glob("*/[!.]*/info.json"))


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_kill_midway_then_again_gives_the_same_bytes(videos, staged, tmp_path, kill):
    process = start(videos, tmp_path, "--workers", 1)
    interrupt(process, first_done(tmp_path), kill, whole=kill == signal.SIGKILL)
    process.communicate(timeout=30)
    assert len(first_done(tmp_path)()) < 6, "it was done before it was killed"
    assert process.returncode == (-9 if kill == signal.SIGKILL else 143)
    wait_for(lambda: not members(process.pid))
    preprocess(videos, tmp_path)
    assert faces_of(tmp_path) == faces_of(staged / "faces")


def members(group):
    """The living processes of a process group (zombies are dead)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def workers_of(group):
    return [pid for pid in members(group) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_worker_that_is_killed_costs_its_video_only(videos, staged, tmp_path):
    process = start(videos, tmp_path, "--workers", 1)
    pause(process, lambda: first_done(tmp_path)() and list(tmp_path.glob("*/.*.partial")))  # it is at the next one
    for pid in workers_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=120)
    (lost,) = (row["video"] for row in rows(tmp_path) if row["status"] == "crashed")
    assert process.returncode == 1
    assert f"{lost}: crashed: its worker died" in errors
    assert "5 done, 0 skipped, 1 failed (1 crashed)" in output
    # The kill may come between the last of a video's faces and the report of it: then nothing is left to do.
    assert re.search(r"(1 done, 5|0 done, 6) skipped, 0 failed", preprocess(videos, tmp_path).stdout)
    assert faces_of(tmp_path) == faces_of(staged / "faces")


def test_shards_together_are_one_run(videos, staged, tmp_path):
    """By option, and by what Slurm says to each task of an array."""
    preprocess(videos, tmp_path, "--shard", "0/3")
    first = {row["video"] for row in rows(tmp_path)}
    array = {
        f"SLURM_ARRAY_TASK_{name}": value for name, value in (("MIN", "1"), ("MAX", "3"), ("STEP", "1"), ("COUNT", "3"))
    }
    for task in ("2", "3"):
        assert f"shard {int(task) - 1}/3" in preprocess(videos, tmp_path, **array, SLURM_ARRAY_TASK_ID=task).stdout
    assert faces_of(tmp_path) == faces_of(staged / "faces")
    names = [row["video"] for row in rows(tmp_path)]
    assert len(first) == 2
    assert len(names) == len(set(names)) == 6
    gap = array | {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "2"}
    done = preprocess(videos, tmp_path, check=False, **gap)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has gaps" in done.stderr


@pytest.mark.parametrize("text", ["3/3", "a/b", "1", "2/1", "0/0"])
def test_a_shard_that_is_none(videos, tmp_path, text):
    done = preprocess(videos, tmp_path, "--shard", text, check=False)
    assert done.returncode == 2
    assert "is not i/n with 0 <= i < n" in done.stderr


def test_two_runs_on_one_folder_at_once(videos, staged, tmp_path):
    both = [start(videos, tmp_path, "--workers", 2) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert faces_of(tmp_path) == faces_of(staged / "faces")
