"""The differences in docs/reference/differences.md that can be tested."""

import math
import re
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from image_based.transforms import line, random_square
from tests.conftest import ROOT
from training.augment import Look
from training.config import load_config
from training.metrics import VideoScore, log_loss, summarise
from video_based.config import VideoConfig
from video_based.dataset import ValidationClips
from video_based.transforms import augment, random_begin

CONFIG = ROOT / "video_based/configs/config.yaml"


@pytest.fixture(scope="module")
def face(clip):
    """A real face crop of 460 pixels."""
    return cv2.resize(cv2.imread(str(clip("multi_face.jpg")))[:400, :400], (460, 460))


def pillow(image, side):
    """RGB [side, side, 3] by Pillow's bilinear filter."""
    rgb = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    return np.asarray(rgb.resize((side, side), Image.Resampling.BILINEAR))


def test_clips_are_resized_with_an_antialiasing_filter(face, tmp_path):
    """In training and in validation, pixel by pixel; OpenCV's filter gives other pixels."""
    settings = ["color_and_jpeg=false", "min_short_side=224", "max_short_side=224"]
    config = load_config(CONFIG, VideoConfig, settings)
    for seed in range(8):
        (frame,) = augment([face], config, np.random.default_rng(seed))
        expected = pillow(face, 224)
        assert any(np.array_equal(frame, image) for image in (expected, expected[:, ::-1]))
    assert np.abs(expected.astype(int) - cv2.resize(face, (224, 224))[..., ::-1]).max() > 10

    folder = tmp_path / "part_0/v"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "frame1_face1.png"), face)
    (tmp_path / "list.txt").write_text("part_0/v/frame%d_face1.png 1 1 1 0\n")
    data = ValidationClips(load_config(CONFIG, VideoConfig, [f"val_root={tmp_path}"]), tmp_path / "list.txt")
    clip, _ = data[0]
    assert np.array_equal(clip[0].numpy(), pillow(face, 256))


def test_jpeg_codes_the_colours_that_the_image_has(face):
    """OpenCV's encoder expects blue as the first channel. It loses more of an image with swapped colours."""
    coded = Look(False, None, 50).apply(face).astype(int)
    swapped = Look(False, None, 50).apply(np.ascontiguousarray(face[..., ::-1]))[..., ::-1].astype(int)
    assert np.array_equal(coded, cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1))
    assert np.abs(coded - swapped).mean() > 0.5


def test_levels_are_rounded():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    seen = Look(False, (1.013, 0.4)).apply(levels)
    assert np.array_equal(seen, np.clip(np.rint(levels * 1.013 + 0.4), 0, 255))
    assert not np.array_equal(seen, np.clip(np.trunc(levels * 1.013 + 0.4), 0, 255))


def evenly(counts, places):
    """Whether each of the places is about equally frequent."""
    total = sum(counts.values())
    return counts.keys() == set(range(places)) and all(
        abs(count - total / places) < 5 * math.sqrt(total / places) for count in counts.values()
    )


def test_the_last_start_of_a_clip_is_drawn():
    random = np.random.default_rng(0)
    assert evenly(Counter(random_begin(133, 128, random) for _ in range(6000)), 6)


def test_every_place_of_an_image_crop_is_as_likely():
    random = np.random.default_rng(0)
    squares = [random_square(100, 100, 0.88, random) for _ in range(40000)]
    for corner in (0, 1):
        assert evenly(Counter(square[corner] for square in squares if square[2] == 95), 6)


def test_every_place_of_a_clip_crop_is_as_likely():
    """The pixels of the image say which column and row they are."""
    config = load_config(CONFIG, VideoConfig, ["color_and_jpeg=false", "min_short_side=228", "max_short_side=228"])
    image = np.zeros((228, 228, 3), np.uint8)
    image[..., 0], image[..., 2] = np.arange(228)[None, :], np.arange(228)[:, None]
    random = np.random.default_rng(0)
    frames = [augment([image], config, random)[0] for _ in range(1500)]
    assert evenly(Counter(int(frame[..., 2].min()) for frame in frames), 5)
    assert evenly(Counter(int(frame[..., 0].min()) for frame in frames), 5)


def test_blur_weighs_every_cell_of_its_line_alike():
    for side in (3, 5, 7):
        cells = [divmod(number, side) for number in range(side * side)]
        for start, (top, left) in enumerate(cells):
            for end, (bottom, right) in enumerate(cells):
                if start != end:
                    kernel = line(side, start, end)
                    length = max(abs(top - bottom), abs(left - right)) + 1
                    assert sorted(np.unique(kernel.round(6))) == pytest.approx(sorted({0, round(1 / length, 6)}))


def test_log_loss_is_clipped_at_both_ends():
    assert log_loss([VideoScore(1, 0.0)]) == pytest.approx(-math.log(1e-15))
    assert log_loss([VideoScore(0, 1.0)]) == pytest.approx(-math.log(1e-15), rel=0.01)


def test_a_validation_of_one_class():
    losses = summarise({"a": VideoScore(0, 0.2), "b": VideoScore(0, 0.1)})
    assert losses["video_logloss_balanced"] == losses["video_logloss_REAL"] == losses["video_logloss"]
    assert math.isnan(losses["video_logloss_FAKE"])


def test_the_tests_that_the_document_names_exist():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/reference/differences.md").read_text(encoding="utf-8"))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert len(named) >= 12
    assert [name for name in named if f"def {name}(" not in written] == []
