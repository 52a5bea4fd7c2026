"""Class activation maps: exact in every runtime, tested before they are shown, and high where a patch is pasted."""

import re
from dataclasses import replace
from itertools import permutations

import cv2
import numpy as np
import onnx
import pytest
import timm
import torch

from common.images import read_image, resize, write_image
from faces.video import read_frames
from image_based.models import ARCHS
from image_based.models.class_activation import activation_map, features_of, logits_of
from inference import Scorer
from inference.evidence.facts import MapFacts
from inference.evidence.maps import (
    SIDE,
    average,
    cover,
    describe_place,
    elsewhere,
    in_shown,
    marked,
    suspicious,
    try_maps,
)
from inference.evidence.pages import evidence_json
from inference.members import KNOWN, MODELS, SHIPPED
from inference.networks.graph import export
from inference.networks.runtimes import MAPS, Networks, load_networks
from tests.test_networks import example, lively

PEOPLE = 4  # of the photograph


@pytest.fixture(scope="module")
def networks():
    """The shipped members in ONNX Runtime."""
    return load_networks(SHIPPED, MODELS, runtime="onnx", threads=2)


def as_seen(crops):
    """BGR crops as each shipped member sees them, and the parts of the face's square that they show."""
    seen = {name: np.stack([resize(crop, member.size) for crop in crops]) for name, member in SHIPPED.items()}
    return seen, dict.fromkeys(seen, 1.0)


@pytest.mark.parametrize("arch", ["efficientnet-lite0", "efficientnet-b0", "resnet34", "xception"])
def test_the_mean_of_a_map_is_the_log_odds(arch):
    network, images = lively(arch), example(arch, side=96)
    with torch.inference_mode():
        logits, features = network(images), features_of(network, images)
        maps = activation_map(network, features)
        torch.testing.assert_close(logits_of(network, features), logits, rtol=0, atol=0)
        torch.testing.assert_close(maps.mean(dim=(1, 2)), logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-4)
    assert maps.std() > 1e-3


def test_maps_are_the_same_in_every_runtime(networks, frames):
    by_torch = load_networks(SHIPPED, MODELS, runtime="torch")
    seen, _ = as_seen([frames[0][:300, 100:400], frames[5][60:, 200:500], frames[9]])
    for name, crops in seen.items():
        by_onnx = networks.maps(name, crops)
        np.testing.assert_allclose(by_onnx, by_torch.maps(name, crops), atol=1e-3)
        odds = np.diff(networks.logits(name, [crops])[0], axis=1)[:, 0]
        np.testing.assert_allclose(by_onnx.mean(axis=(1, 2)), odds, atol=1e-4)


def test_a_map_belongs_to_the_picture_not_to_its_mirror_image(networks, frames):
    """Members see both, but the map of the mirrored crop is the mirrored map."""
    seen, _ = as_seen([frames[0][:300, 100:400]])
    for name, crops in seen.items():
        plain, mirrored = networks.maps(name, crops), networks.maps(name, np.ascontiguousarray(crops[:, :, ::-1]))
        np.testing.assert_allclose(plain, mirrored[:, :, ::-1], atol=1e-3)
        assert np.abs(plain - mirrored).max() > 0.1


def test_an_older_onnx_file_scores_without_maps(tmp_path, film):
    """It has no output for maps. The evidence says nothing about a place."""
    member = SHIPPED["lite2"]
    (tmp_path / member.file).write_bytes((MODELS / member.file).read_bytes())
    model = onnx.load(MODELS / member.onnx, load_external_data=False)
    (maps,) = (output for output in model.graph.output if output.name == MAPS)
    model.graph.output.remove(maps)
    onnx.save(model, tmp_path / member.onnx)
    old = load_networks({"lite2": member}, tmp_path, runtime="onnx")
    assert old.maps("lite2", np.zeros((1, member.size, member.size, 3), np.uint8)) is None
    with Scorer(members="lite2", models=tmp_path, runtime="onnx") as scorer:
        result = scorer.score(film)
    (track,) = evidence_json(result)["tracks"]
    assert (track["where"], track["place"]) == ([], "")
    assert 'class="where"' not in result.page()


def test_a_network_with_a_convolutional_head_scores_without_maps(tmp_path, film, monkeypatch):
    """As a user adds one of timm's: its log odds are not the mean of a map, so there is none in either runtime."""
    arch = "mobilenetv3_small_050"
    monkeypatch.setitem(ARCHS, arch, lambda num_classes: timm.create_model(arch, num_classes=num_classes))
    member = replace(SHIPPED["lite2"], file="small.pth.tar", arch=arch)
    monkeypatch.setitem(KNOWN, "small", member)
    torch.save({"arch": arch, "state_dict": lively(arch).state_dict()}, tmp_path / member.file)
    export(member, tmp_path)
    scores = []
    for runtime in ("torch", "onnx"):
        with Scorer(members="small", models=tmp_path, runtime=runtime, workers=0) as scorer:
            result = scorer.score(film)
        (track,) = evidence_json(result)["tracks"]
        assert (track["where"], track["place"]) == ([], "")
        assert 'class="where"' not in result.page()
        scores.append(result.label)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


class Bright:
    """A network whose log odds are the brightness of its crops. Its map shows where, or elsewhere if it lies."""

    is_exact = has_maps = True

    def __init__(self, lies=False):
        self.lies = lies

    def maps(self, pixels):
        small = [cv2.resize(crop.mean(axis=2), (5, 5), interpolation=cv2.INTER_AREA) for crop in pixels]
        levels = np.stack(small) / 25
        return np.rot90(levels, 2, axes=(1, 2)) if self.lies else levels

    def __call__(self, pixels, exact=False):
        odds = self.maps(pixels).mean(axis=(1, 2))
        return np.stack([-odds / 2, odds / 2], axis=1)


@pytest.fixture
def corner():
    """A dark crop with a bright corner at the top left, as the shipped members see it."""
    crop = np.full((200, 200, 3), 40, np.uint8)
    crop[:80, :80] = 250
    return as_seen([crop])


@pytest.mark.parametrize("lies", [False, True])
def test_a_map_that_points_elsewhere_fails(corner, lies):
    crops, fractions = corner
    (tested,) = try_maps(Networks({name: (SHIPPED[name], Bright(lies)) for name in crops}), crops, fractions)
    assert tested.proven is not lies
    top_left = tested.mark[: SIDE // 2, : SIDE // 2].sum() / tested.mark.sum()
    assert top_left < 0.3 if lies else top_left > 0.7
    assert tested.odds == pytest.approx(tested.map.mean(), abs=0.3)
    assert len(tested.elsewhere) == 3
    assert (tested.fall > max(tested.elsewhere)) is not lies


def test_the_map_of_an_even_crop_fails():
    crops, fractions = as_seen([np.full((200, 200, 3), 90, np.uint8)])
    (tested,) = try_maps(Networks({name: (SHIPPED[name], Bright()) for name in crops}), crops, fractions)
    assert not tested.proven  # covering a grey picture with grey changes nothing


def test_marks_and_other_places_are_equally_large_and_apart():
    values = np.random.RandomState(0).normal(size=(6, 6))
    large = in_shown(values, 1.0)
    mark = marked(large)
    places = elsewhere(mark, large)
    assert mark.mean() == pytest.approx(0.2, abs=1e-3)
    assert large[mark].min() >= large[~mark].max()
    assert [place.mean() for place in places] == pytest.approx([0.2] * 3, abs=1e-3)
    assert sum([mark, *places]).max() == 1
    assert suspicious([0.2, 0.9, 0.5], 5) == [7, 12, 2]


def test_a_part_of_the_square_lies_in_its_middle():
    wide, narrow = in_shown(np.ones((5, 5)), 1 / 0.65), in_shown(np.ones((5, 5)), 0.65)
    assert wide.shape == narrow.shape == (SIDE, SIDE)
    assert wide.min() == pytest.approx(1)
    assert narrow.mean() == pytest.approx(0.65**2, abs=0.02)
    assert narrow[SIDE // 2, SIDE // 2] == pytest.approx(1)
    assert narrow[0, 0] == narrow[-1, -1] == 0


def test_a_cover_changes_its_place_and_has_no_edge(frames):
    crop = np.ascontiguousarray(frames[0][:200, :200])
    place = np.zeros((SIDE, SIDE), bool)
    place[:48, :48] = True
    covered = cover(crop, place, 1.0)
    np.testing.assert_array_equal(covered[110:, 110:], crop[110:, 110:])
    assert np.abs(covered[20:80, 20:80] - crop.reshape(-1, 3).mean(axis=0)).max() <= 1
    mean = crop.reshape(-1, 3).mean(axis=0)
    strength = [np.abs(covered[40, column].astype(int) - mean).max() for column in (80, 99, 118)]
    assert strength[0] < strength[2]


def test_a_sentence_says_whether_the_score_can_be_located():
    class Map:
        def __init__(self, proven):
            self.tested = MapFacts(0, 0, 0, [0, 0, 0], proven)

    assert describe_place([]) == ""
    assert describe_place([Map(True), Map(False), Map(False)]).startswith(
        "The score cannot be located in the face: in 1 of 3 tested crops"
    )
    assert describe_place([Map(True), Map(False)]).startswith(
        "The score can be located in the face: in 1 of 2 tested crops"
    )
    assert "not what was changed" in describe_place([Map(True)])


@pytest.fixture(scope="module")
def people(detector, clip):
    """Tight crops of several persons, BGR [224, 224, 3], each with its landmarks [5, 2]."""
    photo = read_image(clip("multi_face.jpg"))
    pictures = [(photo, number) for number in range(PEOPLE)]
    pictures += [(next(iter(read_frames(clip(name)))), 0) for name in ("single_face.mp4", "WolfgangLanger_Pexels.mp4")]
    found = []
    for image, number in pictures:
        boxes, points = detector.detect_with_landmarks([image])[0]
        x1, y1, x2, y2 = boxes[number, :4]
        zoom = 224 / (1.15 * max(x2 - x1, y2 - y1))
        matrix = np.array([[zoom, 0, 112 - zoom * (x1 + x2) / 2], [0, zoom, 112 - zoom * (y1 + y2) / 2]])
        crop = cv2.warpAffine(image, matrix, (224, 224), flags=cv2.INTER_AREA)
        found.append((crop, (points[number] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)))
    return found


def test_a_pasted_patch_draws_the_map(networks, people):
    """For each pair of persons, one gets the eyes of the other: the map rises more inside the patch than outside."""
    rises = []
    for (face, points), (other, other_points) in permutations(people, 2):
        warp, _ = cv2.estimateAffinePartial2D(other_points, points, method=cv2.LMEDS)
        warped = cv2.warpAffine(other, warp, (224, 224), borderMode=cv2.BORDER_REFLECT)
        patch, (x, y) = np.zeros((224, 224), np.uint8), points[:2].mean(axis=0)
        cv2.ellipse(patch, ((float(x), float(y)), (120.0, 48.0), 0.0), color=255, thickness=-1)
        soft = cv2.GaussianBlur(patch, (0, 0), 4)[..., None] / 255
        pasted = np.round(warped * soft + face * (1 - soft)).astype(np.uint8)
        crops, zooms = as_seen([face, pasted])
        _, (before, after) = average(networks, crops, zooms)
        inside = cv2.resize(patch, (SIDE, SIDE)) > 127
        rises.append((after[inside].mean() - after[~inside].mean()) - (before[inside].mean() - before[~inside].mean()))
    assert np.mean(np.array(rises) > 0) > 0.65, rises
    assert np.median(rises) > 0.3


def test_the_evidence_holds_what_was_tested(scorer, film):
    """Up to six crops are tested. The page has a switch if enough maps pass, and says so if not."""
    result = scorer.score(film)
    (track,) = evidence_json(result)["tracks"]
    assert 0 < len(track["where"]) <= 6
    for tested in track["where"]:
        assert tested["proven"] == (tested["fall"] > max(0, *tested["elsewhere"]))
        assert track["detections"][0]["time"] <= tested["time"] <= track["detections"][-1]["time"]
    proven = sum(tested["proven"] for tested in track["where"])
    shown = 2 * proven >= len(track["where"])
    assert result.page().count('class="map"') == shown * proven
    assert result.page().count('class="where"') == shown
    assert track["place"].startswith(f"The score {'can' if shown else 'cannot'} be located in the face: in {proven} of")
    assert track["place"] in result.page()


def test_shipped_maps_counts_the_maps_that_hold(run, people, tmp_path):
    """A row for each class of a list, with at most --max-crops crops."""
    lines = []
    for number, (crop, _) in enumerate(people):
        folder = tmp_path / f"faces/set/v{number}"
        folder.mkdir(parents=True)
        write_image(folder / "frame1_face1.jpg", crop)
        lines.append(f"set/v{number}/frame%d_face1.jpg 1 1 1 {int(number < 3)}")
    (tmp_path / "set_val.txt").write_text("\n".join(lines) + "\n")
    done = run(
        *("-m", "shipped.maps", "--lists", tmp_path, "--faces", tmp_path / "faces", "--sets", "set_val"),
        *("--max-crops", 2, "--output", tmp_path / "new/where.csv"),
    )
    rows = (tmp_path / "new/where.csv").read_text().splitlines()
    assert rows[0] == "set,class,crops,hold,above_half,hold_above_half,fall,elsewhere"
    assert [row.split(",")[:3] for row in rows[1:]] == [["set_val", "REAL", "2"], ["set_val", "FAKE", "2"]]
    assert re.search(r"^maps: \d of 4 hold; ", done.stdout, re.MULTILINE)
    for row in rows[1:]:
        fall, other = (float(value) for value in row.split(",")[-2:])
        assert abs(fall) < 30
        assert abs(other) < 30
