"""The demo's fakes: the face changes, nothing else does. (The whole demo is `make demo`.)"""

import numpy as np
import pytest

from demo.__main__ import separation
from demo.swap import face_mask, landmarks, swap_clip, swap_face
from demo.tree import CUTS, PHOTO, TEST, photo_face
from training.metrics import VideoScore


def test_landmarks_lie_in_the_face_and_move_smoothly(detector, frames):
    points = landmarks(detector, frames)
    assert points.shape == (12, 5, 2)
    boxes = [detector.detect([frame])[0][0, :4] for frame in frames]
    for (x1, y1, x2, y2), face in zip(boxes, points, strict=True):
        assert ((face > (x1, y1)) & (face < (x2, y2))).all()
    assert np.abs(np.diff(points, axis=0)).max() < 3


def test_no_face_is_an_error_that_names_the_frame(detector, frames):
    with pytest.raises(ValueError, match="frame 2 shows no face"):
        landmarks(detector, [frames[0], np.zeros_like(frames[0])])


def test_a_swap_changes_the_face_and_nothing_else(detector, frames):
    photo = photo_face(detector, PHOTO, 0)
    fakes = swap_clip(detector, frames[:3], [photo])
    points = landmarks(detector, frames[:3])
    for real, fake, face in zip(frames, fakes, points, strict=False):
        changed = np.abs(fake.astype(int) - real).max(axis=2)
        mask = face_mask(face, *real.shape[:2]) > 0
        assert changed[mask].mean() > 15
        x1, y1, x2, y2 = detector.detect([real])[0][0, :4].astype(int)
        assert changed[: y1 - 40].max() == changed[y2 + 40 :].max() == 0
        assert changed[:, : x1 - 40].max() == changed[:, x2 + 40 :].max() == 0


def test_swapping_a_face_with_itself_changes_little(detector, frames):
    (points,) = landmarks(detector, frames[:1])
    assert np.abs(swap_face(frames[0], points, frames[0], points).astype(int) - frames[0]).mean() < 0.5


def test_persons_are_kept_apart():
    def persons(cuts):
        known = {"face_noface.mov": "man", "noface_face.mov": "man", "single_face.mp4": "man"}
        return {known.get(source, source) for cut in cuts for source in (cut.source, cut.faces)}

    train, test = [cut for cut in CUTS if cut.folder != TEST], [cut for cut in CUTS if cut.folder == TEST]
    assert persons(train)
    assert persons(test)
    assert not persons(train) & persons(test)


def test_the_table_says_whether_swaps_and_real_videos_are_separated():
    real, swaps = [VideoScore(0, 0.1), VideoScore(0, 0.3)], [VideoScore(1, 0.31), VideoScore(1, 0.9)]
    assert separation(real + swaps) == (
        "all swaps score above all real videos: the lowest swap 0.310, the highest real one 0.300"
    )
    assert separation([*real, *swaps, VideoScore(0, 0.5)]) == (
        "swaps and real videos overlap: 1 of 2 swaps score above the highest real video"
    )
