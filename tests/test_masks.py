"""Where a data set has a mask video of a fake, the face that it marks is scored."""

import json

import cv2
import numpy as np
import pytest

from common.images import resize
from faces.crops import cut
from faces.video import read_frames
from inference import Scorer
from inference.members import CropKind
from inference.sampling.look import Wanted, sample
from inference.settings import Settings
from quality.sets.items import SPLITS_FOLDER
from tests.strange import encode

PAIRS = json.loads((SPLITS_FOLDER / "ffpp_test.json").read_text())
LOSSLESS = {"codec": "ffv1", "pixels": "bgr0"}


@pytest.fixture(scope="module")
def crowd(frames):
    """Ten frames of three persons side by side; the third is in only seven of them."""
    images = []
    for number, frame in enumerate(frames[:10]):
        face = frame[60:300, 200:440]
        third = np.full_like(face, 90) if number < 3 else cv2.convertScaleAbs(face, alpha=0.8)
        images.append(np.concatenate([face, cv2.flip(face, 1), third], axis=1))
    return images


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
    words = ("-m", "quality.benchmark", "ffpp", "--root", root, "--output", output)
    return run(*words, "--rounds", "5", "--members", "lite0", *more, check=check)


def rows_of(output):
    return {row["filename"]: row for row in map(json.loads, (output / "submission.jsonl").read_text().splitlines())}


@pytest.mark.slow
def test_the_face_that_the_mask_marks_is_scored(run, crowd, weights, tmp_path):
    root, output = tmp_path / "ff", tmp_path / "out"
    (first, second), (third, fourth) = PAIRS[:2]
    folder = "manipulated_sequences/Deepfakes"
    names = (f"{first}_{second}", f"{second}_{first}", f"{third}_{fourth}", f"{fourth}_{third}")
    for name in names:
        video(root, f"{folder}/c23/videos/{name}.mp4", crowd, **LOSSLESS)
    video(root, f"original_sequences/youtube/c23/videos/{first}.mp4", crowd[:9])
    video(root, f"{folder}/masks/videos/{names[0]}.mp4", mask_of(crowd, 540, 660))  # the third person
    video(root, f"{folder}/masks/videos/{names[1]}.mp4", mask_of(crowd, 290, 430))  # the second
    video(root, f"{folder}/masks/videos/{names[2]}.mp4", mask_of(crowd, 0, 0))
    faceless = f"{folder}/c23/videos/{'_'.join(PAIRS[2])}.mp4"
    video(root, faceless, [np.full((240, 320, 3), 90, np.uint8)] * 5)
    done = benchmark(run, root, output, "--manipulation", "Deepfakes", "--max-videos", "280", check=False)
    assert f"no face: 1 fakes show no face: {faceless}" in done.stdout
    assert [finding["kind"] for finding in json.loads((output / "check.json").read_text())] == ["missing", "no face"]
    rows = {key.rpartition("/")[2][:-4]: row for key, row in rows_of(output).items() if row["status"] == "ok"}
    assert [rows[name]["by_known"] for name in names] == [
        {"mask": "used"}, {"mask": "used"}, {"mask": "the mask marks nothing"}, {},
    ]  # fmt: skip
    assert rows[first]["by_known"] == {}
    with Scorer(members="lite0", max_faces=3, evidence=False) as scorer:
        faces = scorer.score(root / f"{folder}/c23/videos/{names[0]}.mp4").faces
    by_place = {("left", "middle", "right")[face.boxes[0][0] // 240]: face.score for face in faces}
    assert rows[names[0]]["label"] == pytest.approx(by_place["right"], abs=1e-6)
    assert rows[names[1]]["label"] == pytest.approx(by_place["middle"], abs=1e-6)
    assert len({round(score, 4) for score in by_place.values()}) == 3, "otherwise this test could not tell them apart"
    assert [len(rows[name]["each_face"]) for name in names] == [1, 1, 2, 2], "without a mask, the reference's policy"
    assert rows[names[2]]["label"] == rows[names[3]]["label"]
    assert "| Deepfakes | 2 used, 1 the mask marks nothing | 1 |" in done.stdout
    report = json.loads((output / "benchmark.json").read_text())
    assert len(report["by_known"]) == 3
    again = tmp_path / "again"
    words = ("--manipulation", "Deepfakes", "--max-videos", "280")
    benchmark(run, root, again, *words, "--shard", "0/1", check=False)
    video(root, f"{folder}/masks/videos/{names[3]}.mp4", mask_of(crowd, 540, 660))
    benchmark(run, root, again, *words, check=False)
    late = rows_of(again)[f"{folder}/c23/videos/{names[3]}.mp4"]
    assert late["by_known"] == {"mask": "used"}, "a mask that was added later counts"
    assert late["label"] == rows[names[0]]["label"]
    assert (again / "submission.verdicts.csv").read_text().count("\n") == 281


def test_a_crop_of_the_whole_square_shows_all_of_it(film, weights):
    kind = CropKind("image", 64, 1.0)
    (sampled,) = sample(film, Wanted(Settings(), {kind}, weights))
    face, frame = sampled.faces[0], next(iter(read_frames(film)))
    assert np.array_equal(face.crops[kind][0], resize(cut(frame, face.squares[0]), 64))
