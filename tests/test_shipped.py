"""How the shipped weights are released: calibrated, in half precision, and with the figures that their page gives."""

import csv
import json
import re

import cv2
import numpy as np
import pytest
import torch

from demo.tree import write_video
from inference.members import SHIPPED
from inference.networks.runtimes import load_networks
from quality.platt import Platt, balanced_weights, fit_mean_temperature, fit_platt
from shipped.crops import combine_scores, load_fastest, score_crops
from tests.conftest import ROOT
from tests.tiny import gamma, write_checkpoints
from training.face_tracks import FaceTracks


@pytest.fixture(scope="module")
def face_list(tmp_path_factory, frames):
    """Sixteen crops and their list: dark ones are FAKE, but four pictures are there twice, once as each."""
    root = tmp_path_factory.mktemp("crops")
    lines = []
    for number in range(16):
        path = root / f"faces/p/v{number}/frame1_face1.jpg"
        path.parent.mkdir(parents=True)
        table = gamma(1.5 if number % 2 else 1 / 1.5)
        cv2.imwrite(str(path), cv2.LUT(frames[number % 12][60:284, 200:424], table))
        lines.append(f"p/v{number}/frame%d_face1.jpg 1 1 1 {int((number % 2 == 1) != (number < 4))}")
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    write_checkpoints(root / "trained", SHIPPED)
    tracks = FaceTracks(root / "faces", root / "list.txt")
    labels = np.array([track.label for track in tracks])
    for name, scores in score_crops(load_networks(SHIPPED, root / "trained", "cpu", "fp32"), tracks).items():
        # These weights are random: let FAKE score higher, and half precision change nothing.
        sign = np.sign(np.corrcoef(labels, scores)[0, 1])
        path = root / "trained" / SHIPPED[name].file
        content = torch.load(path, weights_only=True)
        for key, value in content["state_dict"].items():
            if value.is_floating_point():
                content["state_dict"][key] = value.half().float() * (sign if "_fc" in key else 1)
        torch.save(content, path)
    return root


def crop_scores(root, models, *names):
    """The scores of the crops of the list by some members (default: all shipped ones), in its order."""
    members = {name: SHIPPED[name] for name in names or SHIPPED}
    networks = load_fastest(members, models, "cpu")
    return combine_scores(networks, score_crops(networks, FaceTracks(root / "faces", root / "list.txt")))


@pytest.mark.slow
def test_shipped_checkpoints_are_small_calibrated_and_the_default(run, face_list, frames, tmp_path):
    root, models = face_list, tmp_path / "models"
    trained = [root / "trained" / member.file for member in SHIPPED.values()]
    done = run(
        "-m",
        "shipped.release",
        *reversed(trained),
        "--calibrate-on",
        root / "list.txt",
        "--faces",
        root / "faces",
        "--models",
        models,
    )
    assert done.stdout.count("release: lite") == len(SHIPPED) == 2
    for member in SHIPPED.values():
        shipped = models / member.file
        assert shipped.stat().st_size < 12e6
        content = torch.load(shipped, weights_only=True)
        assert content.keys() == {"step", "arch", "state_dict"}
        assert {value.dtype for value in content["state_dict"].values() if value.is_floating_point()} == {torch.float16}

    labels = np.array([int(line[-1]) for line in (root / "list.txt").read_text().splitlines()])
    alone = []
    for name in SHIPPED:
        before = crop_scores(root, root / "trained", name)
        alone.append(fit_platt(labels, before).apply(before))
    common = fit_mean_temperature(labels, alone)
    after = crop_scores(root, models)
    sharpened = [Platt(common, 0.0).apply(scores) for scores in alone]
    np.testing.assert_allclose(after, np.mean(sharpened, axis=0), atol=0.02)
    shipped_alone = [crop_scores(root, models, name) for name in SHIPPED]
    assert fit_mean_temperature(labels, shipped_alone) == pytest.approx(1, abs=0.05)
    for scores in shipped_alone:
        again = fit_platt(labels, scores)
        assert again.temperature * common == pytest.approx(1, abs=0.05)
        assert again.shift == pytest.approx(0, abs=0.05)

    write_video(tmp_path / "face.mp4", frames, 30.0)
    done = run("-m", "inference.predict", tmp_path / "face.mp4", "--models", models, "--output", tmp_path / "p.csv")
    assert f"predict: scoring with lite0, lite2 of {models}" in done.stdout
    row = json.loads((tmp_path / "p.jsonl").read_text())
    assert row["status"] == "ok"
    assert row["label"] == pytest.approx(np.mean([row["members"][name] for name in SHIPPED]))
    (models / "b0_rgb_58000.pth.tar").touch()  # with one of the eleven there, the others are missed
    refused = run("-m", "inference.predict", "x.mp4", "--models", models, check=False)
    assert "10 of 11 members have no checkpoint" in refused.stderr


def test_every_set_and_class_counts_alike():
    sets = np.repeat([0, 1, 2], (100, 40, 60))
    labels = np.concatenate([np.repeat([0, 1], (20, 80)), np.repeat([0, 1], 20), np.zeros(60, int)])
    weights = balanced_weights(sets, labels)
    sums = [weights[(sets == name) & (labels == label)].sum() for name in (0, 1) for label in (0, 1)]
    assert sums == pytest.approx([50] * 4)
    assert weights[sets == 2].sum() == 0  # it has no fakes


def test_release_shifts_nothing_for_a_list_of_only_real_faces(run, face_list, tmp_path):
    """One list holds only real faces, all dark, which score high: the score stays the most likely probability."""
    root, models = face_list, tmp_path / "models"
    dark = [line[:-1] + "0" for line in (root / "list.txt").read_text().splitlines() if line.endswith(" 1")]
    (root / "dark.txt").write_text("\n".join(dark) + "\n")
    trained = [root / "trained" / member.file for member in SHIPPED.values()]
    lists = ("--calibrate-on", root / "list.txt", root / "dark.txt")
    run("-m", "shipped.release", *trained, *lists, "--faces", root / "faces", "--models", models)
    labels = np.array([int(line[-1]) for line in (root / "list.txt").read_text().splitlines()])
    scores = crop_scores(root, models)
    assert (scores[labels == 1] > 0.5).mean() > 0.5  # the same crops as of dark.txt
    assert fit_platt(labels, scores).shift == pytest.approx(0, abs=0.1)
    assert fit_mean_temperature(labels, [crop_scores(root, models, name) for name in SHIPPED]) == pytest.approx(
        1, abs=0.05
    )


def test_the_common_temperature_fits_the_mean():
    """The mean of two calibrated scores with independent errors is not confident enough."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    scores = []
    for _ in range(2):
        odds = 2 * labels - 1 + random.normal(0, 1, 4000)
        scores.append(fit_platt(labels, 1 / (1 + np.exp(-odds))).apply(1 / (1 + np.exp(-odds))))
    temperature = fit_mean_temperature(labels, scores)
    assert 0.3 < temperature < 0.8
    sharpened = np.mean([Platt(temperature, 0.0).apply(values) for values in scores], axis=0)
    assert fit_mean_temperature(labels, [sharpened]) > temperature + 0.1
    assert fit_mean_temperature(labels, scores[:1]) == pytest.approx(1, abs=0.02)


def test_release_refuses_checkpoints_and_lists_that_it_cannot_use(run, face_list, tmp_path):
    where = ("--faces", face_list / "faces", "--models", tmp_path / "models")
    first, second = (face_list / "trained" / member.file for member in SHIPPED.values())
    other = write_checkpoints(tmp_path / "other", ["res34"]) / "res34_rgb_23000.pth.tar"
    (tmp_path / "one.txt").write_text((face_list / "list.txt").read_text().splitlines()[0] + "\n")
    for paths, crops, complaint in (
        ((first, second), tmp_path / "one.txt", "one class"),
        (
            (other, second),
            face_list / "list.txt",
            "holds resnet34; the shipped members are efficientnet-lite0",
        ),
        ((first, first), face_list / "list.txt", "is the second checkpoint of efficientnet-lite0"),
        ((first,), face_list / "list.txt", "no checkpoint of efficientnet-lite2 is given"),
    ):
        refused = run("-m", "shipped.release", *paths, "--calibrate-on", crops, *where, check=False)
        assert (refused.returncode, complaint in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_the_figures_on_the_weights_page_can_be_reproduced(run, shared, tmp_path):
    """Those of the shipped weights on crops that they have not seen, by the commands on inference/submit_models."""
    folders = ("--faces", tmp_path / "faces", "--lists", tmp_path / "lists")
    laid = tmp_path / "laid"
    laid.mkdir()
    for path in shared("faces").iterdir():
        if path.name != "dfdc_more.csv":  # its crops lie elsewhere: ../shared/faces/lay_more.sh
            (laid / path.name).symlink_to(path)
    run("make_crop_lists.py", "--crops", laid, *folders)
    sets = "faces224_test,ffpp_val,inswapper_val"
    where = ("--lists", tmp_path / "lists", "--faces", tmp_path / "faces", "--output", tmp_path / "sets")
    run("-m", "shipped.sets", "--sets", sets, *where)
    rows = {(row["set"], row["part"]): row for row in json.loads((tmp_path / "sets/sets.json").read_text())}
    page = (ROOT / "inference/submit_models/README.md").read_text()
    for line, key in {
        "**DFDC, test half**": ("faces224_test", ""),
        "FaceForensics++": ("ffpp_val", ""),
        "its NeuralTextures": ("ffpp_val", "method NeuralTextures"),
        "inswapper (none trained on)": ("inswapper_val", ""),
    }.items():
        cells = re.search(rf"^\| {re.escape(line)} \| (.*) \|$", page, re.MULTILINE)[1].split(" | ")
        crops, auc, loss, fakes, above, _ = cells
        row = rows[key]
        assert crops == f"{row['crops']}, {row['real']}"
        for text, measure in ((auc, "auc"), (loss, "balanced_log_loss")):
            assert row[measure] == pytest.approx(float(text.split()[0]), abs=2e-3), (key, measure)
        for text, measure in ((fakes, "found"), (above, "real_above_half")):
            assert row[measure] == pytest.approx(float(text.split()[0].rstrip("%")) / 100, abs=0.015), (key, measure)


@pytest.mark.slow
def test_a_fake_and_its_original_score_apart(run, shared, tmp_path):
    """Whole videos, by the shipped weights: the crops of a video must be such as the weights know."""
    folder = shared("clips") / "dfdc_train_part_10"
    videos = (folder / "ayhmfake.mp4", folder / "ayhmreal.mp4")
    run("-m", "inference.predict", *videos, "--members", ",".join(SHIPPED), "--output", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    assert scores["ayhmfake.mp4"] > 0.5
    assert scores["ayhmreal.mp4"] < 0.1
