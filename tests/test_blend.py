"""Self-blended images: what they are, what a network may and may not learn from them, and trainings on them."""

import itertools
import re

import cv2
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import quality.sets.leaks
from common.errors import BadInputError
from common.landmarks import read_landmarks, write_landmarks
from faces.tight_crops import find_landmarks
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops
from tests.conftest import ROOT
from training.augment import Look, compress
from training.blend import MEAN_LANDMARKS, PARTS, blend_mask, mouth, self_blend, whole_face
from training.checkpoint import read_checkpoint
from training.config import ConfigError, load_config
from training.ranges import Ranges

CONFIG = ROOT / "image_based/configs/lite0/config_sets160.yaml"
FACES = 6


@pytest.fixture(scope="module")
def faces(frames, detector, tmp_path_factory):
    """A folder with real faces of 224 px, a list and a table of landmarks; and the faces with their landmarks."""
    root = tmp_path_factory.mktemp("blend")
    examples, lines, table = [], [], {}
    for number in range(FACES):
        name = f"part/v{number}/frame1_face1.jpg"
        (root / "faces" / name).parent.mkdir(parents=True)
        cv2.imwrite(str(root / "faces" / name), frames[2 * number][70:294, 200:424])
        table[name] = find_landmarks(detector, root / "faces" / name)
        examples.append((cv2.imread(str(root / "faces" / name)), table[name]))
        lines.append(f"part/v{number}/frame%d_face1.jpg 1 1 1 0")
    (root / "blend.txt").write_text("\n".join(lines) + "\n")
    pairs = [f"part/v{number}/frame%d_face1.jpg 1 1 1 {label}" for number in range(FACES) for label in (1, 0)]
    (root / "pairs.txt").write_text("\n".join(pairs) + "\n")
    write_landmarks(root / "landmarks.csv", table)
    return root, examples


def blends(examples, count, ranges=None):
    random = np.random.default_rng(0)
    return [self_blend(*examples[number % len(examples)], ranges or Ranges(), random) for number in range(count)]


def words(root, **values):
    """The options of a small training on these faces."""
    wanted = {
        "pretrained": "null", "train_root": root / "faces", "train_list": f"{{{root / 'pairs.txt'}: 1.0}}",
        "val_lists": "{}", "blend.lists": f"{{{root / 'blend.txt'}: 1.0}}", "blend.landmarks": root / "landmarks.csv",
        "input_size": 64, "batch_size": 4, "lr_scheduler.max_iter": 6, "lr_scheduler.warmup_steps": 2,
        "print_freq": 1, "val_freq": 3, "workers": 0,
    } | values  # fmt: skip
    return [f"{key}={value}" for key, value in wanted.items()]


def config(root, **values):
    return load_config(CONFIG, ImageConfig, words(root, **values))


# Blends


def test_the_detectors_landmarks_lie_in_the_face(faces):
    for _, points in faces[1]:
        (left, right, nose, left_mouth, right_mouth) = points
        assert 0 < points.min() < points.max() < 224
        assert left[0] < nose[0] < right[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left[1], right[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_blend_changes_the_face_inside_its_mask_only(faces):
    for blend in blends(faces[1], 60):
        outside = blend.mask == 0
        assert np.array_equal(blend.fake[outside], blend.real[outside])
        assert blend.mask.max() == 1
        assert blend.mask.min() >= 0
        assert blend.fake.shape == blend.real.shape == (224, 224, 3)
    changed = [np.abs(blend.fake.astype(int) - blend.real)[blend.mask > 0.9].mean() for blend in blends(faces[1], 60)]
    assert np.median(changed) > 2
    untouched = [
        np.array_equal(blend.real, faces[1][number % FACES][0]) for number, blend in enumerate(blends(faces[1], 60))
    ]
    assert np.mean(untouched) == pytest.approx(0.5, abs=0.2)  # in half of the pairs the real face is changed too


def test_masks_vary(faces):
    masks = [blend.mask for blend in blends(faces[1][:1], 120)]
    areas = np.array([(mask > 0.5).mean() for mask in masks])
    assert areas.min() < 0.05 < 0.3 < np.percentile(areas, 75)
    edges = np.array([((mask > 0.05) & (mask < 0.95)).mean() / max((mask > 0.5).mean(), 0.01) for mask in masks])
    assert np.percentile(edges, 90) > 3 * np.percentile(edges, 10)
    overlaps = [np.minimum(a, b).sum() / np.maximum(a, b).sum() for a, b in itertools.pairwise(masks)]
    assert np.mean(overlaps) < 0.6
    assert sum(chance for _, chance in PARTS) == pytest.approx(1)


def test_a_mask_lies_where_the_landmarks_are(faces):
    """The whole face contains all of them; a blend of the mouth contains its corners."""
    random = np.random.default_rng(0)
    for part, held in ((whole_face, range(5)), (mouth, (3, 4))):
        outline = part(random).astype(np.float32)
        assert all(cv2.pointPolygonTest(outline, MEAN_LANDMARKS[index].tolist(), False) >= 0 for index in held)
    for image, points in faces[1]:
        height, width = image.shape[:2]
        means = [blend_mask(height, width, points, Ranges(), random) for _ in range(40)]
        y, x = np.indices((height, width))
        mean = np.mean(means, axis=0)
        centre = np.array([(x * mean).sum(), (y * mean).sum()]) / mean.sum()
        assert np.abs(centre - points.mean(axis=0)).max() < 0.1 * width


def test_equal_random_numbers_give_equal_blends_and_a_share_of_0_no_change(faces):
    for first, second in zip(blends(faces[1], 20), blends(faces[1], 20), strict=True):
        assert np.array_equal(first.fake, second.fake)
    nothing = Ranges(ratios=(0.0,), poisson=0.5)
    assert all(np.array_equal(blend.fake, blend.real) for blend in blends(faces[1], 40, nothing))


def test_faces_that_cannot_be_blended_are_refused(faces):
    image, points = faces[1][0]
    with pytest.raises(ValueError, match="8 x 8 pixels is too small"):
        self_blend(image[:8, :8].copy(), points, Ranges(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="lie on one line"):
        self_blend(image, np.repeat(points[:1], 5, axis=0), Ranges(), np.random.default_rng(0))


# Leaks


def traces(image, outside):
    """Features of the pixels outside a mask that show what compression, blur and scaling left behind."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    kernels = (np.array([[1, -1]]), np.array([[1], [-1]]), np.array([[1, -1], [-1, 1]]), np.array([[1, -2, 1]]))
    residues = [cv2.filter2D(grey, -1, kernel.astype(np.float32)) for kernel in kernels]
    columns = np.abs(residues[0])
    grid = [columns[:, start::8][outside[:, start::8]].mean() for start in range(8)]
    values = [statistic(part[outside]) for part in residues for statistic in (np.std, lambda v: np.abs(v).mean())]
    return [*values, *grid, *(image[outside].mean(axis=0)), *(image[outside].std(axis=0))]


def told_apart(pairs):
    """The area under the ROC curve with which a classifier tells fake from real faces by pixels outside the mask.

    `pairs` holds (fake, real, outside). No pair is on both sides of a fold.
    """
    features = np.array([traces(image, outside) for fake, real, outside in pairs for image in (fake, real)])
    labels = np.array([1, 0] * len(pairs))
    groups = np.repeat(np.arange(len(pairs)), 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=2000))
    scores = cross_val_predict(model, features, labels, groups=groups, cv=GroupKFold(5), method="decision_function")
    return roc_auc_score(labels, scores)


def outside_of(blend):
    """Pixels outside the mask and farther from it than the width of a JPEG block of colour."""
    near = cv2.dilate((blend.mask > 0).astype(np.uint8), np.ones((33, 33), np.uint8))
    return near == 0


def test_pixels_outside_the_mask_tell_nothing(faces):
    """If both images of a pair have the same JPEG compression. If only the fake is compressed, they tell everything."""
    made = [blend for blend in blends(faces[1], 300) if outside_of(blend).mean() > 0.1][:150]
    assert len(made) > 80

    def pairs(compress_real):
        for number, blend in enumerate(made):
            fake = compress(blend.fake, np.random.default_rng(number))
            real = compress(blend.real, np.random.default_rng(number)) if compress_real else blend.real
            yield fake, real, outside_of(blend)

    assert told_apart(list(pairs(True))) == pytest.approx(0.5, abs=0.08)
    assert told_apart(list(pairs(False))) > 0.75


def test_a_pair_differs_only_by_the_blend_in_what_the_training_sees(faces, monkeypatch):
    """With nothing blended in, fake and real are equal after the whole augmentation, and a classifier can only guess.
    If fakes are encoded differently on purpose, it need not guess.
    """
    data = TrainingCrops(config(faces[0], **{"blend.ratios": "[0.0]", "blend.share": 0.5, "input_size": 128}))
    first = len(data.crops)
    whole = np.ones((128, 128), bool)

    def pairs():
        for position in range(120):
            index = first + 2 * (position % FACES)
            (fake, fake_label, _), (real, real_label, _) = data[position, index], data[position, index + 1]
            assert (fake_label, real_label) == (1, 0)
            yield cv2.cvtColor(fake.numpy(), cv2.COLOR_RGB2BGR), cv2.cvtColor(real.numpy(), cv2.COLOR_RGB2BGR), whole

    equal = list(pairs())
    assert all(np.array_equal(fake, real) for fake, real, _ in equal)
    assert told_apart(equal) == pytest.approx(0.5, abs=0.05)
    sample = data.blended.sample

    def unequal(number, position, real):
        image = sample(number, position, real)
        return image if real else Look(flip=False, quality=30).apply(image)

    monkeypatch.setattr(data.blended, "sample", unequal)
    monkeypatch.setattr("image_based.transforms.AFTER_LOOK", {"varied": ()})
    assert told_apart(list(pairs())) > 0.75


def test_lists_whose_classes_are_encoded_differently_are_detected(run, frames, tmp_path):
    lines = []
    for number in range(40):
        label = number % 2
        path = tmp_path / f"faces/p/v{number}/frame1_face1.jpg"
        path.parent.mkdir(parents=True)
        face = frames[number % 12][60 + number : 284 + number // 2, 200:424]
        cv2.imwrite(str(path), face, [cv2.IMWRITE_JPEG_QUALITY, 80])
        lines.append(f"p/v{number}/frame%d_face1.jpg 1 1 1 {label}")
    (tmp_path / "list.txt").write_text("\n".join(sorted(lines, key=hash)) + "\n")
    where = (tmp_path / "list.txt", "--faces", tmp_path / "faces")
    even = quality.sets.leaks.list_leaks(tmp_path / "list.txt", tmp_path / "faces")
    assert even["coarseness"] == 0.5
    for number in range(1, 40, 2):
        path = tmp_path / f"faces/p/v{number}/frame1_face1.jpg"
        cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    done = run("-m", "quality.sets.leaks", *where, check=False)
    assert done.returncode == 1
    assert "coarseness         1.000  LEAK" in done.stdout
    assert "bytes              0.0" in done.stdout
    missing = run("-m", "quality.sets.leaks", *where[:1], check=False)
    assert (missing.returncode, "is missing" in missing.stderr) == (2, True)


# Trainings


def test_samples_and_shares_are_those_of_the_config(faces):
    root, _ = faces
    lists = f"{{{root / 'pairs.txt'}: 3.0, {root / 'blend.txt'}: 1.0}}"
    data = TrainingCrops(config(root, **{"blend.share": 0.25, "train_list": lists}))
    assert data.parts == [(12, pytest.approx(0.5625)), (6, pytest.approx(0.1875)), (12, pytest.approx(0.25))]
    assert len(data) == 30
    assert data.sample_name(29) == data.sample_name(28) == "part/v5/frame1_face1.jpg"
    assert [data[7, index][1] for index in (28, 29)] == [1, 0]
    off = TrainingCrops(config(root, **{"blend.share": 0.0}))
    assert (off.parts, off.blended) == ([(12, 1.0)], None)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("blend.share=1.0", "blend.share"),
        ("together=1", "blend needs together: 2"),
        ("blend.elastic=[.5, .1]", "blend.elastic is not [least, most]"),
        ("train_list={}", "train_list"),
        ("train_list={a.txt: 0}", "train_list"),
        ("average=1.0", "average"),
        ("blend.shares=.3", "unknown key 'blend.shares', the nearest known one is 'share'"),
    ],
)
def test_wrong_values_are_refused(faces, value, complaint):
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config(CONFIG, ImageConfig, [*words(faces[0]), "mixup=0.0", value])


def test_crops_that_cannot_be_blended_end_a_training_at_its_start(faces, tmp_path):
    root, _ = faces
    table = read_landmarks(root / "landmarks.csv")
    assert table["part/v0/frame1_face1.jpg"].shape == (5, 2)
    write_landmarks(tmp_path / "none.csv", table | {"part/v3/frame1_face1.jpg": None})
    with pytest.raises(BadInputError, match=r"blend.txt:4: .*none.csv has no landmarks of part/v3/frame1_face1.jpg"):
        TrainingCrops(config(root, **{"blend.landmarks": tmp_path / "none.csv"}))
    with pytest.raises(BadInputError, match=r"pairs.txt:1 is FAKE; only real faces are blended"):
        TrainingCrops(config(root, **{"blend.lists": f"{{{root / 'pairs.txt'}: 1.0}}"}))
    (tmp_path / "broken.csv").write_text((root / "landmarks.csv").read_text().replace("1", "x", 1))
    with pytest.raises(BadInputError, match=r"broken\.csv"):
        TrainingCrops(config(root, **{"blend.landmarks": tmp_path / "broken.csv"}))


def test_a_training_on_blends_goes_on_to_the_same_average(run, faces, tmp_path):
    """With AdamW, moving average and blends: recovered after step 3, every weight is the same bit for bit."""

    def train(experiments, *more):
        settings = [word for value in words(faces[0], average=0.9) for word in ("--set", value)]
        where = ("--experiments", experiments, "--datetime", "now")
        return run("-m", "image_based.main", "--config", CONFIG, *where, *settings, *more)

    train(tmp_path / "whole")
    whole = tmp_path / "whole/lite0_sets160/now"
    resumed = tmp_path / "resumed/lite0_sets160/now"
    resumed.mkdir(parents=True)
    (resumed / "ckpt_iter_3.pth.tar").write_bytes((whole / "ckpt_iter_3.pth.tar").read_bytes())
    assert "going on after" in train(tmp_path / "resumed", "--recover").stdout
    ours, expected = (read_checkpoint(run_ / "ckpt_iter_5.pth.tar") for run_ in (resumed, whole))
    for kind in ("state_dict", "trained"):
        assert all(torch.equal(ours[kind][name], value) for name, value in expected[kind].items())
    same = [torch.equal(value, expected["state_dict"][name]) for name, value in expected["trained"].items()]
    assert same.count(False) > 100  # the average is not the weights
    assert expected["averaged"] == 6
    moments = expected["optimizer"]["state"][0]
    assert moments["exp_avg_sq"].abs().sum() > 0
