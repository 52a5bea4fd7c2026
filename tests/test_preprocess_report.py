"""What surrounds preprocessing: the log, the report, the contact sheet, the packed form, the Slurm script."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from common.errors import BadInputError
from common.pack import PACK, read_face
from common.status import Status
from image_based.config import ImageConfig
from image_based.dataset import ValidationCrops
from preprocessing.log import Log, LogEntry, read_log
from preprocessing.preview import COLOURS
from preprocessing.report import doubts, make_report
from tests.conftest import ROOT, faces_of, tree_bytes, wait_for
from tests.strange import encode
from training.config import load_config

PART = "part_0"


@pytest.fixture(scope="module")
def videos(tmp_path_factory, frames):
    root = tmp_path_factory.mktemp("videos")
    (root / PART).mkdir()
    for name in ("a", "b", "c"):
        encode(root / PART / f"{name}.mp4", frames[:4])
    return root


@pytest.fixture(scope="module")
def plain(videos, tmp_path_factory, weights):
    """The faces of the three videos, as files."""
    root = tmp_path_factory.mktemp("plain")
    preprocess("--videos", videos, "--faces", root)
    return root


def preprocess(*options, check=True):
    command = [sys.executable, "preprocess.py", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


# Log and report


def test_the_latest_row_of_a_video_counts_and_a_torn_one_does_not(tmp_path):
    first, second = Log(tmp_path, 0, 1), Log(tmp_path, 1, 2)
    first.append("part_0/a", LogEntry(Status.CRASHED, None, 0))
    second.append("part_0/a", LogEntry(Status.OK, None, 0))
    second.append("part_0/b", LogEntry(Status.OK, None, 0))
    with first.path.open("a") as file:
        file.write('{"video": "part_0/b", "time": "9999", "sta')
    first.append("part_0/c", LogEntry(Status.NO_FACE, None, 0))
    assert {name: entry.status for name, entry in read_log(tmp_path).items()} == {
        "part_0/a": "ok", "part_0/b": "ok", "part_0/c": "no_face",
    }  # fmt: skip


def test_status_before_midway_and_after(videos, tmp_path):
    done = preprocess("--videos", videos, "--faces", tmp_path, "--status", check=False)
    assert (done.returncode, json.loads((tmp_path / "status.json").read_text())["statuses"]) == (1, {"not done yet": 3})
    preprocess("--videos", videos, "--faces", tmp_path, "--shard", "1/3")
    done = preprocess("--videos", videos, "--faces", tmp_path, "--status", check=False)
    assert done.returncode == 1
    found = json.loads((tmp_path / "status.json").read_text())
    assert (found["done"], found["frames"], found["faces"], found["pending"]) == (1, 4, 1, [f"{PART}/a", f"{PART}/c"])
    preprocess("--videos", videos, "--faces", tmp_path)
    done = preprocess("--videos", videos, "--faces", tmp_path, "--status")
    assert "3 done: 12 frames, 3 faces, 0 doubtful" in done.stdout


def test_status_knows_faces_without_a_log_and_logs_without_faces(videos, plain, tmp_path):
    """Faces of stage 3 have no log; a row of faces that were removed is no face."""
    paths = {f"{PART}/{name}": videos / PART / f"{name}.mp4" for name in "abc"}
    for name, content in tree_bytes(plain).items():
        if name.startswith(f"{PART}/a/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    Log(tmp_path, 0, 1).append(f"{PART}/b", LogEntry(Status.OK, None, 4, track_lengths=(4,)))
    found = make_report(paths, tmp_path)
    assert (found.done, found.frames, found.faces, found.pending) == (1, 4, 1, [f"{PART}/b", f"{PART}/c"])


def test_faces_of_older_versions_and_damaged_ones(videos, plain, tmp_path):
    paths = {f"{PART}/{name}": videos / PART / f"{name}.mp4" for name in "ab"}
    for name in "ab":
        (tmp_path / PART / name).mkdir(parents=True)
    info = json.loads((plain / PART / "a/info.json").read_text())
    del info["voted_frames"]
    (tmp_path / PART / "a/info.json").write_text(json.dumps(info))
    (tmp_path / PART / "b/info.json").touch()
    found = make_report(paths, tmp_path)
    assert found.statuses == {"ok": 1, "damaged": 1}
    assert "info.json is unreadable, remove its folder" in found.failed[f"{PART}/b"]["reason"]
    assert found.doubtful == {}


def test_faces_that_cannot_be_written_are_one_line(videos, tmp_path):
    (tmp_path / "file").touch()
    done = preprocess("--videos", videos, "--faces", tmp_path / "file/faces", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("frames", "voted", "agreed", "lengths", "words"),
    [
        (300, 1, 300, [300], []),
        (300, 1, 290, [280], []),
        (300, 2, 150, [300, 290], ["only 150 of 300 frames show the voted number of faces, 2"]),
        (300, 2, 300, [300], ["2 faces voted, 1 tracked"]),
        (300, 2, 200, [300, 200], ["tracks with detections in 200 of 300 frames"]),
        (300, 0, 280, [], []),
    ],
)
def test_doubtful_videos(frames, voted, agreed, lengths, words):
    entry = LogEntry(Status.OK, None, frames, voted_faces=voted, voted_frames=agreed, track_lengths=tuple(lengths))
    assert doubts(entry) == words


# Contact sheet


def test_contact_sheet(clip, tmp_path):
    done = preprocess("--preview", clip("single_face.mp4"), "--output", tmp_path / "sheet.png")
    assert "single_face.mp4: 72 frames of 640x360; 1 faces voted, by 72 frames" in done.stdout
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    drawn = (np.abs(sheet.astype(int) - COLOURS[0]).max(axis=2) == 0).sum()
    assert drawn > 10_000, "no boxes, squares or time line in the first track's colour"
    assert sheet.shape[1] > 1500


def test_contact_sheet_of_no_face_and_of_no_video(clip, tmp_path):
    assert "0 faces voted" in preprocess("--preview", clip("no_face.mp4"), "--output", tmp_path / "sheet.png").stdout
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    done = preprocess("--preview", tmp_path / "sheet.png", "--output", tmp_path / "other.png", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not a video" in done.stderr


# Packed faces


def test_packed_faces_are_the_same(videos, plain, tmp_path):
    preprocess("--videos", videos, "--faces", tmp_path, "--pack")
    assert sorted(path.name for path in (tmp_path / PART / "a").iterdir()) == [PACK, "info.json"]
    for path in sorted(plain.glob("*/*/*")):
        packed = tmp_path / path.relative_to(plain)
        if path.suffix == ".json":
            assert packed.read_bytes() == path.read_bytes()
        else:
            np.testing.assert_array_equal(read_face(packed), read_face(path))
    assert "0 done, 3 skipped" in preprocess("--videos", videos, "--faces", tmp_path).stdout


def test_the_trainer_reads_packed_faces_in_several_processes(videos, plain, tmp_path):
    preprocess("--videos", videos, "--faces", tmp_path, "--pack")
    (tmp_path / "list.txt").write_text("".join(f"{PART}/{name}/frame%d_face1.png 1 1 4 0\n" for name in "abc"))
    config = ROOT / "image_based/configs/b0/config.yaml"
    batches = []
    for root in (plain, tmp_path):
        crops = ValidationCrops(
            load_config(config, ImageConfig, [f"val_root={root}", "input_size=64"]), tmp_path / "list.txt"
        )
        crops[0]  # opens the first pack before the loader forks
        batches.append([images for images, _ in torch.utils.data.DataLoader(crops, batch_size=3, num_workers=2)])
    assert len(batches[0]) == 4
    assert all(torch.equal(*pair) for pair in zip(*batches, strict=True))


def test_a_crop_that_is_in_neither_form(videos, tmp_path):
    (tmp_path / PACK).write_bytes(b"no zip")
    with pytest.raises(BadInputError, match=r"frame1_face1\.png cannot be read from faces\.zip"):
        read_face(tmp_path / "frame1_face1.png")
    with pytest.raises(BadInputError, match="is missing"):
        read_face(tmp_path / "other/frame1_face1.png")


# Slurm


@pytest.fixture
def sbatch(tmp_path):
    """A stand-in for sbatch that records its arguments and, like an array, runs the wrapped command once per task."""
    script = tmp_path / "bin/sbatch"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, re, subprocess, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'submitted.json')!r}, 'w'))\n"
        "first, last = map(int, re.search(r'--array=(\\d+)-(\\d+)', ' '.join(sys.argv)).groups())\n"
        "for task in range(first, last + 1):\n"
        "    array = dict(MIN=first, MAX=last, STEP=1, COUNT=last - first + 1, ID=task)\n"
        "    array = {f'SLURM_ARRAY_TASK_{name}': str(value) for name, value in array.items()}\n"
        "    subprocess.run(['sh', '-c', sys.argv[-1]], check=True, env=os.environ | array)\n"
    )
    script.chmod(0o755)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "CPUS_PER_TASK"))
    }
    return environment | {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHON": sys.executable}


def submit(*arguments, environment):
    command = ["sh", "preprocess.sh", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def test_the_array_does_every_video_once(videos, plain, tmp_path, sbatch):
    faces = tmp_path / "it's faces"
    done = submit("debug", 2, "faces", "--videos", videos, "--faces", faces, environment=sbatch)
    assert done.returncode == 0, done.stderr
    submitted = json.loads((tmp_path / "submitted.json").read_text())
    assert submitted[:-1] == [
        "--partition=debug", "--job-name=faces", "--array=0-1", "--requeue", "--open-mode=append", "--ntasks=1",
        "--cpus-per-task=5", "--output=logs/faces-%A_%a.out", "--wrap",
    ]  # fmt: skip
    assert faces_of(faces) == faces_of(plain)
    assert len(read_log(faces)) == 3
    assert sorted(path.name for path in faces.glob("*.jsonl")) == ["preprocess-0-of-2.jsonl", "preprocess-1-of-2.jsonl"]


def test_the_array_takes_its_numbers_from_the_environment(videos, tmp_path, sbatch):
    more = sbatch | {"CPUS_PER_TASK": "2", "SBATCH_ARGS": "--time=1:00:00 --mem=4G"}
    submit("debug", 1, "faces", "--videos", videos, "--faces", tmp_path / "faces", environment=more)
    submitted = json.loads((tmp_path / "submitted.json").read_text())
    assert submitted[6:10] == ["--cpus-per-task=2", "--output=logs/faces-%A_%a.out", "--time=1:00:00", "--mem=4G"]


@pytest.mark.slurm
def test_the_array_on_a_real_slurm_with_a_task_queued_again(videos, plain, tmp_path, slurm):
    """One of two tasks is sent back to the queue while it runs, as preemption does; it goes on."""
    environment = slurm | {
        "PYTHON": sys.executable,
        "CPUS_PER_TASK": "1",
        "SBATCH_ARGS": f"--chdir={ROOT} --output={tmp_path}/%a.out",
    }
    done = submit("debug", 2, "faces", "--videos", videos, "--faces", tmp_path / "faces", environment=environment)
    assert done.returncode == 0, done.stderr
    job = done.stdout.split()[-1]

    def slurm_says(*command):
        return subprocess.run(command, env=slurm, capture_output=True, text=True, check=True).stdout

    def queue():
        return slurm_says("squeue", "--noheader", "--array", "--format=%i %T %r", f"--job={job}")

    wait_for(lambda: f"{job}_0 RUNNING" in queue())
    slurm_says("scontrol", "requeue", f"{job}_0")
    wait_for(lambda: not queue().strip(), 120)
    logs = {number: (tmp_path / f"{number}.out").read_text() for number in (0, 1)}
    assert "shard 0/2" in logs[0], logs
    assert "shard 1/2" in logs[1], logs
    assert faces_of(tmp_path / "faces") == faces_of(plain)
    restarts = (tmp_path / "0.out").read_text().count("CANCELLED")
    assert restarts == 1, logs[0]


@pytest.mark.parametrize(
    ("arguments", "complaint"), [((), "usage:"), (("debug", "many"), "SHARDS must be a positive number")]
)
def test_a_call_that_makes_no_sense(sbatch, arguments, complaint):
    done = submit(*arguments, environment=sbatch)
    assert done.returncode == 2
    assert complaint in done.stderr
