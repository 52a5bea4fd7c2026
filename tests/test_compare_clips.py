"""A suspect against its original: the demo's swaps, cut, scaled, mirrored and recoded, and unrelated clips."""

import json
import os
from itertools import islice

import cv2
import numpy as np
import pytest

from common.images import write_image
from demo.swap import swap_clip
from demo.tree import PHOTO, photo_face
from faces.video import read_frames
from forensics.compare.clips import read_clip
from forensics.compare.differences import FaceDifference, FaceMoment
from forensics.compare.facts import facts_of
from forensics.compare.in_picture import fit, simple_placements
from forensics.compare.in_time import (
    NoCommonMomentError,
    common_part,
    find_offset,
    movement,
    nearest_index,
    share_alike,
)
from forensics.compare.page import describe
from forensics.compare.steps import compare_files
from tests.strange import encode

FRAMES = 32
NAME = os.fsdecode(b"sus\xffpect.mp4")  # not UTF-8
TRUE_MAP = np.array([[-0.5, 0, 300.0], [0, 0.5, -20.0]])


@pytest.fixture(scope="module")
def real(clip):
    """The first frames of a clip of one face, 640x360."""
    return list(islice(read_frames(clip("single_face.mp4")), FRAMES))


@pytest.fixture(scope="module")
def swapped(detector, real):
    """The same frames with the face of a photograph, as the demo makes its fakes."""
    return swap_clip(detector, real, [photo_face(detector, PHOTO, 0)])


@pytest.fixture(scope="module")
def original(real, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("original") / "original.mp4", real)


@pytest.fixture
def against(original, scorer, tmp_path):
    """The facts from comparing frames, written at a quality, with the original."""

    def compare(frames, crf=26, **how):
        suspect = encode(tmp_path / "suspect.mp4", frames, options={"crf": str(crf)}, **how)
        return facts_of(compare_files(suspect, original, scorer), scorer.provenance)

    return compare


def test_a_swap_that_was_cut_scaled_and_recoded(run, original, swapped, tmp_path):
    """By the command: found in time, in the picture, in the face; the rest is as compression leaves it."""
    small = [cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in swapped[11:31]]
    written = encode(tmp_path / "suspect.mp4", small, options={"crf": "28"})
    suspect = written.rename(tmp_path / NAME)
    done = run("-m", "forensics.compare", suspect, original, "--output", tmp_path / "found")
    facts = json.loads((tmp_path / "found/comparison.json").read_text())
    assert facts["schema"] == 1
    assert facts["time"]["offset"] == pytest.approx(11 / 30, abs=1e-3)
    assert (facts["time"]["speed"], facts["time"]["frames"], facts["time"]["of"]) == (1, 20, [20, FRAMES])
    assert facts["picture"]["scale"] == pytest.approx([0.5, 0.5], abs=0.002)
    assert not facts["picture"]["mirrored"]
    assert facts["picture"]["shown"] == pytest.approx([0, 0, 640, 360], abs=1)
    (face,) = facts["faces"]
    assert (face["changed"], face["original_number"], face["where"]) == (True, 1, "middle")
    assert face["mean"] > 5 * face["explained"]
    assert face["times_explained"] > 8
    assert facts["rest"]["mean"] < 2.5
    assert facts["rest"]["clear"] < 0.01
    for side, name in (("suspect", NAME), ("original", "original.mp4")):
        evidence = json.loads((tmp_path / f"found/{side}/{name}.json").read_text())
        assert evidence["label"] == facts[side]["label"]
        assert evidence["input"]["sha256"] == facts[side]["sha256"]
        assert {member: of["score"] for member, of in evidence["members"].items()} == facts[side]["members"]
    assert facts["suspect"]["label"] > facts["original"]["label"]
    page = (tmp_path / "found/comparison.html").read_bytes().decode(errors="replace")
    assert page.count("<figure>") >= 3
    sentences = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(sentences) == 3
    for text in (*sentences, "suspect/sus%FFpect.mp4.html", "colour scale"):
        assert text in page.replace("&#39;", "'")
    assert "Face 1 was changed" in done.stdout
    assert done.stdout.rstrip().endswith("found/comparison.html")


@pytest.mark.slow
def test_a_swap_that_was_mirrored_and_cropped(against, swapped):
    facts = against([np.ascontiguousarray(frame[30:330, 40:600][:, ::-1]) for frame in swapped[5:]])
    assert facts.picture.mirrored
    assert facts.picture.shown == pytest.approx((40, 30, 600, 330), abs=1)
    assert facts.time.offset == pytest.approx(5 / 30, abs=1e-3)
    assert facts.faces[0].changed


@pytest.mark.parametrize(
    "perturbation", ["recoded hard and brighter", pytest.param("half the rate", marks=pytest.mark.slow)]
)
def test_what_was_only_recoded_is_not_called_changed(against, real, perturbation):
    frames, crf, how = real[::2], 26, {"times": range(0, FRAMES, 2)}
    if perturbation == "recoded hard and brighter":
        frames, crf, how = [np.clip(frame * 0.8 + 30, 0, 255).astype(np.uint8) for frame in real], 35, {}
    facts = against(frames, crf, **how)
    (face,) = facts.faces
    assert face.changed is False, face
    assert face.mean < 2 * face.explained
    assert facts.time.frames == len(frames)
    assert "was not changed" in describe(facts)[-1]
    assert facts.picture.gain == pytest.approx([0.8 if crf == 35 else 1] * 3, abs=0.02)


@pytest.mark.slow
def test_another_speed(against, real):
    """30 frames per second shown as 24: no other speed brings all frames together."""
    facts = against(real, times=[round(number * 30 / 24) for number in range(FRAMES)])
    assert facts.time.speed == pytest.approx(24 / 30, abs=1e-4)
    assert facts.faces[0].changed is False


@pytest.mark.slow
def test_what_was_changed_outside_the_faces_shows_in_the_rest(against, real):
    frames = [frame.copy() for frame in real]
    for frame in frames:
        frame[20:90, 20:180] = 255 - frame[20:90, 20:180]
    facts = against(frames)
    assert facts.faces[0].changed is False
    assert facts.rest.clear > 0.03


def test_a_still_image_from_a_video(scorer, original, swapped, tmp_path):
    """A frame of the swap is found in time and in the picture."""
    write_image(tmp_path / "still.png", swapped[20])
    facts = facts_of(compare_files(tmp_path / "still.png", original, scorer), scorer.provenance)
    assert facts.time.offset == pytest.approx(20 / 30, abs=0.04)
    assert facts.faces[0].changed


@pytest.mark.parametrize(
    ("other", "why"), [(False, "no two of their frames show the same picture"), (True, "the same way in both")]
)
def test_clips_without_a_common_stretch_get_a_page_that_says_so(run, clip, original, tmp_path, other, why):
    """Another place, or the same take backwards: no error, but what was missing, and both scores."""
    frames = list(islice(read_frames(clip("carphone_pristine.mp4")), FRAMES))
    if other:
        frames = list(islice(read_frames(clip("single_face.mp4")), FRAMES, 2 * FRAMES))[::-1]
    suspect = encode(tmp_path / "other.mp4", frames)
    done = run("-m", "forensics.compare", suspect, original, "--output", tmp_path / "found")
    assert "The two clips have no stretch in common: " in done.stdout
    assert why in done.stdout
    facts = json.loads((tmp_path / "found/comparison.json").read_text())
    assert (facts["time"], facts["picture"], facts["faces"]) == (None, None, [])
    assert why in facts["reason"]
    assert 0 < facts["suspect"]["label"] < 1
    page = (tmp_path / "found/comparison.html").read_text()
    for text in (why, "does not show that the suspect was not made from this original", facts["suspect"]["sha256"]):
        assert text in page
    assert f"{facts['suspect']['label']:.3f}" in page
    assert len(list((tmp_path / "found/suspect").glob("*.html"))) == 1


def test_what_is_not_a_video_is_refused(run, original, tmp_path):
    """Status 2, a line that says why, nothing written."""
    for suspect, why in ((tmp_path / "absent.mp4", "absent.mp4"), ("README.md", "not a video")):
        done = run("-m", "forensics.compare", suspect, original, "--output", tmp_path / "found", check=False)
        assert done.returncode == 2, suspect
        assert why in done.stderr
        assert not (tmp_path / "found").exists()


@pytest.mark.slow
def test_a_take_of_the_same_place_is_refused(scorer, shared):
    """Two clips of the same actor in front of the same wall, one of them a fake of a third take."""
    folder = shared("clips/dfdc_train_part_10")
    with pytest.raises(NoCommonMomentError, match="may show the same place, but not the same moment"):
        compare_files(folder / "ayhmfake.mp4", folder / "ayhmreal.mp4", scorer)


def test_a_face_at_the_border_of_the_original_is_judged_by_what_it_shows(real, scorer, tmp_path):
    """The suspect shows more than the original: half of the face lies where the original has ended."""
    part = encode(tmp_path / "part.mp4", [frame[:, 320:] for frame in real])
    whole = encode(tmp_path / "whole.mp4", real, options={"crf": "26"})
    facts = facts_of(compare_files(whole, part, scorer), scorer.provenance)
    assert facts.picture.matrix == [[1, 0, 320], [0, 1, 0]]
    assert facts.faces[0].changed is False, facts.faces[0].times_explained


def test_a_long_suspect_may_hold_all_of_a_short_original(original, clip, monkeypatch):
    """Only some of its frames are probed. If not all copies fit, the common stretch is looked at again."""
    monkeypatch.setattr("forensics.compare.clips.KEPT", 60)
    monkeypatch.setattr("forensics.compare.in_time.PROBES", 25)
    long, short = read_clip(clip("single_face.mp4")), read_clip(original)
    assert long.has_gaps
    assert not short.has_gaps
    near = find_offset(long, short, common_part(long, short, np.eye(2, 3)))
    close, short = long.between(near.pairs[:, 0]), short.between(near.pairs[:, 1])
    assert not close.has_gaps
    exact = find_offset(close, short, common_part(close, short, np.eye(2, 3)))
    assert (exact.seconds, exact.speed) == (pytest.approx(0, abs=1e-3), 1)
    assert (exact.pairs[:, 0] == exact.pairs[:, 1]).all()


def test_a_map_is_found_among_wrong_matches():
    """Half of the matches are wrong. A map by whole pixels near the fitted one is among the simple ones."""
    random = np.random.RandomState(0)
    original = random.uniform(0, 600, (200, 2))
    suspect = original @ TRUE_MAP[:, :2].T + TRUE_MAP[:, 2] + random.normal(0, 0.3, (200, 2))
    suspect[::2] = random.uniform(0, 300, (100, 2))
    fitted = fit(np.stack([suspect, original], axis=1).astype(np.float32))
    assert fitted.matrix == pytest.approx(TRUE_MAP, abs=0.3)
    assert fitted.mirrored
    assert fitted.scale == pytest.approx([0.5, 0.5], abs=0.01)
    assert fitted.agree >= 95
    assert fit(np.stack([suspect[::2], original[::2]], axis=1).astype(np.float32)) is None
    nearly_whole = fitted._replace(matrix=np.array([[-1.002, 0.001, 640.1], [0.001, 1.001, -30.2]]))
    near = [placement.matrix.tolist() for placement in simple_placements(nearly_whole, (560, 300), (640, 360))]
    assert near[0] == [[-1, 0, pytest.approx(640, abs=1)], [0, 1, pytest.approx(-30, abs=1)]]


def test_what_moves_together_correlates():
    random = np.random.RandomState(0)
    background, moving = random.normal(size=(1, 50)), random.normal(size=(20, 50))
    other = random.normal(size=(20, 50))
    assert movement(background + moving, 3 * background + moving) == pytest.approx(1)
    assert abs(movement(background + moving, background + other)) < 0.2
    assert movement(np.repeat(background, 20, axis=0), background + moving) is None
    other[:, :30] = 2 * moving[:, :30]
    assert share_alike(background + moving, background + other) == pytest.approx(0.6, abs=0.1)
    assert share_alike(background + moving, random.normal(size=(20, 50))) < 0.1
    assert nearest_index(np.array([0.0, 1.0, 2.0]), np.array([-5, 0.4, 0.6, 1.5, 9])).tolist() == [0, 0, 1, 1, 2]


def test_a_face_counts_as_changed_if_compression_does_not_explain_the_difference():
    blank = np.zeros((96, 96, 3), np.uint8)

    def face(difference, expected):
        moment = FaceMoment(0.0, blank, blank, difference, expected, float(difference.mean()))
        return FaceDifference(moments=[moment])

    expected = np.full((96, 96), 2.0, np.float32)
    assert face(expected * 2, expected).is_changed is False
    difference = expected.copy()
    difference[64:, 64:] = 12
    assert face(difference, expected).is_changed is True
    assert face(difference, expected).place == "bottom right"
    assert face(difference, expected * np.nan).is_changed is None
    assert FaceDifference().is_changed is None
    both, close_up = face(difference, expected), face(difference * 9, expected * np.nan)
    both.moments += close_up.moments
    assert both.is_changed is True
    assert both.peak == face(difference, expected).peak
