"""`--stability`: a clip in other forms, what they do to its score, and what is said of it."""

import json

import cv2
import numpy as np
import pytest

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
    encode_h264,
    half_rate,
    recode,
)
from inference.scoring import image_frames
from inference.settings import Settings
from tests.strange import encode

KIND = CropKind("image", 96)


def difference(images, others):
    return float(np.mean([np.abs(one.astype(float) - other).mean() for one, other in zip(images, others, strict=True)]))


@pytest.fixture(scope="module")
def squares(frames):
    return [np.ascontiguousarray(frame[60:300, 200:440]) for frame in frames[:10]]


def test_forms_are_what_their_names_say(squares):
    by_name = {name: recode(squares, recoding) for name, recoding in RECODINGS.items()}
    softer, hard = (difference(by_name[f"H.264 at crf {crf}"], squares) for crf in (28, 35))
    assert 0 < difference(encode_h264(squares, 10), squares) < softer < hard < 15
    assert by_name["half size"][0].shape == (120, 120, 3)
    halves = [cv2.resize(one, (120, 120), interpolation=cv2.INTER_AREA) for one in squares]
    assert difference(by_name["half size"], halves) < 4
    assert difference(by_name["mirrored"], [one[:, ::-1] for one in squares]) < 4
    assert all(len(images) == 10 for images in by_name.values())


def test_half_the_rate_keeps_frames_that_such_a_clip_has():
    for frames in (10, 11, 35, 150, 160):
        kept = half_rate(frames)
        assert all(frame % 2 == 0 and frame < frames for frame in kept)
        assert [frame // 2 for frame in kept] == image_frames((frames + 1) // 2)
    assert half_rate(8) == [], "four frames are no group"


def test_in_a_clip_whose_border_is_cut_off_faces_are_looked_for_again(frames, detector):
    height, width = frames[0].shape[:2]
    down, across = round(height * CUT_OFF), round(width * CUT_OFF)
    rough = [Detection(at, (230, 70, 400, 310), 0.9) for at in range(5)]
    (found,) = border_cut(frames[:5], [rough], detector.detect)
    inside = [np.ascontiguousarray(frame[down : height - down, across : width - across]) for frame in frames[:5]]
    own = [detector.detect([image])[0][0][:4].astype(int) for image in inside]
    track = [Detection(at, tuple(box.tolist()), 1.0) for at, box in enumerate(own)]
    places = align_track(track, inside[0].shape[1], inside[0].shape[0])
    expected = [cut(image, place) for image, place in zip(inside, places, strict=True)]
    assert found[0].shape == expected[0].shape
    assert difference(found, expected) < 4
    elsewhere = [Detection(at, (80, 80, 110, 110), 0.9) for at in range(5)]
    (kept,) = border_cut(frames[:5], [elsewhere], detector.detect)
    assert kept[0].shape[0] < 60, "where no face is found, the box stands"


def test_a_worker_cuts_every_form_of_a_clip(film, weights):
    (found,) = sample(film, Wanted(Settings(stability=True), {KIND}, weights))
    assert tuple(found.perturbed) == NAMES
    own = found.faces[0].crops[KIND]
    for name, form in found.perturbed.items():
        (face,) = form.faces
        assert face.crops[KIND].shape[0] == (len(half_rate(found.frames)) if name == HALF_RATE else len(own))
    small, plain = found.perturbed["half size"].conditions, found.conditions
    assert small.face_pixels == pytest.approx(plain.face_pixels / 2, abs=2)
    assert found.perturbed["H.264 at crf 35"].conditions.sharpness < plain.sharpness
    mirrored = found.perturbed["mirrored"].faces[0].crops[KIND][:, :, ::-1]
    assert difference(mirrored, own) < 6
    assert difference(found.perturbed[BORDER_CUT].faces[0].crops[KIND], own) < 12
    (without,) = sample(film, Wanted(Settings(), {KIND}, weights))
    assert not without.perturbed
    assert np.array_equal(without.faces[0].crops[KIND], own), "the clip itself scores as ever"


def test_a_form_scores_as_a_clip_that_is_made_so(frames, weights, tmp_path):
    """A mirrored clip, as a file, scores as the form `mirrored` of the clip, but for the codec."""
    plain = encode(tmp_path / "plain.mkv", frames, codec="ffv1", pixels="bgr0")
    turned = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    mirrored = encode(tmp_path / "mirrored.mp4", turned, options={"crf": "23", "preset": "veryfast"})
    with Scorer(stability=True, evidence=False) as scorer:
        forms = {form.name: form for form in scorer.score(plain).perturbed}
    with Scorer(evidence=False) as scorer:
        as_file = scorer.score(mirrored).label
    logit = [np.log(score / (1 - score)) for score in (forms["mirrored"].label, as_file)]
    assert abs(logit[0] - logit[1]) < 0.5


def test_row_terminal_and_page_say_how_stable_a_score_is(run, film, weights, tmp_path):
    words = ("-m", "inference.predict", film, "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv")
    done = run(*words, "--stability")
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert [form["name"] for form in row["forms"]] == list(NAMES)
    labels = [row["label"], *(form["label"] for form in row["forms"])]
    assert row["stability"].startswith(f"between {min(labels):.2f} and {max(labels):.2f} in 6 perturbed versions; ")
    stands = all(form["verdict"] == row["verdict"] for form in row["forms"])
    assert ("the verdict holds in all" in row["stability"]) == stands
    assert row["stability"] in done.stdout
    page = (tmp_path / "e/film.mp4.html").read_text()
    assert "How stable" in page
    assert row["stability"] in page
    plain = run(*words, "--output", tmp_path / "t.csv")
    assert "perturbed" not in plain.stdout
    other = json.loads((tmp_path / "t.jsonl").read_text())
    assert (other["label"], other["forms"]) == (row["label"], [])


def test_a_picture_has_forms_too(clip, weights):
    with Scorer(stability=True, evidence=False) as scorer:
        result = scorer.score(clip("multi_face.jpg"))
    assert {form.name for form in result.perturbed} == {*NAMES} - {HALF_RATE}


def test_what_flips_a_verdict_is_named():
    forms = [PerturbedResult("half size", 0.4, "uncertain", 0.3), PerturbedResult("mirrored", 0.8, "leans fake", 0.03)]
    assert describe_stability(0.7, "leans fake", forms) == (
        "between 0.40 and 0.80 in 2 perturbed versions; the verdict does not hold: half size: uncertain"
    )
    assert describe_stability(0.7, "leans fake", forms[1:]) == (
        "between 0.70 and 0.80 in 1 perturbed version; the verdict holds in all"
    )


def test_what_cannot_be_looked_at_so_is_one_line(run, film, tmp_path):
    words = ("-m", "inference.predict", film, "--output", tmp_path / "s.csv", "--stability")
    done = run(*words, "--shots", check=False)
    assert (done.returncode, "scores whole videos" in done.stderr) == (2, True)
