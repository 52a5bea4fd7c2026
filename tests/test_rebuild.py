"""Fakes as one-shot swappers leave them: what they are, what must tell nothing, where the rebuilt faces come from."""

import cv2
import numpy as np
import pytest
import torch

import tests.test_blend as blending
from common.errors import BadInputError
from image_based.dataset import TrainingCrops
from shipped.autoencoder import KINDS, Autoencoder
from training.augment import compress
from training.rebuild import put_back, rebuilt_pair, restore, shrink, swap_mask, upright

faces = blending.faces  # a fixture


def made(examples, count):
    random = np.random.default_rng(0)
    for number in range(count):
        face, points = examples[number % len(examples)]
        yield face, rebuilt_pair(face, points, None, random)


def test_a_pair_differs_inside_its_mask_only_and_every_second_real_face_is_rebuilt(faces):
    pairs = list(made(faces[1], 80))
    changed = []
    for face, pair in pairs:
        outside = pair.mask == 0
        assert np.array_equal(pair.fake[outside], pair.real[outside])
        assert (pair.mask.min() >= 0, pair.mask.max()) == (True, 1)
        assert pair.fake.shape == pair.real.shape == face.shape
        changed.append(np.abs(pair.fake.astype(int) - pair.real)[pair.mask > 0.9].mean())
    assert 1 < np.median(changed) < 15
    assert np.mean([np.array_equal(pair.real, face) for face, pair in pairs]) == pytest.approx(0.5, abs=0.15)


def test_masks_are_boxes_and_hulls_that_end_inside_the_crop(faces):
    image, points = faces[1][0]
    random = np.random.default_rng(0)
    masks = [swap_mask(*image.shape[:2], points, random) for _ in range(60)]
    areas = np.array([(mask > 0.5).mean() for mask in masks])
    assert 0.1 < areas.min() < areas.max() < 0.9
    edges = np.array([((mask > 0.05) & (mask < 0.95)).mean() for mask in masks])
    assert np.percentile(edges, 90) > 2 * np.percentile(edges, 10)
    for mask in masks:
        x, y = points[2].astype(int)
        assert mask[y, x] > 0.9, "the nose"


def test_pixels_outside_the_mask_tell_nothing(faces):
    """As for blends: if only the fake is compressed, they tell everything."""
    pairs = [pair for _, pair in made(faces[1], 600) if blending.outside_of(pair).mean() > 0.05][:120]
    assert len(pairs) > 80

    def compressed(compress_real):
        for number, pair in enumerate(pairs):
            fake, real = (compress(image, np.random.default_rng(number)) for image in pair[:2])
            yield fake, real if compress_real else pair.real, blending.outside_of(pair)

    assert blending.told_apart(list(compressed(True))) == pytest.approx(0.5, abs=0.08)
    assert blending.told_apart(list(compressed(False))) > 0.75


def test_softness_inside_the_mask_tells_nothing(faces):
    """Because whole real faces are rebuilt too. Without these control pairs it would."""
    pairs = list(made(faces[1], 240))
    inside = [(pair.fake, pair.real, pair.mask > 0.9) for _, pair in pairs]
    without_control = [
        triple for triple, (face, pair) in zip(inside, pairs, strict=True) if np.array_equal(pair.real, face)
    ]
    assert blending.told_apart(inside) == pytest.approx(0.5, abs=0.1)
    assert blending.told_apart(without_control) > 0.75


def test_a_face_is_shrunk_upright_and_put_back_where_it_was(faces):
    image, points = faces[1][0]
    height, width = image.shape[:2]
    for angle in (-30, 0, 25):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        moved = points @ turn[:, :2].T + turn[:, 2]
        matrix = upright(moved, height, width, 160)
        eyes = moved[:2] @ matrix[:, :2].T + matrix[:, 2]
        assert eyes[0, 1] == pytest.approx(eyes[1, 1])
        small = shrink(turned, moved, 160)
        back = put_back(small, moved, height, width, np.random.default_rng(0))
        assert np.abs(back.astype(int) - cv2.GaussianBlur(turned, (0, 0), 0.8)).mean() < 3


def test_a_restored_face_is_smooth_with_sharp_eyes(faces):
    image, points = faces[1][0]
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    restored = restore(noisy, points, np.random.default_rng(0))
    x, y = points[0].astype(int)
    cheek = (slice(y + 30, y + 50), slice(x - 5, x + 15))
    eye = (slice(y - 8, y + 8), slice(x - 12, x + 12))
    assert restored[cheek].std() < noisy[cheek].std()
    assert restored[eye].std() > restored[cheek].std()


def test_faces_that_cannot_be_rebuilt_are_refused(faces):
    image, points = faces[1][0]
    with pytest.raises(ValueError, match="8 x 8 pixels is too small to rebuild"):
        rebuilt_pair(image[:8, :8].copy(), points, None, np.random.default_rng(0))
    with pytest.raises(ValueError, match="lie on one line"):
        rebuilt_pair(image, np.repeat(points[:1], 5, axis=0), None, np.random.default_rng(0))


def test_a_training_takes_rebuilt_faces_and_leaves_blends_as_they_are(faces, tmp_path):
    root, _ = faces
    settings = {"blend.share": 0.5}
    plain = TrainingCrops(blending.config(root, **settings))
    first = len(plain.crops)
    both = TrainingCrops(blending.config(root, **settings, **{"blend.rebuilds": 0.5}))
    same = [torch.equal(plain[at, first][0], both[at, first][0]) for at in range(40)]
    assert 0.2 < np.mean(same) < 0.8, "what is not rebuilt is the blend that it was"
    settings |= {"blend.rebuilds": 1.0, "blend.rebuilt": tmp_path}
    with pytest.raises(BadInputError, match=r"v0/frame1_face1.png is missing: run `python -m shipped.autoencoder`"):
        TrainingCrops(blending.config(root, **settings))
    for name in blending.read_landmarks(root / "landmarks.csv"):
        path = (tmp_path / name).with_suffix(".png")
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((96, 96, 3), 255, np.uint8))
    data = TrainingCrops(blending.config(root, **settings))
    (fake, label, _), (real, other, _) = data[3, first], data[3, first + 1]
    assert (label, other) == (1, 0)
    assert not torch.equal(fake, real)
    samples = [data.blended.sample(0, at, True) for at in range(30)]
    without_detail = [cv2.Laplacian(sample, cv2.CV_64F).var() < 10 for sample in samples]
    assert 0.2 < np.mean(without_detail) < 0.7, "white faces, where the whole real face is the rebuilt one"


def test_the_autoencoder_rebuilds_every_crop_and_goes_on(run, faces, tmp_path):
    root, examples = faces
    words = ("--faces", root / "faces", "--lists", root, "--output", tmp_path / "rebuilt")
    (root / "set_blend.txt").write_bytes((root / "blend.txt").read_bytes())
    done = run("-m", "shipped.autoencoder", *words, "--steps", 2)
    assert f"{len(examples)} of {len(examples)} crops rebuilt" in done.stdout
    for path in (tmp_path / "rebuilt").rglob("*.png"):
        height, width = cv2.imread(str(path)).shape[:2]
        assert height == width
        assert (height % 4, 96 <= height <= 160) == (0, True)
    again = run("-m", "shipped.autoencoder", *words, "--steps", 3)
    assert "step 3: mean error" in again.stdout
    assert f"0 of {len(examples)} crops rebuilt" in again.stdout
    (root / "fake_blend.txt").write_bytes((root / "pairs.txt").read_bytes())
    refused = run("-m", "shipped.autoencoder", *words, check=False)
    assert (refused.returncode, "fake_blend.txt:1 is FAKE" in refused.stderr) == (2, True)


def test_every_decoder_gives_an_image_of_the_same_size():
    network = Autoencoder()
    for kind in KINDS:
        assert network(torch.rand(1, 3, 96, 96), kind).shape == (1, 3, 96, 96)
