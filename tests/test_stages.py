"""Stages 1 to 3 through their real commands, on short real clips and on everything that can be wrong with them."""

import json
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.tree import write_video
from faces.boxes import parse_boxes
from faces.video import read_frames
from tests.conftest import ROOT, interrupt, launch, still_video, tree_bytes

PART = "dfdc_train_part_0"


@pytest.fixture(scope="module")
def videos(tmp_path_factory, clip, frames):
    """Two parts: good clips with unusual names and sizes, broken ones, and stray files."""
    root = tmp_path_factory.mktemp("data") / "DFDC-Kaggle"
    good, other = root / PART, root / "dfdc_train_part_7"
    write_video(good / "plain.mp4", frames, 30.0)
    other.mkdir()
    shutil.copy(good / "plain.mp4", other / "CAPITALS.MP4")
    shutil.copy(good / "plain.mp4", good / "für dich 日本.mp4")
    still_video(good / "tall.mp4", frames[0], 6, width=1080, height=2400)
    write_video(other / "no_face.mp4", list(islice(read_frames(clip("no_face.mp4")), 6)), 24.0)
    (other / "empty.mp4").touch()
    whole = (good / "plain.mp4").read_bytes()
    (other / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (other / "notes.txt").write_text("a stray file in a part")
    (root / "stray.mp4").write_bytes(whole)
    (root / ".hidden").mkdir()
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def stage(name, work, *folders, videos=None, check=True, options=()):
    paths = {"videos": videos, **{folder: work / folder for folder in ("frames", "boxes", "faces")}}
    arguments = [word for folder in folders for word in (f"--{folder}", str(paths[folder]))]
    command = [sys.executable, f"{name}.py", *arguments, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


GOOD = [
    f"{PART}/für dich 日本",
    f"{PART}/plain",
    f"{PART}/tall",
    "dfdc_train_part_7/CAPITALS",
    "dfdc_train_part_7/no_face",
]


@pytest.fixture(scope="module")
def extracted(videos, work):
    return stage("extract_frames", work, "videos", "frames", videos=videos, check=False)


@pytest.fixture(scope="module")
def detected(extracted, work, weights):
    return stage("detect_faces", work, "frames", "boxes")


@pytest.fixture(scope="module")
def aligned(detected, work):
    return stage("save_aligned_faces", work, "frames", "boxes", "faces")


def names(root):
    return sorted(f"{video.parent.name}/{video.name}" for video in root.glob("*/*"))


def test_extraction_takes_the_good_and_names_the_bad(extracted, work):
    assert extracted.returncode == 1
    assert extracted.stdout.startswith("extract_frames: 5 done, 0 skipped, 2 failed; 48 frames")
    assert names(work / "frames") == GOOD
    failed = json.loads((work / "frames/failed.json").read_text())
    assert "the file is empty" in failed["dfdc_train_part_7/empty"]
    assert "cut off" in failed["dfdc_train_part_7/cut"]
    assert all(reason in extracted.stderr for reason in failed.values())


def test_extracted_pixels_are_the_videos(extracted, work, videos):
    decoded = list(read_frames(videos / PART / "plain.mp4"))
    for number, frame in enumerate(decoded, start=1):
        np.testing.assert_array_equal(cv2.imread(str(work / "frames" / PART / f"plain/frame{number}.png")), frame)
    facts = json.loads((work / "frames" / PART / "plain/video.json").read_text())
    expected = {"file": "plain.mp4", "frames": 12, "height": 360, "width": 640, "fps": 30.0, "rotation": 0}
    assert facts == expected | {"mirrored": False, "notes": []}


def test_boxes_are_the_detectors_in_the_contracts_format(detected, work, detector, videos):
    assert detected.stdout.startswith("detect_faces: 5 done, 0 skipped, 0 failed; 48 frames")
    for number, frame in enumerate(read_frames(videos / PART / "plain.mp4"), start=1):
        text = (work / "boxes" / PART / f"plain/frame{number}.txt").read_text()
        expected = detector.detect([frame])[0]
        boxes = parse_boxes(text)
        assert np.abs(boxes[:, :4] - np.trunc(expected[:, :4])).max() <= 1
        np.testing.assert_allclose(boxes[:, 4], expected[:, 4], atol=1e-4)
        first = text.splitlines()[1]
        assert first.endswith(" ")
        assert first.split(" ")[4] == str(boxes[0, 4])


def test_crops_and_info(aligned, work):
    assert aligned.stdout.startswith("save_aligned_faces: 5 done, 0 skipped, 0 failed; 48 frames")
    folder = work / "faces" / PART / "plain"
    info = json.loads((folder / "info.json").read_text())
    assert {key: info[key] for key in ("frames", "height", "width", "fps", "voted_faces")} == {
        "frames": 12, "height": 360, "width": 640, "fps": 30.0, "voted_faces": 1,
    }  # fmt: skip
    (track,) = info["tracks"]
    assert [found[0] for found in track["detections"]] == list(range(1, 13))
    assert len(list(folder.iterdir())) == 2 * 12 + 1
    for number, (x, y, size) in enumerate(track["squares"], start=1):
        frame = cv2.imread(str(work / "frames" / PART / f"plain/frame{number}.png"))
        crop = frame[y : y + size, x : x + size]
        np.testing.assert_array_equal(cv2.imread(str(folder / f"frame{number}_face1.png")), crop)
        encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        assert (folder / f"frame{number}_face1.jpg").read_bytes() == encoded


def test_a_face_is_found_in_1080x2400_and_none_in_the_sky(aligned, work):
    tall = json.loads((work / "faces" / PART / "tall/info.json").read_text())
    assert (tall["height"], tall["width"], tall["voted_faces"]) == (2400, 1080, 1)
    sky = json.loads((work / "faces/dfdc_train_part_7/no_face/info.json").read_text())
    assert (sky["voted_faces"], sky["tracks"]) == (0, [])


def test_capitals_and_other_alphabets_change_nothing(aligned, work):
    plain = tree_bytes(work / "faces" / PART / "plain")
    assert tree_bytes(work / "faces/dfdc_train_part_7/CAPITALS") == plain
    assert tree_bytes(work / "faces" / PART / "für dich 日本") == plain


def test_running_again_does_no_work(aligned, work, videos):
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.*") if path.name != "failed.json"}
    assert (
        "0 done, 5 skipped, 2 failed"
        in stage("extract_frames", work, "videos", "frames", videos=videos, check=False).stdout
    )
    assert "0 done, 5 skipped, 0 failed" in stage("detect_faces", work, "frames", "boxes").stdout
    assert "0 done, 5 skipped, 0 failed" in stage("save_aligned_faces", work, "frames", "boxes", "faces").stdout
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.*") if path.name != "failed.json"} == before


@pytest.mark.parametrize(
    ("name", "output", "folders"),
    [
        ("extract_frames", "frames", ("videos", "frames")),
        ("detect_faces", "boxes", ("frames", "boxes")),
        ("save_aligned_faces", "faces", ("frames", "boxes", "faces")),
    ],
)
def test_kill_midway_then_again_gives_the_same_bytes(aligned, work, videos, tmp_path, name, output, folders):
    paths = {
        "videos": videos,
        **{folder: work / folder for folder in ("frames", "boxes", "faces")},
        output: tmp_path / output,
    }
    arguments = [word for folder in folders for word in (f"--{folder}", str(paths[folder]))]
    words = [f"{name}.py", *arguments, "--workers", "1"]
    process = launch(*words)
    interrupt(process, lambda: list((tmp_path / output).glob("*/.*.partial/frame1*")), signal.SIGKILL, whole=True)
    process.communicate()
    assert list((tmp_path / output).glob("*/.*.partial")), "nothing was under way when the stage was killed"
    launch(*words).communicate()
    assert not list((tmp_path / output).glob("*/.*.partial"))
    assert tree_bytes(tmp_path / output) == tree_bytes(work / output)


def remove(*names):
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def clear(folder):
    for path in folder.iterdir():
        path.unlink()


FRAME_DAMAGE = {
    "no frames": (clear, "holds no frame%d.png"),
    "gap": (remove("frame5.png"), "frame5.png is missing (1 of 12 are)"),
    "short": (remove("frame12.png"), "holds 11 frames, which is not what its video.json says"),
    "no image": (write("frame5.png", b"no image"), "frame5.png is not an image"),
    "empty image": (write("frame5.png", b""), "frame5.png is not an image"),
    "other size": (
        lambda f: cv2.imwrite(str(f / "frame5.png"), np.zeros((9, 9, 3), np.uint8)),
        "frame5.png has another size",
    ),
    "bad facts": (write("video.json", b"{"), "video.json"),
}
BOX_DAMAGE = {
    "no boxes": (shutil.rmtree, "detect_faces.py has not finished this video"),
    "missing": (remove("frame7.txt"), "frame7.txt is missing"),
    "malformed": (write("frame7.txt", b"1\n1 2 3 \n"), "frame7.txt: line 2"),
    "empty": (write("frame7.txt", b""), "frame7.txt: line 1"),
    "binary": (write("frame7.txt", b"\xff\xfe"), "frame7.txt"),
    "too many": (write("frame13.txt", b"0\n"), "has boxes for more than the 12 frames"),
}


@pytest.fixture(scope="module")
def damaged(aligned, work, tmp_path_factory):
    """Copies of one video's frames and boxes, one sound, one for each damage, one with a second box
    on every face but one.
    """
    root = tmp_path_factory.mktemp("damaged")
    for name in ("sound", "twins", *FRAME_DAMAGE, *BOX_DAMAGE):
        for folder in ("frames", "boxes"):
            shutil.copytree(work / folder / PART / "plain", root / folder / PART / name)
    for name, (damage, _) in FRAME_DAMAGE.items():
        damage(root / "frames" / PART / name)
    for name, (damage, _) in BOX_DAMAGE.items():
        damage(root / "boxes" / PART / name)
    for number in range(2, 13):
        path = root / "boxes" / PART / f"twins/frame{number}.txt"
        x, y, width, height, _ = path.read_text().splitlines()[1].split()
        path.write_text(f"2\n{x} {y} {width} {height} 0.99 \n{x} {y} {width} {int(height) - 4} 0.9 \n")
    return root


def test_detection_names_what_is_wrong_with_frames_and_goes_on(damaged, tmp_path):
    (tmp_path / "frames").symlink_to(damaged / "frames")
    done = stage("detect_faces", tmp_path, "frames", "boxes", check=False)
    failed = json.loads((tmp_path / "boxes/failed.json").read_text())
    assert done.returncode == 1
    assert f"{2 + len(BOX_DAMAGE)} done, 0 skipped, {len(FRAME_DAMAGE)} failed" in done.stdout
    assert failed.keys() == {f"{PART}/{name}" for name in FRAME_DAMAGE}
    for name, (_, complaint) in FRAME_DAMAGE.items():
        assert complaint in failed[f"{PART}/{name}"]
        assert failed[f"{PART}/{name}"] in done.stderr
    assert names(tmp_path / "boxes") == sorted(f"{PART}/{name}" for name in ("sound", "twins", *BOX_DAMAGE))


def test_alignment_names_what_is_wrong_and_goes_on(damaged, work):
    done = stage("save_aligned_faces", damaged, "frames", "boxes", "faces", check=False)
    failed = json.loads((damaged / "faces/failed.json").read_text())
    assert done.returncode == 1
    assert failed.keys() == {f"{PART}/{name}" for name in FRAME_DAMAGE | BOX_DAMAGE}
    for name, (_, complaint) in (FRAME_DAMAGE | BOX_DAMAGE).items():
        assert complaint in failed[f"{PART}/{name}"]
    assert tree_bytes(damaged / "faces" / PART / "sound") == tree_bytes(work / "faces" / PART / "plain")
    # Twins: two faces voted, but both boxes claim one track and the second is dropped.
    twins = json.loads((damaged / "faces" / PART / "twins/info.json").read_text())
    assert (twins["voted_faces"], len(twins["tracks"])) == (2, 1)


def test_two_videos_that_would_share_a_folder(run, tmp_path):
    (tmp_path / "videos/part_0").mkdir(parents=True)
    for name in ("a.mp4", "a.mov"):
        (tmp_path / "videos/part_0" / name).touch()
    done = run("extract_frames.py", "--videos", tmp_path / "videos", "--frames", tmp_path / "frames", check=False)
    assert done.returncode == 2
    assert "would share the folder part_0/a" in done.stderr


@pytest.mark.parametrize("script", ["extract_frames", "detect_faces", "save_aligned_faces", "preprocess", "make_lists"])
def test_a_missing_input_folder_is_one_line(run, tmp_path, script):
    option = "--frames" if script in ("detect_faces", "save_aligned_faces") else "--videos"
    done = run(f"{script}.py", option, tmp_path / "absent", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "absent is not a folder" in done.stderr


@pytest.mark.parametrize("script", ["extract_frames", "detect_faces", "save_aligned_faces", "preprocess", "make_lists"])
def test_help_names_the_folders(run, script):
    text = run(f"{script}.py", "--help").stdout
    assert "Reads" in text
    assert "Writes" in text
    assert "default: DFDC-Kaggle" in text


def test_real_clips_keep_the_contract(shared, run, tmp_path):
    """All three stages on the first seconds of a portrait 1080p, a 1080p and a 720p clip, with the
    reference's weights.
    """
    for name in ("dfdc_train_part_0/brtujopkby", "dfdc_train_part_10/ayhmreal", "ffpp/004"):
        source = list(islice(read_frames(shared(f"clips/{name}.mp4")), 10))
        write_video(tmp_path / f"videos/{name}.mp4", source, 30.0)
    weights = shared("weights/mobilenet0.25_Final.pth")
    stage("extract_frames", tmp_path, "videos", "frames", videos=tmp_path / "videos")
    stage("detect_faces", tmp_path, "frames", "boxes", options=["--weights", str(weights)])
    stage("save_aligned_faces", tmp_path, "frames", "boxes", "faces")
    for info_file in sorted((tmp_path / "faces").glob("*/*/info.json")):
        info = json.loads(info_file.read_text())
        assert (info["frames"], info["voted_faces"], len(info["tracks"])) == (10, 1, 1)
        sizes = {cv2.imread(str(path)).shape for path in info_file.parent.glob("*.png")}
        (side,) = {square[2] for square in info["tracks"][0]["squares"]}
        assert sizes == {(side, side, 3)}
        assert side % 2 == 0
