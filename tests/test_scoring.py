"""The contract's sampling and policies against the reference's recorded outputs."""

import numpy as np
import pytest

from inference.members import MEMBERS
from inference.scoring import (
    Vote,
    branch_score,
    ensemble,
    face_score,
    group_score,
    image_frames,
    image_score,
    sampling_interval,
    squeeze,
    video_score,
)


def test_frame_sampling(values):
    for case in values["frame_sampling"]:
        sampled = len(range(0, case["n"], sampling_interval(case["n"])))
        assert (sampling_interval(case["n"]), sampled) == (case["interval"], case["sf_frames"])
        chosen = image_frames(sampled)
        assert len(chosen) == case["img_frames"]
        assert chosen == [index * case["img_interval"] for index in range(len(chosen))]


def recorded_logits(case):
    """The recorded model's logits [F, T, 2] of the recipe's constant crops."""
    crops = np.random.RandomState(case["seed"]).rand(case["faces"], case["frames"], 1, 1, 1) * 2 - 1
    means = crops.astype(np.float32)[..., 0, 0, 0]
    return np.stack([-case["gain"] * means, case["gain"] * means], axis=-1)


def test_image_score(values):
    for case in values["get_image_score"]["cases"]:
        logits = recorded_logits(case)
        chosen = image_frames(case["frames"])
        assert len(chosen) * (2 if case["isFlip"] else 1) == case["model_batches"][0]
        score = image_score([face[chosen] for face in logits], squeezed=case["isScale"])
        if case["score"] == -1:
            assert score.value is None
            assert "fewer than 5" in score.rule
        else:
            assert score.value == pytest.approx(case["score"], abs=1e-6)


def test_video_score(values):
    for case in values["get_sf_score"]:
        assert video_score(list(recorded_logits(case).mean(axis=1))).value == pytest.approx(case["score"], abs=1e-6)


def test_squeeze(values):
    for score, out in values["isScale"]:
        assert squeeze(score) == pytest.approx(out, abs=1e-12)


def votes(scores):
    return {
        name: Vote(member.branch, member.weight, None if score == -1 else score)
        for (name, member), score in zip(MEMBERS.items(), scores, strict=True)
    }


def test_ensemble_weights(values):
    shares = {"video": 0.4, "image": 0.6}
    totals = {branch: sum(m.weight for m in MEMBERS.values() if m.branch == branch) for branch in shares}
    weights = [shares[member.branch] * member.weight / totals[member.branch] for member in MEMBERS.values()]
    assert weights == pytest.approx(values["ensemble_weights"])


def test_policy(values):
    for case in values["policy"]:
        final = ensemble(votes(case["scores"])).final
        if case["out"] == -1:
            assert final.value is None
        else:
            assert final.value == pytest.approx(case["out"], abs=1e-9)


def test_the_rule_comes_with_the_score():
    image = branch_score(list(votes([0.5] * 4 + [0.9] * 5 + [0.1] * 2).values()), "image")
    assert image.rule == "5 of 7 image members > .8: weighted mean of those"
    assert image.value == pytest.approx(0.9)
    assert group_score([0.9, 0.1, 0.5]).rule == "mean of all 3 groups"
    assert group_score([0.1, 0.1, 0.1, 0.1]).rule == "4 of 4 groups < .15: mean of those"
    only = ensemble(votes([-1] * 4 + [0.5] * 7))
    assert only.final == only.image
    assert only.video.rule == "no video member has a score"


@pytest.mark.parametrize(
    ("faces", "value", "rule"),
    [
        ([0.95, 0.1], 0.95, "a face > .9"),
        ([0.61, 0.8], 0.8, "all faces > .6"),
        ([0.39, 0.1], 0.1, "all faces < .4"),
        ([0.5, 0.8], 0.65, "mean of 2 faces"),
        ([], None, "no face"),
    ],
)
def test_face_policy(faces, value, rule):
    score = face_score(faces)
    assert score.value == (None if value is None else pytest.approx(value))
    assert score.rule.startswith(rule)
