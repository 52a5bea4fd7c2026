"""`--stability`: perturbed versions of a clip, how they score, and what is told about it."""

import json

import cv2
import numpy as np
import pytest

from common.h264 import encode_h264
from faces.crops import align_track, cut
from faces.tracking import Detection
from inference import Scorer
from inference.conclude import describe_stability
from inference.members import CropKind
from inference.results import PerturbedResult
from inference.sampling.look import Wanted, sample
from inference.sampling.perturbed import (
    BORDER_CUT,
    CUT_OFF,
    HALF_RATE,
    NAMES,
    RECODINGS,
    border_cut,
    half_rate,
    recode,
)
from inference.scoring import image_frames
from inference.settings import Settings
from tests.strange import encode

KIND = CropKind("image", 96)


def difference(images, others):
    pairs = zip(images, others, strict=True)
    return float(np.mean([np.abs(image.astype(float) - other).mean() for image, other in pairs]))


@pytest.fixture(scope="module")
def squares(frames):
    return [np.ascontiguousarray(frame[60:300, 200:440]) for frame in frames[:10]]


def test_perturbed_versions_are_what_their_names_say(squares):
    by_name = {name: recode(squares, recoding) for name, recoding in RECODINGS.items()}
    softer, hard = (difference(by_name[f"H.264 at crf {crf}"], squares) for crf in (28, 35))
    assert 0 < difference(encode_h264(squares, 10), squares) < softer < hard < 15
    assert by_name["half size"][0].shape == (120, 120, 3)
    halves = [cv2.resize(square, (120, 120), interpolation=cv2.INTER_AREA) for square in squares]
    assert difference(by_name["half size"], halves) < 4
    assert difference(by_name["mirrored"], [square[:, ::-1] for square in squares]) < 4
    assert all(len(images) == 10 for images in by_name.values())


def test_half_the_rate_uses_only_frames_that_such_a_clip_has():
    for frames in (10, 11, 35, 150, 160):
        kept = half_rate(frames)
        assert all(frame % 2 == 0 and frame < frames for frame in kept)
        assert [frame // 2 for frame in kept] == image_frames((frames + 1) // 2)
    assert half_rate(8) == [], "four frames are not a group"


def test_faces_are_detected_again_where_the_border_is_cut_off(frames, detector):
    height, width = frames[0].shape[:2]
    down, across = round(height * CUT_OFF), round(width * CUT_OFF)
    rough = [Detection(frame, (230, 70, 400, 310), 0.9) for frame in range(5)]
    (squares,) = border_cut(frames[:5], [rough], detector.detect)
    inside = [np.ascontiguousarray(frame[down : height - down, across : width - across]) for frame in frames[:5]]
    boxes = [detector.detect([image])[0][0][:4].astype(int) for image in inside]
    track = [Detection(frame, tuple(box.tolist()), 1.0) for frame, box in enumerate(boxes)]
    places = align_track(track, inside[0].shape[1], inside[0].shape[0])
    expected = [cut(image, place) for image, place in zip(inside, places, strict=True)]
    assert squares[0].shape == expected[0].shape
    assert difference(squares, expected) < 4
    elsewhere = [Detection(frame, (80, 80, 110, 110), 0.9) for frame in range(5)]
    (kept,) = border_cut(frames[:5], [elsewhere], detector.detect)
    assert kept[0].shape[0] < 60, "where no face is detected, the box stays"


def test_a_worker_cuts_every_perturbed_version_of_a_clip(film, weights):
    (sampled,) = sample(film, Wanted(Settings(stability=True), {KIND}, weights))
    assert tuple(sampled.perturbed) == NAMES
    plain = sampled.faces[0].crops[KIND]
    for name, version in sampled.perturbed.items():
        (face,) = version.faces
        assert face.crops[KIND].shape[0] == (len(half_rate(sampled.frames)) if name == HALF_RATE else len(plain))
    small = sampled.perturbed["half size"].conditions
    assert small.face_pixels == pytest.approx(sampled.conditions.face_pixels / 2, abs=2)
    assert sampled.perturbed["H.264 at crf 35"].conditions.sharpness < sampled.conditions.sharpness
    mirrored = sampled.perturbed["mirrored"].faces[0].crops[KIND][:, :, ::-1]
    assert difference(mirrored, plain) < 6
    assert difference(sampled.perturbed[BORDER_CUT].faces[0].crops[KIND], plain) < 12
    (without,) = sample(film, Wanted(Settings(), {KIND}, weights))
    assert not without.perturbed
    assert np.array_equal(without.faces[0].crops[KIND], plain), "the crops of the clip itself stay the same"


def test_a_perturbed_version_scores_like_a_clip_that_was_perturbed(frames, weights, tmp_path):
    """A mirrored file scores like the version `mirrored` of the clip, except for what the codec does."""
    plain = encode(tmp_path / "plain.mkv", frames, codec="ffv1", pixels="bgr0")
    turned = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    mirrored = encode(tmp_path / "mirrored.mp4", turned, options={"crf": "23", "preset": "veryfast"})
    with Scorer(stability=True, evidence=False) as scorer:
        versions = {version.name: version for version in scorer.score(plain).perturbed}
    with Scorer(evidence=False) as scorer:
        as_file = scorer.score(mirrored).label
    logit = [np.log(score / (1 - score)) for score in (versions["mirrored"].label, as_file)]
    assert abs(logit[0] - logit[1]) < 0.5


def test_row_terminal_and_page_tell_how_stable_a_score_is(run, film, weights, tmp_path):
    words = ("-m", "inference.predict", film, "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv")
    done = run(*words, "--stability")
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert [version["name"] for version in row["forms"]] == list(NAMES)
    labels = [row["label"], *(version["label"] for version in row["forms"])]
    span = f"between {min(labels):.2f} and {max(labels):.2f} over the video and 6 perturbed versions; "
    assert row["stability"].startswith(span)
    stays = all(version["verdict"] == row["verdict"] for version in row["forms"])
    assert ("the verdict stays the same" in row["stability"]) == stays
    assert row["stability"] in done.stdout
    page = (tmp_path / "e/film.mp4.html").read_text()
    assert "How stable the score is" in page
    assert row["stability"] in page
    plain = run(*words, "--output", tmp_path / "t.csv")
    assert "perturbed versions" not in plain.stdout
    other = json.loads((tmp_path / "t.jsonl").read_text())
    assert (other["label"], other["forms"]) == (row["label"], [])


def test_a_still_image_has_perturbed_versions_too(clip, weights):
    with Scorer(stability=True, evidence=False) as scorer:
        result = scorer.score(clip("multi_face.jpg"))
    assert {version.name for version in result.perturbed} == {*NAMES} - {HALF_RATE}


def test_versions_with_another_verdict_are_named():
    half, mirrored = (
        PerturbedResult("half size", 0.4, "uncertain", 0.3),
        PerturbedResult("mirrored", 0.8, "leans fake", 0.03),
    )
    assert describe_stability(0.7, "leans fake", [half, mirrored]) == (
        "between 0.40 and 0.80 over the video and 2 perturbed versions; the verdict changes: half size: uncertain"
    )
    assert describe_stability(0.7, "leans fake", [mirrored]) == (
        "between 0.70 and 0.80 over the video and 1 perturbed version; the verdict stays the same"
    )


def test_what_stability_does_not_support_gives_one_line(run, film, tmp_path):
    words = ("-m", "inference.predict", film, "--output", tmp_path / "s.csv", "--stability")
    done = run(*words, "--shots", check=False)
    assert (done.returncode, "scores whole videos" in done.stderr) == (2, True)
