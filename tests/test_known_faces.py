"""What a data set knows of a fake's faces: the mask that marks one, and the original's boxes. And other sampling."""

import json

import cv2
import numpy as np
import pytest

from common.images import resize
from faces.crops import cut
from faces.detector import FaceDetector
from faces.masks import CHECKED, Known
from faces.video import read_frames
from inference import Scorer
from inference.members import CropKind
from inference.sampling.look import Wanted, sample
from quality.sets.layouts import SPLITS
from tests.strange import encode

PAIRS = json.loads((SPLITS / "ffpp_test.json").read_text())
LOSSLESS = {"codec": "ffv1", "pixels": "bgr0"}


@pytest.fixture(scope="module")
def crowd(frames):
    """Ten frames of three persons side by side; the third is there in seven of them only."""
    found = []
    for number, frame in enumerate(frames[:10]):
        face = frame[60:300, 200:440]
        third = np.full_like(face, 90) if number < 3 else cv2.convertScaleAbs(face, alpha=0.8)
        found.append(np.concatenate([face, cv2.flip(face, 1), third], axis=1))
    return found


def mask_of(crowd, left, right):
    images = [np.zeros_like(frame) for frame in crowd]
    for image in images:
        image[60:180, left:right] = 255
    return images


def video(root, key, frames, **options):
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, frames, **options)


def benchmark(run, root, output, *more, check=True):
    words = (
        "-m",
        "quality.benchmark",
        "ffpp",
        "--root",
        root,
        "--output",
        output,
        "--rounds",
        "5",
        "--members",
        "lite0",
    )
    return run(*words, *more, check=check)


def rows_of(output):
    return {row["filename"]: row for row in map(json.loads, (output / "submission.jsonl").read_text().splitlines())}


@pytest.mark.slow
def test_the_face_that_the_mask_marks_is_scored(run, crowd, weights, tmp_path):
    root, output = tmp_path / "ff", tmp_path / "out"
    (one, other), (third, fourth) = PAIRS[:2]
    of = "manipulated_sequences/Deepfakes"
    names = (f"{one}_{other}", f"{other}_{one}", f"{third}_{fourth}", f"{fourth}_{third}")
    for name in names:
        video(root, f"{of}/c23/videos/{name}.mp4", crowd, **LOSSLESS)
    video(root, f"original_sequences/youtube/c23/videos/{one}.mp4", crowd[:9])
    video(root, f"{of}/masks/videos/{names[0]}.mp4", mask_of(crowd, 540, 660))  # the third person
    video(root, f"{of}/masks/videos/{names[1]}.mp4", mask_of(crowd, 290, 430))  # the second
    video(root, f"{of}/masks/videos/{names[2]}.mp4", mask_of(crowd, 0, 0))
    faceless = f"{of}/c23/videos/{'_'.join(PAIRS[2])}.mp4"
    video(root, faceless, [np.full((240, 320, 3), 90, np.uint8)] * 5)
    done = benchmark(run, root, output, "--manipulation", "Deepfakes", "--max-videos", "280", check=False)
    assert f"no face: 1 fakes show no face: {faceless}" in done.stdout
    assert [one["kind"] for one in json.loads((output / "check.json").read_text())] == ["missing", "no face"]
    rows = {key.rpartition("/")[2][:-4]: row for key, row in rows_of(output).items() if row["status"] == "ok"}
    assert [rows[name]["by_known"] for name in names] == [
        {"mask": "used"}, {"mask": "used"}, {"mask": "the mask marks nothing"}, {},
    ]  # fmt: skip
    assert rows[one]["by_known"] == {}
    with Scorer("lite0", faces=3, evidence=False) as scorer:
        every = scorer.score(root / f"{of}/c23/videos/{names[0]}.mp4").faces
    by_place = {("left", "middle", "right")[face.boxes[0][0] // 240]: face.score for face in every}
    assert rows[names[0]]["label"] == pytest.approx(by_place["right"], abs=1e-6)
    assert rows[names[1]]["label"] == pytest.approx(by_place["middle"], abs=1e-6)
    assert len({round(score, 4) for score in by_place.values()}) == 3, "else this test could not tell them apart"
    assert [len(rows[name]["each_face"]) for name in names] == [1, 1, 2, 2], "without a mask, the contract's policy"
    assert rows[names[2]]["label"] == rows[names[3]]["label"]
    assert "| Deepfakes | 2 used, 1 the mask marks nothing | 1 |  |" in done.stdout
    report = json.loads((output / "benchmark.json").read_text())
    assert len(report["by_known"]) == 3
    again = tmp_path / "again"
    words = ("--manipulation", "Deepfakes", "--max-videos", "280")
    benchmark(run, root, again, *words, "--shard", "0/1", check=False)
    video(root, f"{of}/masks/videos/{names[3]}.mp4", mask_of(crowd, 540, 660))
    benchmark(run, root, again, *words, check=False)
    late = rows_of(again)[f"{of}/c23/videos/{names[3]}.mp4"]
    assert late["by_known"] == {"mask": "used"}, "a mask that came later counts"
    assert late["label"] == rows[names[0]]["label"]
    assert (again / "submission.verdicts.csv").read_text().count("\n") == 281


def test_boxes_of_the_original_are_taken_over_where_they_agree(run, frames, weights, tmp_path):
    root = tmp_path / "ff"
    (one, other), (third, fourth) = PAIRS[:2]
    real, fake = "original_sequences/youtube/c23/videos", "manipulated_sequences/Deepfakes/c23/videos"
    changed = [frame.copy() for frame in frames]
    for frame in changed:
        frame[:40, :40] = 255 - frame[:40, :40]  # far from the face
    for name in (one, other, third):
        video(root, f"{real}/{name}.mp4", frames, **LOSSLESS)
    video(root, f"{real}/{fourth}.mp4", [np.roll(frame, 3, axis=1) for frame in frames], **LOSSLESS)
    video(root, f"{fake}/{one}_{other}.mp4", changed, **LOSSLESS)
    video(root, f"{fake}/{other}_{one}.mp4", [np.roll(frame, 60, axis=1) for frame in frames], **LOSSLESS)
    video(root, f"{fake}/{third}_{fourth}.mp4", frames[:11], **LOSSLESS)
    video(root, f"{fake}/{fourth}_{third}.mp4", frames, **LOSSLESS)  # three pixels from its original
    fifth, sixth = PAIRS[2]
    video(root, f"{fake}/{fifth}_{sixth}.mp4", frames, **LOSSLESS)  # without an original
    plain, reused = tmp_path / "plain", tmp_path / "reused"
    words = ("--manipulation", "Deepfakes")
    benchmark(run, root, plain, *words, check=False)
    done = benchmark(run, root, reused, *words, "--reuse-boxes", check=False)
    before, after = ({key: row for key, row in rows_of(of).items() if row["status"] == "ok"} for of in (plain, reused))
    assert len(before) == 9
    apart = {key.rpartition("/")[2][:-4]: abs(after[key]["label"] - row["label"]) for key, row in before.items()}
    assert apart.pop(f"{fourth}_{third}") > 1e-6
    assert max(apart.values()) < 1e-6, "scores move only where the boxes are apart"
    said = {key.rpartition("/")[2][:-4]: row["by_known"].get("boxes") for key, row in after.items()}
    assert said == {
        one: None, other: None, third: None, fourth: None,
        f"{one}_{other}": "reused",
        f"{other}_{one}": "elsewhere than its original's",
        f"{third}_{fourth}": "another number of frames than its original",
        f"{fourth}_{third}": "reused, a little apart",
        f"{fifth}_{sixth}": "its original has none",
    }  # fmt: skip
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("| Deepfakes |  | 5 |"))
    assert "1 reused" in line
    assert "1 reused, a little apart" in line
    assert "1 elsewhere than its original's" in line
    again = benchmark(run, root, reused, *words, "--reuse-boxes", "--shard", "0/2", check=False)
    assert (again.returncode, "one process scores" in again.stderr) == (2, True)


def test_five_frames_are_looked_at_where_boxes_are_known(film, weights, tmp_path, monkeypatch):
    wanted = Wanted(kinds={CropKind("image", 64)}, weights=weights)
    looked = []
    detect = FaceDetector.detect
    monkeypatch.setattr(FaceDetector, "detect", lambda self, some: looked.append(len(some)) or detect(self, some))
    (own,) = sample(film, wanted, known=Known(keep_boxes=tmp_path / "boxes/film.npz"))
    assert sum(looked) == own.frames
    looked.clear()
    (taken,) = sample(film, wanted, known=Known(boxes=tmp_path / "boxes/film.npz"))
    assert sum(looked) == CHECKED < own.frames
    assert taken.faces[0].track == own.faces[0].track
    assert np.array_equal(*(found.faces[0].crops[CropKind("image", 64)] for found in (own, taken)))


def test_first_frames_instead_of_spread_ones(frames, weights, tmp_path):
    long = encode(tmp_path / "long.mkv", frames[:12], **LOSSLESS)
    short = encode(tmp_path / "short.mkv", frames[:5], **LOSSLESS)
    wanted = {"kinds": {CropKind("image", 64)}, "weights": weights, "frames": 5}
    (first,) = sample(long, Wanted(**wanted, first=True))
    (spread,) = sample(long, Wanted(**wanted))
    (whole,) = sample(short, Wanted(**wanted))
    assert (first.frames, first.interval, first.total) == (5, 1, 12)
    assert spread.interval > 1
    kind = CropKind("image", 64)
    assert np.array_equal(first.faces[0].crops[kind], whole.faces[0].crops[kind])


def test_protocols_that_are_scored_anew(run, frames, weights, tmp_path):
    root, output = tmp_path / "set", tmp_path / "out"
    for number, kind in enumerate(("real", "real", "fake", "fake")):
        pictures = [cv2.GaussianBlur(frame, (0, 0), 0.1 + number) for frame in frames]
        video(root, f"{kind}/v{number}.mkv", pictures, **LOSSLESS)
    words = ("-m", "quality.benchmark", "folder", "--root", root, "--output", output, "--rounds", "5",
             "--members", "lite0", "--max-frames", "6", "--explain", ".9")  # fmt: skip
    done = run(*words, "--anew", "3")
    with Scorer("lite0", faces=2, evidence=False) as scorer:
        first = encode(tmp_path / "first.mkv", list(read_frames(root / "fake/v2.mkv"))[:6], **LOSSLESS)
        expected = scorer.score(first).label
    scored = dict(line.split(",") for line in (output / "first_frames.csv").read_text().splitlines()[1:])
    assert len(scored) == 3
    assert float(scored["fake/v2.mkv"]) == pytest.approx(expected, abs=1e-6)
    crops = dict(line.split(",") for line in (output / "crops.csv").read_text().splitlines()[1:])
    ours = {row["filename"]: row["label"] for row in rows_of(output).values()}
    assert crops.keys() == scored.keys()
    assert all(abs(float(crops[name]) - ours[name]) > 1e-4 for name in crops), "the crops show more"
    for name in ("the first 6 frames (3 videos, ours", "crops of 1.3 times the box, not"):
        assert name in done.stdout
        assert name in (output / "protocols.md").read_text()
    assert "first 6 frames" not in run(*words, "--anew", "0").stdout


def test_a_crop_of_all_the_square_shows_all_of_it(film, weights):
    kind = CropKind("image", 64, 1.0)
    (found,) = sample(film, Wanted(kinds={kind}, weights=weights))
    face, frame = found.faces[0], next(iter(read_frames(film)))
    assert np.array_equal(face.crops[kind][0], resize(cut(frame, face.squares[0]), 64))
